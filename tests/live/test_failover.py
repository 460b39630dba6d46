"""Failovers that are asked for: what they do, what they refuse, and what they leave behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from tests.databases.pure.test_synchronous_names import GOOD, WRONG
from tests.servers.postgres_cluster import PostgresCluster, PostgresNode, postgres_cluster, until

from escala.databases.replicas.database import Database
from escala.databases.replicas.failover_node import _TURN, FailoverNode
from escala.databases.replicas.safety import FailedOver
from escala.errors import ConfigError, NoPrimary
from escala.kernel.events import subscribe
from escala.kernel.runtime import colours, drive

pytestmark = pytest.mark.xdist_group("failover")

QUORUM = "ANY 1 (n0, n1, n2)"
GRANTS = (
    "CREATE ROLE app LOGIN",
    "CREATE ROLE operator LOGIN IN ROLE pg_monitor, pg_signal_backend",
    "GRANT ALTER SYSTEM ON PARAMETER primary_conninfo, default_transaction_read_only TO operator",
    "GRANT EXECUTE ON FUNCTION pg_promote, pg_reload_conf TO operator",
)


def name(node: PostgresNode) -> str:
    return f"127.0.0.1:{node.port}"


def streams_from(node: PostgresNode, source: PostgresNode) -> bool:
    rows = source.sql("SELECT application_name FROM pg_stat_replication")
    return (node.name,) in rows


def test_a_hand_over_by_a_role_that_may_do_no_more_than_it_needs() -> None:
    told: list[FailedOver] = []
    stop = subscribe(FailedOver, told.append)
    with postgres_cluster(2) as cluster:
        old, new, other = cluster.nodes
        for grant in GRANTS:
            old.sql(grant)
        old.sql("CREATE TABLE kept (number int)")
        old.sql("GRANT INSERT ON kept TO operator")
        cluster.wait_caught_up()
        with Database(cluster.url.replace("escala@", "operator@")) as database:
            idle = database.failover()
            assert (idle.node, idle.timeline, idle.changed, idle.astray) == (
                name(old),
                1,
                False,
                (),
            )
            assert told == []
            client = psycopg.connect(old.url.replace("escala@", "app@"))
            with database.session(write=True) as session:
                session.execute(text("INSERT INTO kept VALUES (1)"))
                session.commit()
            done = asyncio.run(database.afailover(to=name(new)))
            assert (done.node, done.timeline, done.changed) == (name(new), 2, True)
            assert (done.kept, done.astray) == (True, (name(old),))
            with database.session(write=True) as session:
                session.execute(text("INSERT INTO kept VALUES (2)"))
                session.commit()
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
        client.close()
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            old.sql("INSERT INTO kept VALUES (3)")
        assert new.sql("SELECT number FROM kept ORDER BY 1") == [(1,), (2,)]
        until(lambda: streams_from(other, new), "the other one follows")
        assert other.sql("SHOW primary_conninfo")[0][0].count("host=") == 1
        assert new.sql("SHOW primary_conninfo")[0][0].count("host=") == 1
        assert [(each.node, each.timeline, each.kept) for each in told] == [(name(new), 2, True)]
    stop()


def as_it_was(cluster: PostgresCluster) -> bool:
    old, *standbys = cluster.nodes
    shown = [node.sql("SHOW default_transaction_read_only") for node in cluster.nodes]
    return shown == [[("off",)]] * 3 and all(streams_from(node, old) for node in standbys)


def test_what_is_refused_leaves_all_as_it_was() -> None:
    with postgres_cluster(2, synchronous_standby_names=QUORUM) as cluster:
        old, first, second = cluster.nodes
        old.sql("CREATE ROLE weak LOGIN IN ROLE pg_monitor")
        cluster.wait_caught_up()
        with Database(cluster.url) as database:
            with pytest.raises(ConfigError, match=r"to: expected one of 127.*; found 'n1'"):
                database.failover(to="n1")
            with psycopg.connect(first.url) as someone:
                someone.execute(f"SELECT pg_advisory_lock({_TURN})".encode())
                with pytest.raises(NoPrimary, match=f"another one is under way on {name(first)}"):
                    database.failover(to=name(second))
            with (
                Database(cluster.url.replace("escala@", "weak@")) as weak,
                pytest.raises(NoPrimary, match="permission denied"),
            ):
                weak.failover(to=name(first))
            first.kill()
            with pytest.raises(NoPrimary, match="cannot be reached, or is no standby"):
                database.failover(to=name(first))
            first.start()
            until(lambda: as_it_was(cluster), "all is as it was")
            assert database.check_durability().keeps

            second.kill()
            old.kill()
            with pytest.raises(NoPrimary, match=r"2 of the standbys .* commits may be on n2 alone"):
                database.failover()
            assert (first.in_recovery, first.sql("SHOW primary_conninfo")[0][0].count("host")) == (
                True,
                1,
            )
            with pytest.raises(NoPrimary, match="no primary can be asked"):
                database.check_durability()
            second.start()
            done = database.failover(to=name(second))
            assert (done.node, done.changed, done.kept) == (name(second), True, True)
            assert done.astray == (name(old),)
            first.kill()
            second.kill()
            with pytest.raises(NoPrimary, match="no node of the database can be asked"):
                database.failover()


def test_nodes_that_were_never_seen_with_their_primary() -> None:
    with postgres_cluster(1, synchronous_standby_names="n1") as cluster:
        cluster.primary.kill()
        database = Database(cluster.url)
        with pytest.raises(NoPrimary, match="settings of the primary were never seen"):
            database.failover()
        assert database.failover(allow_loss=True)[2:4] == (True, False)
        assert not cluster.nodes[1].in_recovery
        database.close()


def test_what_a_failover_left_that_was_killed() -> None:
    with postgres_cluster(2) as cluster, Database(cluster.url) as database:
        old, *standbys = cluster.nodes
        nodes = [FailoverNode(n.name, n.url, patience=1) for n in cluster.nodes]
        runtime = colours.thread
        drive(nodes[0].fence(runtime))
        for node in nodes[1:]:
            drive(node.cut(drive(node.look(runtime)), runtime))
        none = "SELECT count(*) FROM pg_stat_replication"
        until(lambda: old.sql(none) == [(0,)], "no one streams")
        for node in nodes:
            node.close()
        done = database.failover()
        assert (done.changed, done.astray) == (False, ())
        until(lambda: all(streams_from(node, old) for node in standbys), "they stream again")
        assert old.sql("SHOW default_transaction_read_only") == [("on",)]  # its owner may want it
        database.failover(to=name(old))
        until(lambda: as_it_was(cluster), "all is as it was")


def test_sqlite_has_no_standby(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path}/shop.db") as database:
        with pytest.raises(ConfigError, match="found SQLite"):
            database.failover()
        with pytest.raises(ConfigError, match="found SQLite"):
            asyncio.run(database.acheck_durability())


def test_the_server_reads_names_as_we_do(postgres: PostgresCluster) -> None:
    node = postgres.primary

    def server_reads(value: str) -> None:
        line = value.replace("\n", " ")  # which ALTER SYSTEM does not take
        literal = node.sql("SELECT quote_literal(%s)", line)[0][0]
        node.sql(f"ALTER SYSTEM SET synchronous_standby_names = {literal}")

    for value in GOOD:
        server_reads(value)
    for value in WRONG:
        with pytest.raises((psycopg.errors.SyntaxError, psycopg.errors.InvalidParameterValue)):
            server_reads(value)
    node.sql("ALTER SYSTEM RESET synchronous_standby_names")
