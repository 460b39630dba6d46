"""Measure what moving a third of a table to a new shard takes from eight writers, and for how long.

Three real PostgreSQL servers on this machine, two processes of four writers each that insert,
update and delete through `ShardedDatabase`, and the coordinator all share its cores.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.progress import say
from benchmarks.report import BenchmarkError, Goal, Report

if TYPE_CHECKING:
    from collections.abc import Mapping

GOALS = {
    "reshard.throughput_loss": Goal(most=0.25),
    "reshard.write_pause_ms": Goal(most=250),
}
FEW, MANY = ("s0", "s1"), ("s0", "s1", "s2")
ROWS, QUICK_ROWS = 1_000_000, 100_000
TENANTS = 2_000
BEFORE, AROUND = 8.0, 0.5  # seconds
WARM_UP = 2.0


def measure_reshard(report: Report, *, quick: bool) -> None:
    """Move from two shards to three, and compare with the seconds before."""
    try:
        import psycopg  # noqa: F401  what resharding needs
        from tests.servers.shard_servers import make_shards, shard_servers

        from escala.databases.sharding.shard_map import ShardMap
    except ImportError as error:
        report.absent["postgres"] = str(error)
        return
    rows = QUICK_ROWS if quick else ROWS
    shard_map = ShardMap.slots(FEW, key="tenant_id")
    try:
        with (
            shard_servers(*MANY, settings=_SETTINGS) as servers,
            tempfile.TemporaryDirectory() as at,
        ):
            urls = {name: server.url for name, server in servers.items()}
            say(f"a table of {rows:,} rows on two shards")
            make_shards(urls, shard_map, tenants=TENANTS, rows=rows)
            _measure(report, urls, Path(at))
    except AssertionError as error:
        raise BenchmarkError(f"resharding: {error}") from error


# As a server of that size has them: the log of a copy is not to be written out all the time.
_SETTINGS: dict[str, str | int] = {"shared_buffers": "128MB", "max_wal_size": "4GB"}


def _measure(report: Report, urls: Mapping[str, str], folder: Path) -> None:
    from tests.servers.order_routers import APART, STEP, Routers
    from tests.servers.shard_servers import left_behind, orders

    from escala.databases.resharding.reshard import Reshard
    from escala.databases.sharding.shard_map import ShardMap

    shard_map = ShardMap.slots(FEW, key="tenant_id")
    reshard = Reshard(urls, tables={"orders": "tenant_id"}, to=shard_map.with_shards(MANY))
    routers = Routers(urls, shard_map, TENANTS, folder)
    try:
        time.sleep(WARM_UP + BEFORE)
        begun = time.monotonic()
        say("copying, catching up, comparing")
        status = reshard.run()
        ready = time.monotonic()
        time.sleep(AROUND)
        cut = time.monotonic()
        status = reshard.cutover()
        ended = time.monotonic()
        time.sleep(AROUND)
        reshard.complete()
    except BaseException:
        routers.kill()
        raise
    written = routers.stop()
    now = reshard.current_map()
    there = {number: row for number, row in orders(urls, now).items() if number >= APART}
    if there != written.known or left_behind(urls):
        raise BenchmarkError("resharding lost, doubled or left behind something")

    def rate(first: float, last: float) -> float:
        steps = range(int(first / STEP), int(last / STEP))
        return sum(written.seen.get(step, (0, 0.0))[0] for step in steps) / (last - first)

    def longest(first: float, last: float) -> float:
        steps = range(int(first / STEP), int(last / STEP) + 1)
        return max(written.seen.get(step, (0, 0.0))[1] for step in steps) * 1000

    before = rate(begun - BEFORE, begun)
    report.metrics |= {
        "reshard.throughput_loss": 1 - rate(begun, ready) / before,
        "reshard.write_pause_ms": longest(cut, ended + AROUND / 2),
        "reshard.fence_ms": max(pause for pair in status for pause in pair.pauses),
        "reshard.longest_write_before_ms": longest(begun - BEFORE, begun),
        "reshard.writes_per_s_before": before,
        "reshard.seconds": ready - begun,
        "reshard.rows": float(sum(pair.rows for pair in status)),
    }
