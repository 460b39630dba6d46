from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, event, func, insert, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from tests.databases.nodes import NOTES, WHO, Cloud, clouds, gone

from escala.databases.replicas.seen import Seen
from escala.databases.replicas.session_internals import forget_connections
from escala.errors import ConfigError, NoHealthyBackend, NoPrimary, ReadOnlyTransaction

Make = Callable[..., Cloud]
NAME = select(WHO.c.name)
FIRST_WRITES = """
text insert update delete fetch function lock connection flush autoflush bulk get legacy
"""


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str | None]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    yield from clouds(tmp_path)


@pytest.fixture
def cloud(make: Make) -> Cloud:
    return make()


def names(cloud: Cloud, count: int = 4) -> list[str | None]:
    found = []
    for _ in range(count):
        with cloud.session() as session:
            found.append(session.scalar(NAME))
    return found


def fail(cloud: Cloud, name: str, error: Callable[[], Exception], on: str = "connect") -> None:
    """Each connection to this node, or each statement there, fails."""
    engine = next(node._engine for node in cloud.nodes if node.called == name)

    def failing(*_: Any, **__: Any) -> None:
        raise error()

    event.listen(engine, "do_connect" if on == "connect" else "before_execute", failing)


def test_reads_are_spread_over_the_replicas(cloud: Cloud) -> None:
    assert names(cloud) == ["a", "b", "a", "b"]


def test_a_transaction_stays_on_its_node(cloud: Cloud) -> None:
    with cloud.session() as session:
        for expected in ("a", "b"):
            assert [session.scalar(NAME) for _ in range(3)] == [expected] * 3
            assert session.scalars(NAME).all() == [expected]
            assert session.execute(NAME).scalar() == expected
            session.rollback()


@pytest.mark.parametrize(
    "first",
    [
        lambda session: session.execute(text("SELECT 1")),
        lambda session: session.execute(insert(NOTES).values(id=1)),
        lambda session: session.execute(update(Note).values(body="x")),
        lambda session: session.execute(delete(Note).where(Note.body == "x")),
        lambda session: session.execute(
            update(Note).values(body="x"), execution_options={"synchronize_session": "fetch"}
        ),
        lambda session: session.scalar(select(func.random())),
        lambda session: session.scalar(NAME.with_for_update()),
        lambda session: session.connection(),
        lambda session: session.add(Note(id=1)) or session.flush(),
        lambda session: session.add(Note(id=1)) or session.scalars(select(Note)),  # autoflush
        lambda session: session.bulk_insert_mappings(Note, [{"id": 1}]),
        lambda session: session.get(Note, 1, with_for_update=True),
        lambda session: session.query(Note).delete(),
    ],
    ids=FIRST_WRITES.split(),
)
def test_what_may_write_is_for_the_primary(cloud: Cloud, first: Callable[[Session], Any]) -> None:
    with cloud.session() as session:
        first(session)
        assert session.scalar(NAME) == "p"
        session.commit()


@pytest.mark.parametrize(
    "first",
    [
        lambda session: session.get(Note, 1),
        lambda session: session.query(Note).all(),
        lambda session: session.scalars(select(Note)).all(),
        lambda session: session.execute(select(func.count()).select_from(Note)),
    ],
    ids=["get", "legacy", "scalars", "count"],
)
def test_what_reads_is_for_a_replica(cloud: Cloud, first: Callable[[Session], Any]) -> None:
    with cloud.session() as session:
        first(session)
        assert session.scalar(NAME) == "a"


def test_a_session_that_will_write_begins_at_the_primary(cloud: Cloud) -> None:
    with cloud.session(write=True) as session:
        assert session.scalar(NAME) == "p"
    with cloud.session(twophase=True) as session:
        assert session.get_bind() is cloud.nodes[0]._engine


def test_a_session_has_no_engine_of_the_callers(cloud: Cloud) -> None:
    engine = cloud.nodes[0]._engine
    for options in ({"bind": engine}, {"binds": {Note: engine}}):
        with pytest.raises(ConfigError, match="bind: expected none, since it finds its node"):
            cloud.session(**options)


def test_a_bind_that_is_named_is_used(cloud: Cloud) -> None:
    with cloud.session() as session:
        there = {"bind": cloud.nodes[2]._engine}
        assert session.scalar(NAME, bind_arguments=there) == "b"


def test_a_write_after_a_read_is_refused(cloud: Cloud) -> None:
    with cloud.session() as session:
        assert session.scalar(NAME) == "a"
        session.add(Note(id=1))
        with pytest.raises(ReadOnlyTransaction, match="session\\(write=True\\)"):
            session.flush()
        session.rollback()
        session.add(Note(id=1))
        session.commit()
    with cloud.session() as session:
        assert session.scalar(NAME) == "b"
        with pytest.raises(ReadOnlyTransaction):
            session.execute(text("DELETE FROM notes"))


def test_a_query_that_was_only_printed_is_no_read(cloud: Cloud) -> None:
    with cloud.session() as session:
        assert "notes" in str(session.query(Note))
        session.add(Note(id=1))
        session.commit()
        assert sum(cloud.replicas.in_flight.values()) == 0
        with session.begin_nested():
            assert "notes" in str(session.query(Note))
            session.execute(insert(NOTES).values(id=2))


def test_a_session_that_is_dropped_gives_its_replica_back(cloud: Cloud) -> None:
    session = cloud.session()
    session.scalar(NAME)
    assert sum(cloud.replicas.in_flight.values()) == 1
    del session
    gc.collect()
    with cloud.session() as session:
        session.scalar(NAME)
        assert sum(cloud.replicas.in_flight.values()) == 1


def test_a_write_after_a_read_may_move(make: Make) -> None:
    cloud = make(moves=True)
    with cloud.session() as session:
        assert session.scalar(NAME) == "a"
        session.add(Note(id=1))
        session.flush()
        assert session.scalar(NAME) == "p"
        session.commit()
        assert cloud.replicas.in_flight == {1: 0}
        assert session.scalar(select(NOTES.c.id)) == 1


def test_a_savepoint_does_not_move(make: Make) -> None:
    cloud = make(moves=True)
    with cloud.session() as session:
        with session.begin_nested():
            assert session.scalar(NAME) == "a"
            with pytest.raises(ReadOnlyTransaction):
                session.execute(insert(NOTES).values(id=1))
        assert session.scalar(NAME) == "a", "it is the same transaction"


def test_a_replica_that_cannot_be_reached_is_passed_over(cloud: Cloud) -> None:
    fail(cloud, "a", lambda: gone("connect"))
    assert names(cloud, 6) == ["b"] * 6
    assert set(cloud.suspected) == {1}
    assert cloud.replicas.in_flight == {1: 0, 2: 0}


@pytest.mark.parametrize("error", [OSError, ConnectionRefusedError, TimeoutError, NoPrimary])
def test_whatever_a_driver_says_when_it_cannot_connect(cloud: Cloud, error: type) -> None:
    fail(cloud, "a", lambda: error("no"))
    assert names(cloud, 2) == ["b", "b"]


def test_when_all_are_dead_the_primary_answers(cloud: Cloud) -> None:
    for name in "ab":
        fail(cloud, name, lambda: gone("connect"))
    assert names(cloud, 2) == ["p", "p"]


def test_when_even_the_primary_is_dead_the_caller_is_told(cloud: Cloud) -> None:
    for name in "abp":
        fail(cloud, name, lambda: gone("connect"))
    with pytest.raises(OperationalError, match="connect"):
        names(cloud, 1)
    assert cloud.replicas.in_flight == {1: 0, 2: 0}


def test_a_connection_that_breaks_at_the_first_statement(cloud: Cloud) -> None:
    fail(cloud, "a", lambda: gone("execute", invalidated=True), on="execute")
    with cloud.session() as session:
        with session.no_autoflush:
            session.add(Note(id=1))  # it must not be lost by the change of nodes
            assert session.scalar(NAME) == "b"
        assert len(session.new) == 1
        session.rollback()


def test_an_error_of_the_statement_is_the_callers(cloud: Cloud) -> None:
    fail(cloud, "a", lambda: gone("execute"), on="execute")
    with cloud.session() as session, pytest.raises(OperationalError):
        session.scalar(NAME)
    assert cloud.suspected == []


def test_a_connection_that_breaks_later_is_the_callers(cloud: Cloud) -> None:
    with cloud.session() as session:
        assert session.scalar(NAME) == "a"
        fail(cloud, "a", lambda: gone("execute", invalidated=True), on="execute")
        with pytest.raises(OperationalError):
            session.scalar(NAME)


class Refused(Exception):
    def __init__(self, state: str) -> None:
        self.sqlstate = state


# it is read-only; unlogged tables and SERIALIZABLE; locks
@pytest.mark.parametrize("state", ["25006", "0A000", "55000"])
def test_what_a_replica_refuses_to_do_is_sent_to_the_primary(cloud: Cloud, state: str) -> None:
    fail(cloud, "a", lambda: OperationalError("x", {}, Refused(state)), on="execute")
    with cloud.session() as session:
        assert session.scalar(NAME) == "p"
    assert cloud.suspected == []


def test_in_flight_is_given_back_however_it_ends(cloud: Cloud) -> None:
    for end in ("commit", "rollback", "close", "reset", "invalidate"):
        session = cloud.session()
        session.scalar(NAME)
        assert sum(cloud.replicas.in_flight.values()) == 1
        getattr(session, end)()
        assert sum(cloud.replicas.in_flight.values()) == 0
    with cloud.session() as session, session.begin():
        session.scalar(NAME)
    assert sum(cloud.replicas.in_flight.values()) == 0
    gc.collect()


def test_a_session_reads_what_it_has_written(cloud: Cloud) -> None:
    with cloud.session() as session:
        session.execute(insert(NOTES).values(id=1))
        session.commit()
        cloud.write()
        assert session.scalar(NAME) == "p", "no one has asked the primary since"
        assert cloud.asked == []
        session.rollback()
        cloud.look()
        assert session.scalar(NAME) == "p", "a replica was asked, and has not replayed it"
        assert len(cloud.asked) == 1
        session.rollback()
        cloud.look()
        cloud.nodes[1].lsn = cloud.nodes[2].lsn = 10
        assert session.scalar(NAME) in {"a", "b"}, "it has, since the monitor looked"
        assert len(cloud.asked) == 2
        session.rollback()
        cloud.look()
        assert session.scalar(NAME) in {"a", "b"}
        assert len(cloud.asked) == 2, "now the monitor knows it"


def test_other_sessions_go_on_reading_replicas(cloud: Cloud) -> None:
    with cloud.session() as session:
        session.execute(insert(NOTES).values(id=1))
        session.commit()
        assert set(names(cloud)) == {"a", "b"}


def test_reads_at_the_primary_are_things_seen_as_well(cloud: Cloud) -> None:
    with cloud.session() as session:
        session.scalar(text("SELECT 1"))
        session.rollback()
        assert session.scalar(NAME) == "p"


def test_a_session_never_reads_a_replica_that_is_behind_the_last_one(cloud: Cloud) -> None:
    cloud.write()
    cloud.nodes[1].lsn = 10  # "a" is ahead of "b"
    cloud.look()
    with cloud.session() as session:
        assert session.scalar(NAME) == "a"
        for _ in range(3):
            session.rollback()
            assert session.scalar(NAME) == "a"
    assert set(names(cloud)) == {"a", "b"}


def test_who_has_seen_too_much_goes_to_the_primary_or_nowhere(make: Make) -> None:
    for fallback in ("primary", "refuse"):
        cloud = make(fallback=fallback)
        with cloud.session() as session:
            session._seen.at_least(99, 1)
            if fallback == "primary":
                assert session.scalar(NAME) == "p"
            else:
                with pytest.raises(NoHealthyBackend, match="has caught up"):
                    session.scalar(NAME)
                session.rollback()
                session.execute(insert(NOTES).values(id=1))
        assert len(cloud.asked) == 1
        assert sum(cloud.replicas.in_flight.values()) == 0


def test_a_floor_of_a_later_timeline_is_above_every_replica(cloud: Cloud) -> None:
    with cloud.session() as session:
        session._seen.at_least(0, 2)
        assert session.scalar(NAME) == "p"


def test_a_replica_that_dies_when_it_is_asked_how_far_it_is(cloud: Cloud) -> None:
    cloud.nodes[1].dead = cloud.nodes[2].dead = True
    with cloud.session() as session:
        session._seen.at_least(99, 1)
        assert session.scalar(NAME) == "p"
    assert len(cloud.suspected) == 1


def test_a_primary_that_does_not_say_how_far_it_is(cloud: Cloud) -> None:
    cloud.nodes[0].dead = True
    with pytest.raises(NoPrimary, match=r"cloud: the primary does not say how far it is: .*gone"):
        cloud.router.written(Seen())
    assert cloud.suspected == [0]


def test_without_readable_replicas(make: Make) -> None:
    cloud = make()
    for node in (1, 2):
        cloud.cluster.failed(node, 1.0, "refused")
    assert names(cloud, 2) == ["p", "p"]
    cloud = make(fallback="refuse")
    for node in (1, 2):
        cloud.cluster.failed(node, 1.0, "refused")
    with pytest.raises(NoHealthyBackend, match="a: refused; b: refused"):
        names(cloud, 1)


def test_a_node_alone_is_always_asked(make: Make) -> None:
    assert names(make("p"), 2) == ["p", "p"]


def test_forgetting_the_connections_of_a_session_without_any(cloud: Cloud) -> None:
    with cloud.session() as session:
        forget_connections(session)
        session.begin()
        forget_connections(session)
        assert session.scalar(NAME) == "a"
