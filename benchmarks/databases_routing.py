"""What routing adds to a session with one select: a plain `Session` beside a `Database`'s."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from benchmarks.calls import Case, async_loop, rotated, sync_loop, tell
from benchmarks.progress import say
from benchmarks.report import BenchmarkError, Goal, Report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.postgres_cluster import PostgresCluster

    from escala import Database

ROUNDS, QUICK_ROUNDS, CALLS = 101, 15, 40
GOALS = {"routing.added.us": Goal(most=40)}


def measure_routing(report: Report, *, quick: bool) -> None:
    """Time both in CPU time of the client, over a primary and two replicas."""
    try:
        from tests.servers.postgres_cluster import postgres_cluster

        from escala import Database

        with (
            postgres_cluster(2) as cluster,
            Database(cluster.url) as db,
            asyncio.Runner() as loop,
        ):
            say("a session with one select, on a replica")
            _prepare(cluster)
            with _cases(cluster, db, loop) as cases:
                figures = _in_turns(cases, QUICK_ROUNDS if quick else ROUNDS)
    except (ImportError, AssertionError) as error:
        report.absent["postgres"] = str(error)
        return
    tell(figures, report)
    for colour in ("", ".async"):
        with_it, without = figures[f"routing.session{colour}"], figures[f"routing.plain{colour}"]
        report.metrics[f"routing.added{colour}.us"] = _undisturbed(with_it) - _undisturbed(without)


def _undisturbed(values: list[float]) -> float:
    """The turn than which a tenth was faster: what others do on the machine only adds to it."""
    return sorted(values)[len(values) // 10]


def _in_turns(cases: list[Case], rounds: int) -> dict[str, list[float]]:
    """Take many short turns: the difference is small beside what a busy machine does meanwhile."""
    figures: dict[str, list[float]] = {case.name: [] for case in cases}
    for case in cases:
        case.run(5 * CALLS)
    for number in range(rounds):
        for case in rotated(cases, number):
            figures[case.name].append(case.run(CALLS) / CALLS * 1e6)
    for case in cases:
        case.check()
    return figures


def _prepare(cluster: PostgresCluster) -> None:
    cluster.primary.sql("CREATE TABLE users (id int PRIMARY KEY, name text)")
    cluster.primary.sql("INSERT INTO users SELECT n, 'user' || n FROM generate_series(1, 100) n")
    cluster.wait_caught_up()


@contextlib.contextmanager
def _cases(cluster: PostgresCluster, db: Database, loop: asyncio.Runner) -> Iterator[list[Case]]:
    from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine, select
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
    from sqlalchemy.orm import Session

    columns = Column("id", Integer, primary_key=True), Column("name", Text)
    users = Table("users", MetaData(), *columns)
    replica = f"postgresql+psycopg://escala@127.0.0.1:{cluster.replicas[0].port}/postgres"
    engine, aengine = create_engine(replica), create_async_engine(replica)

    def plain() -> str | None:
        with Session(engine) as session:
            return session.scalar(select(users.c.name).where(users.c.id == 5))

    def routed() -> str | None:
        with db.session() as session:
            return session.scalar(select(users.c.name).where(users.c.id == 5))

    async def aplain() -> str | None:
        async with AsyncSession(aengine) as session:
            return await session.scalar(select(users.c.name).where(users.c.id == 5))

    async def arouted() -> str | None:
        async with db.asession() as session:
            return await session.scalar(select(users.c.name).where(users.c.id == 5))

    def check() -> None:
        if routed() != "user5" or loop.run(arouted()) != "user5":
            raise BenchmarkError("the routed session read something else")
        opened = [node["name"] for node in db.snapshot()["nodes"] if node["readable"]]
        if len(opened) != len(cluster.replicas):
            raise BenchmarkError("a replica was not read")

    try:
        yield [
            Case("routing.plain", sync_loop(plain)),
            Case("routing.session", sync_loop(routed), check),
            Case("routing.plain.async", async_loop(loop, aplain)),
            Case("routing.session.async", async_loop(loop, arouted)),
        ]
    finally:
        engine.dispose()
        loop.run(aengine.dispose())
        loop.run(db.aclose())
