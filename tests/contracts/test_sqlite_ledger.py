"""Limits in one SQLite file that real processes share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.contracts.ledger_contract import LedgerContract, Open

from escala import TokenBucket
from escala.limiting.ledger import open_ledger

pytestmark = pytest.mark.live

WORKER = """
import asyncio, json, sys, time
from escala import TokenBucket

limiter = TokenBucket("40/s", burst=20, store=sys.argv[1])
granted = []

async def ask(until):
    while time.monotonic() < until:
        before = time.monotonic()
        if (await limiter.aacquire("all")).allowed:
            granted.append((before, time.monotonic()))
        await asyncio.sleep(0.002)

async def main():
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    until = time.monotonic() + 1.5
    await asyncio.gather(*[ask(until) for _ in range(16)])

asyncio.run(main())
print(json.dumps(granted))
"""
HOLDER = """
import sqlite3, sys, time

file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("BEGIN IMMEDIATE")
file.execute("DELETE FROM escala_limits")
print("holds it", flush=True)
time.sleep(60)
"""


class TestSqliteLedger(LedgerContract):
    algorithms = ("token_bucket", "leaky_bucket", "sliding_window_counter", "fixed_window")

    @pytest.fixture
    def opened(self, tmp_path: Path) -> Open:
        url = f"sqlite:///{tmp_path}/limits.db"
        return lambda plan: open_ledger(url, plan)


def started(code: str, argument: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, argument],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_four_processes_of_sixteen_tasks_never_get_more_than_there_is(tmp_path: Path) -> None:
    workers = [started(WORKER, f"sqlite:///{tmp_path}/limits.db") for _ in range(4)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    granted: list[list[float]] = []
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in workers:
        out, _ = worker.communicate(timeout=20)
        granted += json.loads(out)
        assert worker.returncode == 0
    # The moment of a grant lies between asking and hearing of it. In no window were there more
    # than the burst and what came in meanwhile; and what there was, was handed out.
    starts, ends = sorted(each[0] for each in granted), sorted(each[1] for each in granted)
    for first in starts:
        for last in ends:
            if last > first:
                held = sum(1 for before, after in granted if before >= first and after <= last)
                assert held <= 20 + 40 * (last - first) + 1e-6
    assert len(granted) >= 0.9 * (20 + 40 * (ends[-1] - starts[0]))


def test_a_process_killed_in_its_transaction_costs_no_one_anything(tmp_path: Path) -> None:
    file = tmp_path / "limits.db"
    limiter = TokenBucket("2/h", store=f"sqlite:///{file}")
    assert limiter.acquire("ann")
    holder = started(HOLDER, str(file))
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "holds it\n"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(10)
    holder.stdout.close()
    holder.stdin.close()
    begun = time.monotonic()
    assert limiter.acquire("ann").remaining == 0
    assert not limiter.acquire("ann")
    assert time.monotonic() - begun < 0.3
    limiter.close()
