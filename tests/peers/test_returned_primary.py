"""After a failover the old primary comes back: libpq's own choice writes to it, ours does not."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import text
from tests.servers.postgres_cluster import postgres_cluster

from escala.databases.replicas.database import Database

WRITES = 20
INSERT = "INSERT INTO kept VALUES (1)"
pytestmark = pytest.mark.xdist_group("failover")


def test_who_writes_to_the_old_timeline() -> None:
    with postgres_cluster(2) as cluster:
        old, new, _ = cluster.nodes
        old.sql("CREATE TABLE kept (number int)")
        cluster.wait_caught_up()
        old.kill()
        cluster.promote(new)
        old.start()

        for _ in range(WRITES):
            with psycopg.connect(f"{cluster.url}?target_session_attrs=read-write") as connection:
                connection.execute(INSERT)
        assert old.sql("SELECT count(*) FROM kept") == [(WRITES,)]
        assert new.sql("SELECT count(*) FROM kept") == [(0,)]

        with Database(cluster.url) as database:
            for _ in range(WRITES):
                with database.session() as session:
                    session.execute(text(INSERT))
                    session.commit()
        assert old.sql("SELECT count(*) FROM kept") == [(WRITES,)]
        assert new.sql("SELECT count(*) FROM kept") == [(WRITES,)]
