"""Measure our rate limiter over SQLite and over one real PostgreSQL, in CPU time of both sides.

No peer is beside it: `limits` and throttled-py have no SQL, and pyrate-limiter keeps a row for
each call there, which is another algorithm.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.limiting_peers import OURS, admitted
from benchmarks.limiting_stores import FEW, TRIES, cases_of, made, take_turns, tell
from benchmarks.processes import tree
from benchmarks.progress import say
from benchmarks.report import BenchmarkError, Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.postgres_server import PostgresServer


def measure(report: Report, *, quick: bool) -> None:
    """Take one store after the other."""
    with tempfile.TemporaryDirectory(prefix="escala-bench-") as folder:
        _over("sqlite", f"sqlite:///{Path(folder) / 'limits.db'}", _no_server, report, quick=quick)
    try:
        import psycopg  # noqa: F401  what our ledger needs
        from tests.servers.postgres_server import postgres_server

        with postgres_server() as server:
            _over("postgres", server.url, functools.partial(_cpu, server), report, quick=quick)
    except (ImportError, AssertionError) as error:
        report.absent["postgres"] = str(error)


def _no_server() -> float:
    return 0.0


def _cpu(server: PostgresServer) -> float:
    assert server.process is not None
    return sum(each.cpu for each in tree(server.process.pid))


def _over(
    store: str, url: str, served: Callable[[], float], report: Report, *, quick: bool
) -> None:
    say(f"over {store}")
    with asyncio.Runner() as loop:
        cases = cases_of(OURS, store, url, loop)
        take_turns(cases, served, quick=quick)
        tell(cases, report)
        few = made(OURS, "sync", url, FEW, loop)
        seen = admitted(OURS, few, "sync", loop, TRIES)
        if seen != FEW:
            raise BenchmarkError(f"{store} let {seen} of {TRIES} calls through, not {FEW}")
