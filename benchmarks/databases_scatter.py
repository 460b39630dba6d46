"""A question to four shards beside the same question to the slowest of them alone.

The four databases, their backends and the client share the machine. So there are two questions:
one whose servers wait (for a disk, say: here `pg_sleep`), which shows what scatter itself adds;
and one whose servers compute, which four shards on two processors cannot do at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.progress import say
from benchmarks.report import BenchmarkError, Goal, Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Select

    from escala import ShardedDatabase

GOALS = {"scatter4.ratio_to_slowest": Goal(most=1.3)}
NAMES = ("s0", "s1", "s2", "s3")
ROWS, WAIT = 40_000, 0.02
ROUNDS, QUICK_ROUNDS = 41, 9


def measure_scatter(report: Report, *, quick: bool) -> None:
    """Time elapses for whole sessions, in turn: each of the four alone, then all at once."""
    try:
        from tests.servers.shard_databases import shard_databases

        from escala import ShardedDatabase, ShardMap

        where = ShardMap.directory({name: name for name in NAMES}, key="tenant")
        with (
            shard_databases(*NAMES) as urls,
            ShardedDatabase(where, urls, tables={"orders": "tenant"}) as shards,
        ):
            say("one question to four shards")
            shards.install()
            _measured(shards, report, QUICK_ROUNDS if quick else ROUNDS)
    except (ImportError, AssertionError) as error:
        report.absent["scatter"] = str(error)


def _measured(shards: ShardedDatabase, report: Report, rounds: int) -> None:
    from sqlalchemy import Column, Integer, MetaData, Table, Text, func, select

    columns = Column("id", Integer), Column("tenant", Text), Column("price", Integer)
    orders = Table("orders", MetaData(), *columns)
    for name in NAMES:
        _filled(shards, name)
    waits = select(orders.c.id).where(func.pg_sleep(WAIT).is_not(None)).limit(1)
    newest = select(orders.c.id).order_by(orders.c.id.desc()).limit(20)
    computes = (
        select(orders.c.price, func.count(), func.avg(orders.c.id))
        .group_by(orders.c.price)
        .order_by(func.count().desc(), orders.c.price)
        .limit(10)
    )
    _ratio(shards, report, "scatter4", waits, rounds)
    _ratio(shards, report, "scatter4.newest_20", newest, rounds)
    _ratio(shards, report, "scatter4.computing", computes, rounds)


def _filled(shards: ShardedDatabase, name: str) -> None:
    from sqlalchemy import text

    with shards.engine(name).begin() as connection:
        connection.execute(text("CREATE TABLE orders (id int PRIMARY KEY, tenant text, price int)"))
        made = (
            "INSERT INTO orders SELECT n, :name, n * 7919 % 1000 FROM generate_series(1, :last) n"
        )
        connection.execute(text(made), {"name": name, "last": ROWS})
        connection.execute(text("ANALYZE orders"))


def _ratio(
    shards: ShardedDatabase, report: Report, name: str, statement: Select[Any], rounds: int
) -> None:
    from escala import scatter

    everywhere = scatter(statement, max_shards=len(NAMES))

    def of_all() -> int:
        with shards.session() as session:
            return len(session.execute(everywhere).all())

    def of_one(shard: str) -> Callable[[], int]:
        def ask() -> int:
            with shards.session(key=shard) as session:
                return len(session.execute(statement).all())

        return ask

    alone = [of_one(shard) for shard in NAMES]
    if of_all() < max(ask() for ask in alone):
        raise BenchmarkError(f"{name}: all shards together have less to say than one of them")
    slowest, in_turn, together = [], [], []
    for _ in range(rounds):
        each = [_elapsed(ask) for ask in alone]
        slowest.append(max(each))
        in_turn.append(sum(each))
        together.append(_elapsed(of_all))
    report.metrics[f"{name}.slowest.ms"] = _undisturbed(slowest) * 1000
    report.metrics[f"{name}.in_turn.ms"] = _undisturbed(in_turn) * 1000
    report.metrics[f"{name}.ms"] = _undisturbed(together) * 1000
    report.metrics[f"{name}.ratio_to_slowest"] = _undisturbed(together) / _undisturbed(slowest)


def _undisturbed(values: list[float]) -> float:
    """The round than which a tenth was faster: what others do on the machine only adds to it."""
    return sorted(values)[len(values) // 10]


def _elapsed(ask: Callable[[], object]) -> float:
    start = time.perf_counter()
    ask()
    return time.perf_counter() - start
