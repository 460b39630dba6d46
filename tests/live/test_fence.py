"""Connections to what is no primary any more, and commits whose outcome no one knows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, create_engine, func, select, table, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from tests.servers.postgres_cluster import PostgresCluster, PostgresNode, until
from tests.servers.postgres_server import PostgresServer, postgres_server
from tests.servers.relay import relayed

from escala.databases.pure.topology import Sighting, Topology
from escala.databases.replicas.cluster import Cluster
from escala.databases.replicas.commit_outcome import tell_unknown_commits
from escala.databases.replicas.fence import fence
from escala.errors import CommitUnknown, Fenced, NoPrimary

pytestmark = pytest.mark.xdist_group("postgres")

INSERT = text("INSERT INTO outcome VALUES (1)")


def url(port: int, driver: str = "psycopg") -> str:
    return f"postgresql+{driver}://escala@127.0.0.1:{port}/postgres"


def cluster_of(*nodes: PostgresNode, timeline: int = 1) -> Cluster:
    cluster = Cluster(
        "shop",
        Topology([each.name for each in nodes], max_bytes=1e9, max_age=1e9, slow_start=0),
    )
    system = int(nodes[0].sql("SELECT system_identifier FROM pg_control_system()")[0][0])
    for index, node in enumerate(nodes):
        recovery = node.in_recovery
        cluster.saw(Sighting(index, 0, 0, system, in_recovery=recovery, timeline=timeline, lsn=1))
    return cluster


@contextmanager
def engine_to(cluster: Cluster, node: int, port: int, *, writes: bool) -> Iterator[Engine]:
    engine = create_engine(url(port))
    fence(engine, cluster, node, writes=writes)
    yield engine
    engine.dispose()


def test_a_standby_takes_no_writes(postgres: PostgresCluster) -> None:
    cluster = cluster_of(*postgres.nodes)
    suspects: list[int] = []
    cluster.suspect = suspects.append
    with (
        engine_to(cluster, 1, postgres.nodes[1].port, writes=True) as engine,
        pytest.raises(NoPrimary, match="n1 is a standby now"),
        engine.connect(),
    ):
        pass
    assert suspects == [1]
    gone = (
        "SELECT count(*) = 0 FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND application_name = ''"
    )
    until(lambda: postgres.nodes[1].sql(gone)[0][0], "the connection is closed")
    with (
        engine_to(cluster, 1, postgres.nodes[1].port, writes=False) as engine,
        engine.connect() as connection,
    ):
        assert connection.scalar(text("SELECT 1")) == 1


def test_another_cluster_is_refused(postgres: PostgresCluster) -> None:
    cluster = cluster_of(*postgres.nodes)
    with postgres_server(own_system=True) as other:
        for writes in (True, False):
            with (
                engine_to(cluster, 0, other.port, writes=writes) as engine,
                pytest.raises(Fenced, match="n0 belongs to another cluster"),
                engine.connect(),
            ):
                pass


def test_an_old_timeline_is_refused(postgres: PostgresCluster) -> None:
    cluster = cluster_of(*postgres.nodes, timeline=2)
    for writes in (True, False):
        with (
            engine_to(cluster, 0, postgres.primary.port, writes=writes) as engine,
            pytest.raises(Fenced, match="n0 writes timeline 1, and the cluster is at 2"),
            engine.connect(),
        ):
            pass


def test_a_transaction_under_way_is_not_committed_on_an_old_primary(
    postgres: PostgresCluster,
) -> None:
    postgres.primary.sql("DROP TABLE IF EXISTS outcome")
    postgres.primary.sql("CREATE TABLE outcome (number int)")
    cluster = cluster_of(*postgres.nodes)
    system = cluster.view.system_id
    assert system is not None
    with engine_to(cluster, 0, postgres.primary.port, writes=True) as engine:
        with engine.begin() as connection:
            connection.execute(INSERT)
        connection = engine.connect()
        transaction = connection.begin()
        connection.execute(INSERT)
        alone = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        alone.execute(select(func.count()).select_from(table("outcome")))
        cluster.saw(Sighting(1, 1, 1, system, in_recovery=False, timeline=2, lsn=9))
        with pytest.raises(Fenced, match="nothing was committed"):
            transaction.commit()
        connection.close()
        with pytest.raises(Fenced, match="nothing was committed"):
            alone.execute(INSERT)
        alone.close()
        assert postgres.primary.sql("SELECT count(*) FROM outcome") == [(1,)]
        with pytest.raises(Fenced, match="old primary"), engine.connect():
            pass  # the pool does not give its old connections any more
    postgres.primary.sql("DROP TABLE outcome")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        server.sql("CREATE TABLE outcome (number int)")
        yield server


def alone_insert(port: int, meanwhile: Callable[[], None], _: str) -> None:
    engine = create_engine(url(port), isolation_level="AUTOCOMMIT")
    tell_unknown_commits(engine, "n0")
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            meanwhile()
            connection.execute(INSERT)
    finally:
        engine.dispose()


def async_alone_insert(port: int, meanwhile: Callable[[], None], driver: str) -> None:
    async def insert() -> None:
        engine = create_async_engine(url(port, driver), isolation_level="AUTOCOMMIT")
        tell_unknown_commits(engine.sync_engine, "n0")
        try:
            async with engine.connect() as connection:
                meanwhile()
                await connection.execute(INSERT)
        finally:
            await engine.dispose()

    asyncio.run(insert())


def sync_insert(port: int, meanwhile: Callable[[], None], _: str) -> None:
    engine = create_engine(url(port))
    tell_unknown_commits(engine, "n0")
    try:
        with engine.begin() as connection:
            connection.execute(INSERT)
            meanwhile()
    finally:
        engine.dispose()


def async_insert(port: int, meanwhile: Callable[[], None], driver: str) -> None:
    async def insert() -> None:
        engine = create_async_engine(url(port, driver))
        tell_unknown_commits(engine.sync_engine, "n0")
        try:
            async with engine.begin() as connection:
                await connection.execute(INSERT)
                meanwhile()
        finally:
            await engine.dispose()

    asyncio.run(insert())


COLOURS = pytest.mark.parametrize(
    ("insert", "driver"),
    [
        pytest.param(sync_insert, "psycopg", id="sync-psycopg"),
        pytest.param(async_insert, "psycopg", id="async-psycopg"),
        pytest.param(async_insert, "asyncpg", id="async-asyncpg"),
        pytest.param(alone_insert, "psycopg", id="autocommit-psycopg"),
        pytest.param(async_alone_insert, "psycopg", id="async-autocommit-psycopg"),
        pytest.param(async_alone_insert, "asyncpg", id="async-autocommit-asyncpg"),
    ],
)
Insert = Callable[[int, Callable[[], None], str], None]


@COLOURS
def test_a_connection_that_breaks_at_the_commit(
    server: PostgresServer, insert: Insert, driver: str
) -> None:
    with relayed(server.port) as relay:

        def meanwhile() -> None:
            relay.hold()
            threading.Timer(0.1, relay.cut).start()

        with pytest.raises(CommitUnknown, match="the connection to n0 broke while it was commit"):
            insert(relay.port, meanwhile, driver)


@COLOURS
def test_a_wait_for_standbys_that_is_cancelled(
    server: PostgresServer, insert: Insert, driver: str
) -> None:
    server.sql("TRUNCATE outcome")
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    server.reload()
    shown = "SHOW synchronous_standby_names"
    until(lambda: server.sql(shown) == [("nobody",)], "the settings are read")

    def cancel() -> None:
        ask = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        until(lambda: server.sql(ask), "the commit waits")

    waits = threading.Thread(target=cancel)
    try:
        with pytest.raises(CommitUnknown, match="n0 has committed, but the wait"):
            insert(server.port, waits.start, driver)
        waits.join()
        assert server.sql("SELECT count(*) FROM outcome") == [(1,)]
    finally:
        server.sql("ALTER SYSTEM RESET synchronous_standby_names")
        server.reload()
        until(lambda: server.sql(shown) == [("",)], "the settings are read")


@COLOURS
def test_what_is_known_is_no_unknown_outcome(
    server: PostgresServer, insert: Insert, driver: str
) -> None:
    server.sql("TRUNCATE outcome")
    insert(server.port, lambda: None, driver)
    assert server.sql("SELECT count(*) FROM outcome") == [(1,)]


def test_a_query_in_autocommit_has_no_outcome(server: PostgresServer) -> None:
    with relayed(server.port) as relay:
        engine = create_engine(url(relay.port), isolation_level="AUTOCOMMIT")
        tell_unknown_commits(engine, "n0")
        with engine.connect() as connection:
            relay.cut()
            with pytest.raises(OperationalError):
                connection.execute(select(func.count()).select_from(table("outcome")))
        engine.dispose()


def test_a_server_that_stops_has_not_committed_in_autocommit(server: PostgresServer) -> None:
    engine = create_engine(url(server.port), isolation_level="AUTOCOMMIT")
    tell_unknown_commits(engine, "n0")
    with engine.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        server.sql("SELECT pg_terminate_backend(%s, 5000)", pid)
        with pytest.raises(OperationalError, match="terminating connection"):
            connection.execute(INSERT)
    engine.dispose()


def test_a_connection_that_breaks_before_the_commit(server: PostgresServer) -> None:
    engine = create_engine(url(server.port))
    tell_unknown_commits(engine, "n0")
    with engine.begin() as connection:
        connection.execute(INSERT)
    for _ in range(2):  # the second time on a connection that has committed once
        with engine.connect() as connection:
            pid = connection.scalar(text("SELECT pg_backend_pid()"))
            server.sql("SELECT pg_terminate_backend(%s, 5000)", pid)
            with pytest.raises(OperationalError, match="terminating connection"):
                connection.execute(INSERT)
        with engine.begin() as connection:
            connection.execute(INSERT)
    engine.dispose()
