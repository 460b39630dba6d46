"""Time loops of calls in CPU time, the repeats of all cases taking turns."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.progress import say

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Generator, Sequence

    from benchmarks.report import Report

REPEATS, CPU_PER_REPEAT = 9, 0.15
QUICK_REPEATS, QUICK_CPU_PER_REPEAT = 7, 0.02
Item = TypeVar("Item")
ENOUGH = 100_000_000  # calls; no measured repeat of a real call is as long


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Case:
    """One thing to call in a loop: `run(n)` returns the CPU seconds of n calls.

    `check` is run once at the end: it fails unless what was measured does what it is for.
    """

    name: str
    run: Callable[[int], float]
    check: Callable[[], None] = _nothing


class Once:
    """Suspend a task for one turn of its loop, as a call that waits for a socket does."""

    def __await__(self) -> Generator[None, None, None]:
        """Give the loop its turn."""
        yield


def rotated(items: Sequence[Item], by: int) -> list[Item]:
    """Move the order on by one place a round, so that nobody always runs after the same peer."""
    start = by % len(items) if items else 0
    return [*items[start:], *items[:start]]


def sync_loop(fn: Callable[[], Any]) -> Callable[[int], float]:
    """Call `fn` so many times."""

    def run(count: int) -> float:
        start = time.process_time()
        for _ in itertools.repeat(None, count):
            fn()
        return time.process_time() - start

    return run


def async_loop(loop: asyncio.Runner, fn: Callable[[], Awaitable[Any]]) -> Callable[[int], float]:
    """Await `fn` so many times in one task."""

    async def calls(count: int) -> float:
        start = time.process_time()
        for _ in itertools.repeat(None, count):
            await fn()
        return time.process_time() - start

    return lambda count: loop.run(calls(count))


def fill(case: Case, cpu_s: float) -> int:
    """Choose how many calls fill `cpu_s`; the trial also warms the case up."""
    count = 100
    while (spent := case.run(count)) < cpu_s / 10 and count < ENOUGH:
        count *= 4
    return max(100, int(count * cpu_s / spent)) if spent else count


def take_turns(cases: Sequence[Case], *, quick: bool) -> dict[str, list[float]]:
    """Time every case in every repeat, and check each; microseconds a call, repeat by repeat."""
    repeats, each = (QUICK_REPEATS, QUICK_CPU_PER_REPEAT) if quick else (REPEATS, CPU_PER_REPEAT)
    counts = {case.name: fill(case, each) for case in cases}
    figures: dict[str, list[float]] = {case.name: [] for case in cases}
    for number in range(repeats):
        for case in rotated(cases, number):
            count = counts[case.name]
            figures[case.name].append(case.run(count) / count * 1e6)
        say(f"repeat {number + 1}/{repeats}")
    for case in cases:
        case.check()
    return figures


def tell(figures: dict[str, list[float]], report: Report) -> None:
    """Record each case as `<name>.us`."""
    for name, values in figures.items():
        report.spread(f"{name}.us", values)


def to_fastest(name: str, figures: dict[str, list[float]], peers: Sequence[str]) -> list[float]:
    """Divide one case by whichever of its peers was the fastest, repeat by repeat."""
    rounds = zip(*(figures[peer] for peer in peers), strict=True)
    return [own / min(others) for own, others in zip(figures[name], rounds, strict=True)]
