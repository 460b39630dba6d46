"""Measure rate limiters, in memory and over a real Redis, beside every peer."""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import tracemalloc
from typing import TYPE_CHECKING, Any

from benchmarks import limiting_redis, limiting_sql
from benchmarks.calls import Case, async_loop, sync_loop, take_turns, tell
from benchmarks.limiting_peers import IN_MEMORY, KEYS, OURS, TWO_LIMITS, Peer, Take, admitted
from benchmarks.progress import say
from benchmarks.report import BenchmarkError, Goal, Report

if TYPE_CHECKING:
    from collections.abc import Callable

GOALS = {
    "token_bucket.memory.us": Goal(most=0.8),
    "token_bucket.two_limits.us": Goal(most=1.2),
    "token_bucket.bytes_per_key": Goal(most=200),
    **limiting_redis.GOALS,
}
NEVER = 1_000_000_000  # a limit that no loop here comes near
MANY, QUICK_MANY = 100_000, 20_000
FEW, TRIES = 10, 15
OUR_NAMES = {
    "sync": {"": "token_bucket.memory", "two_limits": "token_bucket.two_limits"},
    "async": {"": "token_bucket.memory.async", "two_limits": "token_bucket.two_limits.async"},
}


def measure(*, quick: bool) -> Report:
    """Time decisions in CPU time, count bytes, then do the same over Redis."""
    report = Report()
    with asyncio.Runner() as loop:
        tell(take_turns(_cases(loop, report), quick=quick), report)
    say("bytes of state for each key")
    _bytes(QUICK_MANY if quick else MANY, report)
    limiting_redis.measure(report, quick=quick)
    limiting_sql.measure(report, quick=quick)
    return report


def _cases(loop: asyncio.Runner, report: Report) -> list[Case]:
    cases = []
    for peer in (OURS, TWO_LIMITS, *IN_MEMORY):
        for colour in peer.colours:
            try:
                cases.append(_case(peer, colour, loop))
            except ImportError as error:
                report.absent[peer.package] = str(error)
    return cases


def _case(peer: Peer, colour: str, loop: asyncio.Runner) -> Case:
    name = f"peer.{peer.package}.{peer.policy}.{colour}"
    if peer.package == "escala":
        name = OUR_NAMES[colour][peer.policy]

    async def made(limit: int) -> Take:
        return peer.make(colour, "", limit)  # some look for the running loop here

    def check() -> None:
        few = loop.run(made(FEW)) if colour == "async" else peer.make(colour, "", FEW)
        seen = admitted(peer, few, colour, loop, TRIES)
        if seen != FEW:
            raise BenchmarkError(f"{name} let {seen} of {TRIES} calls through, not {FEW}")

    if colour == "sync":
        return Case(name, sync_loop(_call(peer, peer.make(colour, "", NEVER))), check)
    return Case(name, async_loop(loop, _call(peer, loop.run(made(NEVER)))), check)


def _call(peer: Peer, take: Take) -> Callable[[], Any]:
    if not peer.many_keys:
        return functools.partial(take, "key")
    following = itertools.cycle(KEYS).__next__
    return lambda: take(following())


def _bytes(count: int, report: Report) -> None:
    """Count what Python allocates for one call of each of many keys, without the keys."""
    keys = [f"client-{number}" for number in range(count)]
    keyed = [peer for peer in IN_MEMORY if (peer.package, peer.policy) in _KEYED]
    for peer in (OURS, *keyed):
        name = "token_bucket" if peer is OURS else f"peer.{peer.package}.{peer.policy}"
        try:
            take = peer.make("sync", "", FEW)
        except ImportError:
            continue  # said above
        take("warm")
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for key in keys:
            take(key)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        report.metrics[f"{name}.bytes_per_key"] = (after - before) / count


_KEYED = {("limits", "fixed_window"), ("limits", "window_counter"), ("throttled", "gcra")}
