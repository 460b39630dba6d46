"""The cluster that other tests stand on does what it says."""

from __future__ import annotations

import time

import pytest
from tests.servers.postgres_cluster import PostgresCluster, postgres_cluster, until
from tests.servers.postgres_server import postgres_server

from escala.databases.replicas.database import Database

pytestmark = pytest.mark.xdist_group("postgres")


def rows(cluster: PostgresCluster, number: int) -> int:
    return int(cluster.nodes[number].sql("SELECT count(*) FROM kept")[0][0])


def test_a_node_lags_is_cut_off_is_promoted_and_comes_back() -> None:
    with postgres_cluster(2, work_mem="5MB") as cluster:
        old, first, second = cluster.nodes
        assert [node.in_recovery for node in cluster.nodes] == [False, True, True]
        assert old.sql("SHOW work_mem") == [("5MB",)]
        old.sql("CREATE TABLE kept (number int)")
        cluster.wait_caught_up()
        first.pause_replay()
        second.cut_wal()
        old.sql("INSERT INTO kept VALUES (1)")
        until(lambda: first.lsn >= old.lsn, "the paused one received it")
        assert (rows(cluster, 1), rows(cluster, 2)) == (0, 0)
        assert second.lsn < old.lsn
        first.resume_replay()
        second.restore_wal()
        cluster.wait_caught_up()
        assert (rows(cluster, 1), rows(cluster, 2)) == (1, 1)
        old.kill()
        cluster.promote(second)
        assert second.timeline == 2
        second.sql("INSERT INTO kept VALUES (2)")
        cluster.wait_streaming("n1")
        cluster.wait_caught_up()
        assert rows(cluster, 1) == 2
        old.start()
        assert (old.in_recovery, old.timeline) == (False, 1)  # it knows nothing of it
        cluster.rejoin(old)
        cluster.wait_caught_up()
        assert (old.in_recovery, rows(cluster, 0)) == (True, 2)


def test_a_system_of_its_own() -> None:
    identifier = "SELECT system_identifier FROM pg_control_system()"
    with postgres_server(wal_level="logical") as one, postgres_server(own_system=True) as other:
        assert one.sql("SHOW wal_level") == [("logical",)]
        assert one.sql(identifier) != other.sql(identifier)


def test_a_replica_of_an_idle_primary_stays_in() -> None:
    with postgres_cluster(1) as cluster, Database(cluster.url) as database:
        cluster.primary.sql("SELECT pg_switch_wal()")  # as a backup does
        time.sleep(2.5)  # longer than a lag may be
        found = database.snapshot()["nodes"][1]
        assert (found["readable"], found["lag_bytes"]) == (True, 0)
