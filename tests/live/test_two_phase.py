"""Commits over several shards on a real PostgreSQL, in both colours."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import greenlet_spawn
from tests.servers.shard_databases import shard_databases

from escala.databases import InDoubtSweeper, ShardMap, TwoPhase
from escala.databases.pure.two_phase_steps import Do, Step
from escala.databases.replicas.commit_outcome import tell_unknown_commits
from escala.databases.sharding import decisions as decisions_of
from escala.databases.sharding import prepared, sharded_database
from escala.databases.sharding.shard_server import install
from escala.databases.sharding.two_phase_events import DoubtSettled, LeftInDoubt, SweepFailed
from escala.errors import CommitUnknown, ConfigError, Unavailable
from escala.kernel.events import subscribe

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("two_phase")]

NAMES = ("s0", "s1", "s2")
GRACE = 0.001


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    with shard_databases(*NAMES) as urls:
        yield {name: url.replace("postgresql://", "postgresql+{}://") for name, url in urls.items()}


@pytest.fixture(scope="module")
def every(urls: dict[str, str]) -> Iterator[dict[str, Engine]]:
    engines = {name: create_engine(url.format("psycopg")) for name, url in urls.items()}
    for name, engine in engines.items():
        with engine.begin() as connection:
            install(connection, name, ShardMap.slots(NAMES, key="id"))
            connection.exec_driver_sql(
                "CREATE TABLE rows (id text, CONSTRAINT once UNIQUE (id) DEFERRABLE "
                "INITIALLY DEFERRED)"
            )
    yield engines
    for engine in engines.values():
        engine.dispose()


@pytest.fixture
def engines(every: dict[str, Engine]) -> Iterator[dict[str, Engine]]:
    for engine in every.values():
        with engine.begin() as connection:
            connection.exec_driver_sql("TRUNCATE rows, escala.decisions")
    yield every
    for name, engine in every.items():
        assert one(engine, "SELECT count(*) FROM pg_prepared_xacts") == 0, name


def one(engine: Engine, select: str) -> Any:
    with engine.connect() as connection:
        return connection.exec_driver_sql(select).scalar()


def present(engines: Mapping[str, Engine]) -> dict[str, list[str]]:
    return {
        name: one(engine, "SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM rows")
        for name, engine in engines.items()
    }


def everywhere(*rows: str) -> dict[str, list[str]]:
    return {name: [*rows] for name in NAMES}


def decisions(engine: Engine) -> Any:
    return one(engine, "SELECT coalesce(array_agg(outcome), '{}') FROM escala.decisions")


def inserted(connections: Mapping[str, Connection], row: str) -> None:
    for connection in connections.values():
        connection.execute(text("INSERT INTO rows VALUES (:row)"), {"row": row})


class Stopped(TwoPhase):
    """Calls `then` before or after a step, as if the world did something at that moment."""

    def __init__(self, at: Step, then: Any, *, after: bool = False) -> None:
        super().__init__()
        self._at, self._then, self._after = at, then, after

    def _do(self, step: Step, *rest: Any) -> str:
        if step == self._at and not self._after:
            self._then()
        answer = super()._do(step, *rest)
        if step == self._at and self._after:
            self._then()
        return answer


class Opened:
    """Connections to all shards, with a row written on each."""

    def __init__(self, engines: Mapping[str, Engine], row: str) -> None:
        self._engines, self._row = engines, row

    def __enter__(self) -> dict[str, Connection]:
        self._open = {name: engine.connect() for name, engine in self._engines.items()}
        inserted(self._open, self._row)
        return self._open

    def __exit__(self, *_: object) -> None:
        for connection in self._open.values():
            connection.close()


def killed(engines: Mapping[str, Engine], connections: Mapping[str, Connection], name: str) -> Any:
    """A call that ends the session of a connection, as a crash of its server would."""
    pid = connections[name].exec_driver_sql("SELECT pg_backend_pid()").scalar()
    return lambda: one(engines[name], f"SELECT pg_terminate_backend({pid}, 5000)")


def test_a_commit_is_on_all_shards(engines: dict[str, Engine]) -> None:
    with Opened(engines, "x") as connections:
        TwoPhase().check(connections)
        TwoPhase().commit(connections)
        for connection in connections.values():
            connection.commit()
        inserted(connections, "y")  # they are as good as before
        for connection in connections.values():
            connection.rollback()
    assert present(engines) == everywhere("x")
    assert decisions(engines["s0"]) == ["commit"]
    swept = InDoubtSweeper(engines, grace=GRACE).sweep()
    assert swept == ({}, set(), set())
    assert decisions(engines["s0"]) == []


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_the_same_over_an_event_loop(
    engines: dict[str, Engine], urls: dict[str, str], driver: str
) -> None:
    async def run() -> None:
        made = {name: create_async_engine(url.format(driver)) for name, url in urls.items()}
        opened = {name: await engine.connect() for name, engine in made.items()}
        inner: Any = {name: connection.sync_connection for name, connection in opened.items()}
        for row, fails in (("x", False), ("y", True), ("z", False)):
            for name, connection in opened.items():
                for _ in range(1 + (fails and name == "s2")):
                    await connection.execute(text(f"INSERT INTO rows VALUES ('{row}')"))  # noqa: S608
            if fails:
                with pytest.raises(IntegrityError):
                    await greenlet_spawn(TwoPhase().commit, inner)
            else:
                await greenlet_spawn(TwoPhase().commit, inner)
            for connection in opened.values():
                await (connection.rollback() if fails else connection.commit())
        for connection in opened.values():
            await connection.close()
        for engine in made.values():
            await engine.dispose()

    asyncio.run(run())
    assert present(engines) == everywhere("x", "z")


@pytest.mark.parametrize("refuses", NAMES)
def test_when_one_shard_refuses_none_has_it(engines: dict[str, Engine], refuses: str) -> None:
    with Opened(engines, "x") as connections:
        inserted({refuses: connections[refuses]}, "x")  # twice: seen at the end of a transaction
        with pytest.raises(IntegrityError, match="once"):
            TwoPhase().commit(connections)
        for connection in connections.values():
            connection.rollback()
        inserted(connections, "y")
        TwoPhase().commit(connections)
    assert present(engines) == everywhere("y")


@pytest.mark.parametrize("lost", NAMES)
@pytest.mark.parametrize(
    "at",
    [Step(Do.BEGIN, "s0"), Step(Do.PREPARE, "s1"), Step(Do.PREPARE, "s2"), Step(Do.DECIDE, "s0")],
    ids=["begin", "prepare-s1", "prepare-s2", "decide"],
)
def test_a_connection_lost_before_the_decision(
    engines: dict[str, Engine], at: Step, lost: str
) -> None:
    with Opened(engines, "x") as connections:
        two_phase = Stopped(at, killed(engines, connections, lost))
        # What was lost after its promise is not missed.
        promised = (lost == "s1" and at.shard == "s2") or (lost != "s0" and at.do is Do.DECIDE)
        if promised:
            two_phase.commit(connections)
            for connection in connections.values():
                connection.commit()
        else:
            with pytest.raises(DBAPIError):
                two_phase.commit(connections)
            for connection in connections.values():
                connection.rollback()
    InDoubtSweeper(engines, grace=GRACE).sweep()
    assert present(engines) == everywhere(*["x"] * promised)


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_a_connection_lost_while_it_promises_is_no_unknown_commit(
    urls: dict[str, str], engines: dict[str, Engine], driver: str
) -> None:
    """The promise is asked for within a commit of the same connection, as a session does it."""

    async def lose() -> None:
        made = {name: create_async_engine(url.format(driver)) for name, url in urls.items()}
        for name, engine in made.items():
            tell_unknown_commits(engine.sync_engine, name)
        try:
            await greenlet_spawn(_lose_s1, engines, {n: e.sync_engine for n, e in made.items()})
        finally:
            for engine in made.values():
                await engine.dispose()

    asyncio.run(lose())
    InDoubtSweeper(engines, grace=GRACE).sweep()
    assert present(engines) == everywhere()


def _lose_s1(engines: dict[str, Engine], made: dict[str, Engine]) -> None:
    with Opened(made, "x") as connections:
        then = killed(engines, connections, "s1")
        two_phase = Stopped(Step(Do.PREPARE, "s1"), then)
        event.listen(connections["s1"], "commit", lambda _: two_phase.commit(connections))
        with pytest.raises(DBAPIError) as lost:
            connections["s1"].commit()
        assert not isinstance(lost.value, CommitUnknown)
        for connection in connections.values():
            connection.rollback()


def test_a_shard_that_is_not_told_is_told_by_the_sweeper(engines: dict[str, Engine]) -> None:
    told: list[Any] = []
    stops = [subscribe(LeftInDoubt, told.append), subscribe(DoubtSettled, told.append)]
    with Opened(engines, "x") as connections:
        then = killed(engines, connections, "s2")
        Stopped(Step(Do.DECIDE, "s0"), then, after=True).commit(connections)
        for connection in connections.values():
            connection.commit()  # without an error, since it has happened
    assert present(engines) == {"s0": ["x"], "s1": ["x"], "s2": []}
    (left,) = told
    assert (left.shard, left.outcome) == ("s2", "commit")
    assert InDoubtSweeper(engines).sweep().left == {("s2", f"{left.gid}:1")}  # too young
    partly = InDoubtSweeper({"s2": engines["s2"]}, grace=GRACE).sweep()
    assert partly.left == {("s2", f"{left.gid}:1")}  # no one to ask
    swept = InDoubtSweeper(engines, grace=GRACE).sweep()
    assert swept == ({("s2", f"{left.gid}:1"): "commit"}, set(), set())
    assert (told[1].shard, told[1].outcome) == ("s2", "commit")
    assert present(engines) == everywhere("x")
    assert decisions(engines["s0"]) == ["commit"]  # it was there before: gone with the next sweep
    InDoubtSweeper(engines, grace=GRACE).sweep()
    assert decisions(engines["s0"]) == []
    for stop in stops:
        stop()


def test_a_decision_is_kept_while_a_shard_that_took_part_is_not_seen(
    engines: dict[str, Engine],
) -> None:
    with Opened(engines, "x") as connections:
        TwoPhase().commit(connections)
    some = {name: engines[name] for name in ("s0", "s1")}
    InDoubtSweeper(some, grace=GRACE).sweep()
    assert decisions(engines["s0"]) == ["commit"]


def test_a_slow_coordinator_finds_that_the_sweeper_has_decided(engines: dict[str, Engine]) -> None:
    sweeper = InDoubtSweeper(engines, grace=GRACE)
    swept: list[Any] = []
    with Opened(engines, "x") as connections:
        at = Step(Do.PREPARE, "s2")

        def sweep_twice() -> None:
            swept.extend(sweeper.sweep() for _ in range(2))

        with pytest.raises(Unavailable, match="grace"):
            Stopped(at, sweep_twice).commit(connections)
        assert [*swept[0].settled.values()] == ["abort"]
        assert decisions(engines["s0"]) == ["abort"]  # while it may still come to decide
        for connection in connections.values():
            connection.rollback()
    assert present(engines) == everywhere()
    sweeper.sweep()
    assert decisions(engines["s0"]) == []


def test_the_sweeper_leaves_what_is_just_being_decided(
    engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeper = InDoubtSweeper(engines, grace=GRACE)
    swept: list[Any] = []
    really = prepared.commit

    def commit(connection: Connection) -> None:
        swept.append(sweeper.sweep())
        really(connection)

    monkeypatch.setattr(decisions_of, "_PATIENCE", "100ms")
    monkeypatch.setattr(prepared, "commit", commit)
    with Opened(engines, "x") as connections:
        TwoPhase().commit(connections)
    assert [len(swept[0].left), swept[0].settled, swept[0].unreachable] == [2, {}, set()]
    assert present(engines) == everywhere("x")


def test_a_commit_whose_answer_is_lost_is_asked_about(engines: dict[str, Engine]) -> None:
    class Lost(TwoPhase):
        def _do(self, step: Step, connection: Connection, *rest: Any) -> str:
            answer = super()._do(step, connection, *rest)
            if step.do is Do.DECIDE:
                driver: Any = connection.connection.driver_connection
                driver.close()
                raise ConnectionResetError
            return answer

    with Opened(engines, "x") as connections:
        Lost().commit(connections)
        for connection in connections.values():
            connection.commit()
    assert present(engines) == everywhere("x")


def test_the_outcome_is_unknown_while_no_one_can_tell(engines: dict[str, Engine]) -> None:
    class Unheard(TwoPhase):
        def _do(self, step: Step, connection: Connection, *rest: Any) -> str:
            if step.do is Do.ASK:
                raise OSError
            answer = super()._do(step, connection, *rest)
            if step.do is Do.DECIDE:
                driver: Any = connection.connection.driver_connection
                driver.close()
                raise ConnectionResetError
            return answer

    with Opened(engines, "x") as connections:
        with pytest.raises(CommitUnknown, match="'s0' was lost"):
            Unheard().commit(connections)
        for connection in connections.values():
            connection.rollback()
    assert InDoubtSweeper(engines, grace=GRACE).sweep().left == set()
    assert present(engines) == everywhere("x")


def test_a_commit_that_no_standby_has_is_on_all_shards_and_told(engines: dict[str, Engine]) -> None:
    class Alone(TwoPhase):
        def _do(self, step: Step, *rest: Any) -> str:
            answer = super()._do(step, *rest)
            if step.do is Do.DECIDE:
                raise CommitUnknown("the wait for its standbys was cancelled")
            return answer

    with Opened(engines, "x") as connections:
        with pytest.raises(CommitUnknown, match="standbys"):
            Alone().commit(connections)
        for connection in connections.values():
            connection.rollback()
    assert present(engines) == everywhere("x")


def test_a_pool_of_one_is_enough_to_ask(urls: dict[str, str], engines: dict[str, Engine]) -> None:
    class Lost(TwoPhase):
        def _do(self, step: Step, connection: Connection, *rest: Any) -> str:
            answer = super()._do(step, connection, *rest)
            if step.do is Do.DECIDE:
                killed(engines, {"s0": connection}, "s0")()
                connection.exec_driver_sql("SELECT 1")
            return answer

    small = {
        name: create_engine(url.format("psycopg"), pool_size=1, max_overflow=0, pool_timeout=0.5)
        for name, url in urls.items()
    }
    with Opened(small, "x") as connections:
        Lost().commit(connections)
        for connection in connections.values():
            connection.rollback()
    assert present(engines) == everywhere("x")
    for engine in small.values():
        engine.dispose()


def test_interrupted_in_the_middle(engines: dict[str, Engine]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with Opened(engines, "x") as connections:
        with pytest.raises(KeyboardInterrupt):
            Stopped(Step(Do.DECIDE, "s0"), interrupt).commit(connections)
        for connection in connections.values():
            connection.rollback()
    assert len(InDoubtSweeper(engines, grace=GRACE).sweep().settled) == 2
    assert present(engines) == everywhere()


def test_the_sweeper_has_a_thread(engines: dict[str, Engine]) -> None:
    settled: list[DoubtSettled] = []
    failed: list[SweepFailed] = []
    stops = [subscribe(DoubtSettled, settled.append), subscribe(SweepFailed, failed.append)]
    down = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with Opened(engines, "x") as connections:
        Stopped(Step(Do.DECIDE, "s0"), killed(engines, connections, "s1"), after=True).commit(
            connections
        )
        with InDoubtSweeper({**engines, "gone": down}, grace=GRACE, every=0.05) as sweeper:
            sweeper.start()  # once more changes nothing
            deadline = time.monotonic() + 10
            while not settled and time.monotonic() < deadline:
                time.sleep(0.01)
    assert [event.shard for event in settled] == ["s1"]
    assert {event.shard for event in failed} == {"gone"}
    for stop in stops:
        stop()


def test_one_shard_needs_none_of_it(engines: dict[str, Engine]) -> None:
    with Opened({"s1": engines["s1"]}, "x") as connections:
        TwoPhase().commit(connections)
        connections["s1"].commit()
    TwoPhase().commit({})
    assert present(engines) == {"s0": [], "s1": ["x"], "s2": []}


def test_what_cannot_promise_is_refused_beforehand(engines: dict[str, Engine]) -> None:
    with engines["s0"].connect() as connection, pytest.raises(ConfigError, match="too long"):
        TwoPhase().check({"s" * 200: connection})
    lite = create_engine("sqlite://")
    with lite.connect() as connection, pytest.raises(ConfigError, match="found sqlite"):
        TwoPhase().check({"s9": connection})


def test_an_open_sharded_database_ends_what_a_killed_router_has_left(
    engines: dict[str, Engine], urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = functools.partial(InDoubtSweeper, grace=GRACE, every=0.05)
    monkeypatch.setattr(sharded_database, "InDoubtSweeper", impatient)
    with engines["s1"].connect() as connection:
        connection.exec_driver_sql("INSERT INTO rows VALUES ('left')")
        connection.exec_driver_sql("PREPARE TRANSACTION 'escala:s0:b1946ac92492d234:1'")
        connection.commit()
    shards = sharded_database.ShardedDatabase(
        ShardMap.slots(NAMES, key="id"),
        {name: url.format("psycopg") for name, url in urls.items()},
        tables={"rows": "id"},
    )
    with shards:
        until = time.monotonic() + 10
        while one(engines["s1"], "SELECT count(*) FROM pg_prepared_xacts"):
            assert time.monotonic() < until
            time.sleep(0.02)
    assert one(engines["s1"], "SELECT count(*) FROM rows") == 0
