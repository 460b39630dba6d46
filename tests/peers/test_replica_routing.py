"""A primary and two replicas: one transaction, an own write, an insert as text, a dead replica."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from tests.servers.postgres_cluster import PostgresCluster, postgres_cluster

from escala import Database

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it uses what SQLAlchemy 2.1 deprecates
    from advanced_alchemy.config.routing import RoutingConfig
    from advanced_alchemy.routing.maker import RoutingAsyncSessionMaker, RoutingSyncSessionMaker

pytestmark = pytest.mark.xdist_group("postgres peers")

Sessions = Callable[[], Session]
NOTES = Table("notes", MetaData(), Column("id", Integer, primary_key=True))
PORT = select(func.inet_server_port())


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    with postgres_cluster(2) as cluster:
        cluster.primary.sql("CREATE TABLE notes (id int PRIMARY KEY)")
        cluster.wait_caught_up()
        yield cluster


def config(cluster: PostgresCluster) -> RoutingConfig:
    writer, *readers = (
        f"postgresql+psycopg://escala@127.0.0.1:{node.port}/postgres" for node in cluster.nodes
    )
    return RoutingConfig(primary_connection_string=writer, read_replicas=list(readers))


@pytest.fixture
def theirs(cluster: PostgresCluster) -> Iterator[Sessions]:
    maker = RoutingSyncSessionMaker(config(cluster))
    yield maker
    maker.close_all()


@pytest.fixture
def ours(cluster: PostgresCluster) -> Iterator[Sessions]:
    with Database(cluster.url, functions=["inet_server_port"]) as db:
        yield db.session


def nodes_of_one_transaction(sessions: Sessions) -> int:
    with sessions() as session:
        return len({session.scalar(PORT) for _ in range(4)})


@contextlib.contextmanager
def late_replicas(cluster: PostgresCluster) -> Iterator[None]:
    for node in cluster.replicas:
        node.pause_replay()
    try:
        yield
    finally:
        for node in cluster.replicas:
            node.resume_replay()


def sees_its_own_write(sessions: Sessions, number: int) -> bool:
    with sessions() as session:
        session.execute(insert(NOTES).values(id=number))
        session.commit()
        return session.scalar(select(NOTES.c.id).where(NOTES.c.id == number)) == number


def inserts_as_text(sessions: Sessions, number: int) -> None:
    with sessions() as session:
        session.execute(text("INSERT INTO notes VALUES (:number)"), {"number": number})
        session.commit()


def failed_reads(sessions: Sessions) -> int:
    failed = 0
    for _ in range(20):
        try:
            with sessions() as session:
                session.scalar(PORT)
        except SQLAlchemyError:
            failed += 1
    return failed


@contextlib.contextmanager
def dead_replica(cluster: PostgresCluster) -> Iterator[None]:
    cluster.replicas[0].kill()
    try:
        yield
    finally:
        cluster.replicas[0].start()


def test_advanced_alchemy_reads_two_replicas_in_one_transaction(theirs: Sessions) -> None:
    assert nodes_of_one_transaction(theirs) == 2


def test_advanced_alchemy_does_not_see_its_own_write(
    cluster: PostgresCluster, theirs: Sessions
) -> None:
    with late_replicas(cluster):
        assert not sees_its_own_write(theirs, 1)


def test_advanced_alchemy_sends_a_text_insert_to_a_replica(theirs: Sessions) -> None:
    with pytest.raises(SQLAlchemyError, match="read-only transaction"):
        inserts_as_text(theirs, 2)


def test_advanced_alchemy_keeps_asking_a_dead_replica(
    cluster: PostgresCluster, theirs: Sessions
) -> None:
    with dead_replica(cluster):
        assert failed_reads(theirs) == 10


def test_advanced_alchemy_has_no_async_session_on_sqlalchemy_2_1(cluster: PostgresCluster) -> None:
    with pytest.raises(AttributeError):
        RoutingAsyncSessionMaker(config(cluster))()


def test_a_database_reads_one_node_in_one_transaction(ours: Sessions) -> None:
    assert nodes_of_one_transaction(ours) == 1


def test_a_database_shows_a_session_its_own_write(cluster: PostgresCluster, ours: Sessions) -> None:
    with late_replicas(cluster):
        assert sees_its_own_write(ours, 3)


def test_a_database_sends_a_text_insert_to_the_primary(
    cluster: PostgresCluster, ours: Sessions
) -> None:
    inserts_as_text(ours, 4)
    assert cluster.primary.sql("SELECT count(*) FROM notes WHERE id = 4") == [(1,)]


def test_a_database_needs_no_dead_replica(cluster: PostgresCluster, ours: Sessions) -> None:
    with dead_replica(cluster):
        assert failed_reads(ours) == 0
