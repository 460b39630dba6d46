"""Measure what an id costs, and what shard maps and hot keys add to a statement."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from benchmarks.calls import Case, take_turns
from benchmarks.progress import say
from benchmarks.report import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.report import Report

KEYS = [f"tenant-{number % 700}" for number in range(10_000)]


def measure(report: Report, *, quick: bool) -> None:
    """Time one call of each, in CPU time."""
    say("ids, shard maps and hot keys")
    cases = [Case(name, _timed(call), check) for name, (call, check) in calls().items()]
    for name, values in take_turns(cases, quick=quick).items():
        report.spread(f"{name}.ns", [value * 1000 for value in values])


def calls() -> dict[str, tuple[Callable[[int], object], Callable[[], None]]]:
    """Make each thing to call, and what it has to do right."""
    from escala import ShardMap, Snowflake, uuid7
    from escala.databases import HotKeys

    ids, hot = Snowflake(node=1, max_back=0), HotKeys()
    shards = ShardMap.slots([f"s{number}" for number in range(8)], key="tenant_id")
    return {
        "snowflake": (lambda _: ids.next(), lambda: _grow(ids.next)),
        "uuid7": (lambda _: uuid7(), lambda: _grow(uuid7)),
        "peer.uuid4": (lambda _: uuid.uuid4(), _nothing),
        "shard_map.text": (lambda at: shards.shard(KEYS[at]), lambda: _spread(shards.shard)),
        "shard_map.number": (shards.shard, _nothing),
        "hot_keys.hit": (lambda at: hot.hit(KEYS[at], "s1"), _nothing),
    }


def _timed(call: Callable[[int], object]) -> Callable[[int], float]:
    def run(count: int) -> float:
        most = len(KEYS)
        start = time.process_time()
        for number in range(count):
            call(number % most)
        return time.process_time() - start

    return run


def _grow(make: Callable[[], object]) -> None:
    made = [make() for _ in range(1000)]
    if made != sorted(set(made)):  # type: ignore[type-var]
        raise BenchmarkError("ids do not grow")


def _spread(shard: Callable[[str], str]) -> None:
    if len({shard(key) for key in KEYS}) != 8:
        raise BenchmarkError("keys are not on all shards")


def _nothing() -> None:
    pass
