"""Measure what five policies around a call cost, and what `import escala` adds to a start."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.progress import say
from benchmarks.report import BenchmarkError, Goal, Report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from escala.kernel.policy import Policy

GOALS = {
    "stack5.sync.us": Goal(most=8),
    "stack5.async.us": Goal(most=8),
    "import.ms": Goal(most=30),
    "kernel.drivers_imported": Goal(most=0),
}
REPEATS, CPU_PER_REPEAT = 9, 0.15
QUICK_REPEATS, QUICK_CPU_PER_REPEAT = 7, 0.02
PAIRS, QUICK_PAIRS = 25, 15
NEVER = 1_000_000_000  # a limit that no loop here comes near

# What only an opener may import: a program that uses none of them must not pay for them.
# fmt: off
DRIVERS = [
    "aio_pika", "aiokafka", "aiosqlite", "asyncpg", "confluent_kafka", "grpc", "httptools", "nats",
    "opentelemetry", "pika", "prometheus_client", "psycopg", "redis", "rich", "sqlalchemy",
    "sqlite3", "uvicorn", "uvloop", "valkey", "yaml",
]
# fmt: on

START = {
    "plain": "pass",
    "import": "import escala",
    "import.all_names": "import escala\nfor name in escala.__all__: getattr(escala, name)",
}
# A finder that only listens sees attempts too: a driver need not be installed to be noticed.
LISTEN = """
import sys
asked = set()
class Listener:
    def find_spec(self, name, path=None, target=None):
        asked.add(name.partition(".")[0])
sys.meta_path.insert(0, Listener())
{code}
print(len(asked & set({drivers!r})), *sorted(asked & set({drivers!r})))
"""


@dataclass(frozen=True)
class Case:
    """One thing to call in a loop: `run(n)` returns the CPU seconds of n calls."""

    name: str
    run: Callable[[int], float]


class Once:
    """Suspend a task for one turn of its loop, as a call that waits for a socket does."""

    def __await__(self) -> Generator[None, None, None]:
        """Give the loop its turn."""
        yield


def noop() -> None:
    """Do nothing, so that only the policies are measured."""


async def anoop() -> None:
    """Do nothing without suspending."""


async def suspending() -> None:
    """Suspend once and end."""
    await Once()


def policies() -> dict[str, Callable[[], Policy]]:
    """List the five, outermost first, as a service would stack them; none ever refuses here."""
    from escala import Bulkhead, CircuitBreaker, Retry, Timeout, TokenBucket

    return {
        "rate_limit": lambda: TokenBucket(limit=f"{NEVER}/s", burst=NEVER),
        "retry": Retry,
        "circuit_breaker": CircuitBreaker,
        "bulkhead": lambda: Bulkhead(slots=100),
        "timeout": lambda: Timeout("1s"),
    }


def measure(*, quick: bool) -> Report:
    """Time calls and starts; everything in CPU time, the repeats of all cases taking turns."""
    report = Report()
    say("starts of Python with and without escala")
    _starts(QUICK_PAIRS if quick else PAIRS, report)
    repeats, each = (QUICK_REPEATS, QUICK_CPU_PER_REPEAT) if quick else (REPEATS, CPU_PER_REPEAT)
    with asyncio.Runner() as loop:
        cases = _cases(loop)
        counts = {case.name: _count(case, each) for case in cases}
        figures: dict[str, list[float]] = {case.name: [] for case in cases}
        for number in range(repeats):
            for case in cases:
                count = counts[case.name]
                figures[case.name].append(case.run(count) / count * 1e6)
            say(f"repeat {number + 1}/{repeats}")
    for name, values in figures.items():
        report.spread(f"{name}.us", values)
    return report


def _cases(loop: asyncio.Runner) -> list[Case]:
    from escala import Stack

    makers = policies()

    def five() -> Policy:
        return Stack(*(make() for make in makers.values()))

    cases = [
        Case("noop.sync", _sync(noop)),
        Case("noop.async", _async(loop, anoop)),
        Case("noop.async_suspending", _async(loop, suspending)),
        Case("stack5.sync", _sync(five()(noop))),
        Case("stack5.async", _async(loop, five()(anoop))),
        Case("stack5.async_suspending", _async(loop, five()(suspending))),
    ]
    for kind, make in makers.items():
        cases.append(Case(f"policy.{kind}.sync", _sync(make()(noop))))
        cases.append(Case(f"policy.{kind}.async", _async(loop, make()(anoop))))
    return cases


def _sync(fn: Callable[[], None]) -> Callable[[int], float]:
    def run(count: int) -> float:
        start = time.process_time()
        for _ in itertools.repeat(None, count):
            fn()
        return time.process_time() - start

    return run


def _async(loop: asyncio.Runner, fn: Callable[[], Awaitable[Any]]) -> Callable[[int], float]:
    async def calls(count: int) -> float:
        start = time.process_time()
        for _ in itertools.repeat(None, count):
            await fn()
        return time.process_time() - start

    return lambda count: loop.run(calls(count))


def _count(case: Case, cpu_s: float) -> int:
    """Choose how many calls fill `cpu_s`; the trial also warms the case up."""
    count = 100
    while (spent := case.run(count)) < cpu_s / 10:
        count *= 4
    return max(100, int(count * cpu_s / spent))


def _starts(pairs: int, report: Report) -> None:
    """Start Python with each variant in turn and report what it adds to an empty program."""
    for code in START.values():
        _start(code)  # writes the byte code and warms the page cache
    cpu: dict[str, list[float]] = {name: [] for name in START}
    wall: dict[str, list[float]] = {name: [] for name in START}
    for number in range(pairs):
        names = list(START) if number % 2 else list(reversed(START))
        for name in names:
            spent, took = _start(START[name])
            cpu[name].append(spent * 1e3)
            wall[name].append(took * 1e3)
    report.metrics["python.start.ms"] = median(cpu["plain"])
    for name in ("import", "import.all_names"):
        report.spread(f"{name}.ms", _added(cpu[name], cpu["plain"]))
        report.spread(f"{name}.wall_ms", _added(wall[name], wall["plain"]))
    report.metrics["kernel.drivers_imported"] = _drivers(START["import"], report)
    report.metrics["kernel.drivers_imported_by_all_names"] = _drivers(
        START["import.all_names"], report
    )


def _added(values: list[float], plain: list[float]) -> list[float]:
    return [value - bare for value, bare in zip(values, plain, strict=True)]


def _start(code: str) -> tuple[float, float]:
    """Run one small program; return the CPU and the wall seconds from its start to its end."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-P", "-c", code])
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        first, *_ = code.splitlines()
        raise BenchmarkError(f"a program with `{first}` failed; {sys.executable} says why above")
    return usage.ru_utime + usage.ru_stime, took


def _drivers(code: str, report: Report) -> int:
    done = subprocess.run(
        [sys.executable, "-P", "-c", LISTEN.format(code=code, drivers=DRIVERS)],
        capture_output=True,
        text=True,
        check=True,
    )
    count, *names = done.stdout.split()
    if names:
        report.problems.append(f"`{code.splitlines()[-1]}` imports {', '.join(names)}")
    return int(count)
