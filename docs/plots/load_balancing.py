"""What a target that became ten times slower does to the calls, by algorithm."""

from __future__ import annotations

import asyncio
import statistics

from docs.plots.drawing.figure import Figure
from escala import Upstream
from escala.testing import VirtualRuntime

KINDS = {
    "round_robin": "round\nrobin",
    "consistent_hash": "hash",
    "p2c": "p2c",
    "least_connections": "least\nconn.",
    "peak_ewma": "peak\newma",
}
RATE, SECONDS, WORKERS = 400.0, 10.0, 4
QUICK, SLOW = 0.010, 0.100


def draw(figure: Figure) -> None:
    """Its share of the calls, and how long the slowest hundredth of all calls takes."""
    results = [_run(kind) for kind in KINDS]
    at = range(len(KINDS))
    shares = figure.panel("the slow one of five", x="", y="% of the calls")
    shares.bars(at, [100 * share for share, _ in results])
    shares.level(20, "an equal share")
    late = figure.panel("99 % are answered within", x="", y="milliseconds")
    late.bars(at, [1000 * wait for _, wait in results])
    late.log = True
    shares.ticks = late.ticks = list(zip(at, KINDS.values(), strict=True))


def _run(kind: str) -> tuple[float, float]:
    """The slow target's share, and the 99th percentile of the waits."""
    world = VirtualRuntime(1)
    upstream = Upstream("shop", [f"10.0.0.{at}:80" for at in range(5)], balance=kind, rng=world.rng)
    slow, workers = upstream.targets[2], [asyncio.Semaphore(WORKERS) for _ in range(5)]
    waits: list[float] = []

    async def call(number: int) -> None:
        began = world.now()
        with upstream.pick(key=f"user:{number % 500}") as target:
            async with workers[upstream.targets.index(target)]:
                await world.sleep(SLOW if target is slow else QUICK)
        waits.append(world.now() - began)

    async def main() -> None:
        calls: list[asyncio.Task[None]] = []
        while world.now() < SECONDS:
            calls.append(world.spawn(call(len(calls))))
            await world.sleep(world.rng.expovariate(RATE))
        await asyncio.gather(*calls)

    world.run(main())
    world.close()
    return slow.requests / len(waits), statistics.quantiles(waits, n=100)[-1]
