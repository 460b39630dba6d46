"""Time limiters whose counts are in a store: CPU time of both sides, and throughput."""

from __future__ import annotations

import asyncio
import functools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.calls import rotated
from benchmarks.limiting_peers import KEYS, OURS, Peer, Take
from benchmarks.progress import say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.report import Report

ROUNDS, CALLS = 9, 2_000
QUICK_ROUNDS, QUICK_CALLS = 5, 300
CONCURRENCY = (1, 16, 128)
NEVER = 1_000_000_000
FEW, TRIES = 10, 15


@dataclass(frozen=True)
class Case:
    """One limiter at one concurrency: `run(n)` makes n decisions."""

    name: str
    run: Callable[[int], None]
    client_us: list[float] = field(default_factory=list)
    server_us: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)


def cases_of(peer: Peer, store: str, url: str, loop: asyncio.Runner) -> list[Case]:
    """One thread, and so many tasks of one loop."""
    cases, name = [], name_of(peer, store)
    for colour in peer.colours:
        take = made(peer, colour, url, NEVER, loop)
        if colour == "sync":
            cases.append(Case(name, functools.partial(_calls, take, peer)))
            continue
        for tasks in CONCURRENCY:
            run = functools.partial(_tasks, loop, take, tasks)
            cases.append(Case(f"{name}.async_{tasks}", run))
    return cases


def made(peer: Peer, colour: str, url: str, limit: int, loop: asyncio.Runner) -> Take:
    """A limiter; some look for the running loop when they are made."""

    async def make() -> Take:
        return peer.make(colour, url, limit)

    return loop.run(make()) if colour == "async" else peer.make(colour, url, limit)


def name_of(peer: Peer, store: str) -> str:
    """What its metrics begin with."""
    if peer is OURS:
        return f"token_bucket.{store}"
    return ".".join(part for part in ("peer", peer.package, store, peer.policy) if part)


def _calls(take: Take, peer: Peer, count: int) -> None:
    for number in range(count):
        take(KEYS[number % len(KEYS)] if peer.many_keys else "key")


def _tasks(loop: asyncio.Runner, take: Callable[[str], Awaitable[Any]], tasks: int, n: int) -> None:
    async def one() -> None:
        for _ in range(n // tasks):
            await take("key")

    async def all_() -> None:
        await asyncio.gather(*(one() for _ in range(tasks)))

    loop.run(all_())


def take_turns(cases: Sequence[Case], served: Callable[[], float], *, quick: bool) -> None:
    """Time every case in every round; `served` says how much CPU time the server has used."""
    rounds, count = (QUICK_ROUNDS, QUICK_CALLS) if quick else (ROUNDS, CALLS)
    count -= count % max(CONCURRENCY)
    for case in cases:
        case.run(max(CONCURRENCY))  # opens the connections and loads the scripts
    for number in range(rounds):
        for case in rotated(cases, number):
            before, began, clock = served(), time.process_time(), time.perf_counter()
            case.run(count)
            took, spent = time.perf_counter() - clock, time.process_time() - began
            case.client_us.append(spent / count * 1e6)
            case.server_us.append((served() - before) / count * 1e6)
            case.per_second.append(count / took)
        say(f"round {number + 1}/{rounds}")


def tell(cases: Sequence[Case], report: Report) -> None:
    """Record all three of each; a store that is only a file has no server."""
    for case in cases:
        report.spread(f"{case.name}.client_cpu_us", case.client_us)
        if any(case.server_us):
            report.spread(f"{case.name}.server_cpu_us", case.server_us)
        report.spread(f"{case.name}.ops_per_s", case.per_second)
