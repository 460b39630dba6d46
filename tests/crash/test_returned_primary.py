"""An old primary comes back and takes writes: no one gives it any."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from tests.servers.postgres_cluster import PostgresCluster, postgres_cluster, until

from escala.databases.replicas.database import Database
from escala.errors import Fenced

WRITES = 1_000
INSERT = text("INSERT INTO kept (number) VALUES (:number)")
pytestmark = pytest.mark.xdist_group("failover")


def write(database: Database, numbers: range) -> None:
    for number in numbers:
        with database.session(write=True) as session:
            session.execute(INSERT, {"number": number})
            session.commit()


async def awrite(database: Database, numbers: range) -> None:
    for number in numbers:
        async with database.asession() as session:
            await session.execute(INSERT, {"number": number})
            await session.commit()
    await database.aclose()


def count(cluster: PostgresCluster, node: int) -> int:
    return int(cluster.nodes[node].sql("SELECT count(*) FROM kept")[0][0])


def test_no_write_reaches_the_old_timeline() -> None:
    with postgres_cluster(2) as cluster, Database(cluster.url) as database:
        old, new, _ = cluster.nodes
        old.sql("CREATE TABLE kept (number int)")
        write(database, range(1))
        under_way = database.session(write=True)
        under_way.execute(INSERT, {"number": -1})
        cluster.wait_caught_up()
        cluster.promote(new)  # by someone else, and the old one goes on as if nothing had happened
        name = database.nodes[1].name
        until(lambda: database.snapshot()["primary"] == name, "the new primary is seen")
        with pytest.raises(Fenced, match="nothing was committed"):
            under_way.commit()
        under_way.close()
        write(database, range(WRITES // 4))
        old.kill()
        write(database, range(WRITES // 4))
        old.start()
        until(lambda: database.snapshot()["nodes"][0]["role"] == "fenced", "it is back")
        write(database, range(WRITES // 4))
        with Database(cluster.url) as newcomer:  # which has never seen the old one alone
            asyncio.run(awrite(newcomer, range(WRITES // 4)))
        assert count(cluster, 0) == 1
        assert count(cluster, 1) == 1 + WRITES
        with pytest.raises(Fenced, match="old primary"), database.nodes[0].engine().connect():
            pass
