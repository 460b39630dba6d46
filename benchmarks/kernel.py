"""Measure what five policies around a call cost, and what `import escala` adds to a start."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.calls import Case, Once, async_loop, sync_loop, take_turns, tell
from benchmarks.progress import say
from benchmarks.report import BenchmarkError, Goal, Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from escala.kernel.policy import Policy

GOALS = {
    "stack5.sync.us": Goal(most=8),
    "stack5.async.us": Goal(most=8),
    "import.ms": Goal(most=30),
    "kernel.drivers_imported": Goal(most=0),
}
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
    with asyncio.Runner() as loop:
        tell(take_turns(_cases(loop), quick=quick), report)
    return report


def _cases(loop: asyncio.Runner) -> list[Case]:
    from escala import Stack

    makers = policies()

    def five() -> Policy:
        return Stack(*(make() for make in makers.values()))

    cases = [
        Case("noop.sync", sync_loop(noop)),
        Case("noop.async", async_loop(loop, anoop)),
        Case("noop.async_suspending", async_loop(loop, suspending)),
        Case("stack5.sync", sync_loop(five()(noop))),
        Case("stack5.async", async_loop(loop, five()(anoop))),
        Case("stack5.async_suspending", async_loop(loop, five()(suspending))),
    ]
    for kind, make in makers.items():
        cases.append(Case(f"policy.{kind}.sync", sync_loop(make()(noop))))
        cases.append(Case(f"policy.{kind}.async", async_loop(loop, make()(anoop))))
    return cases


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
