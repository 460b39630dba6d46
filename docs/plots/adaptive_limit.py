"""A service loses half of its capacity for a time: who notices, and what callers feel."""

from __future__ import annotations

import asyncio
import contextlib

from docs.plots.drawing.figure import Figure
from escala import Bulkhead, Policy
from escala.errors import BulkheadFull
from escala.resilience import AdaptiveLimit
from escala.testing import VirtualRuntime

RATE, SECONDS, WORK = 300, 90, 0.05
WORKERS, FEWER, LESS = 20, 5, (30.0, 60.0)


def draw(figure: Figure) -> None:
    """A fixed number of slots is right once; a limit that follows latency moves with capacity."""
    served = figure.panel("what is answered", x="seconds", y="calls per second")
    waits = figure.panel("latency of what is let in", x="seconds", y="mean seconds")
    for label, policy in {
        "Bulkhead(100)": Bulkhead(100),
        "AdaptiveLimit()": AdaptiveLimit(),
    }.items():
        counts, latencies = _run(policy)
        served.steps(range(SECONDS), counts, label)
        waits.steps(range(SECONDS), latencies, label)
    for panel in (served, waits):
        panel.window = (0, SECONDS)
        panel.span(*LESS, "a quarter of the workers")


def _run(policy: Policy) -> tuple[list[int], list[float]]:
    world = VirtualRuntime(1)
    answered = [0] * SECONDS
    latencies: list[list[float]] = [[] for _ in range(SECONDS)]
    workers = Bulkhead(WORKERS, queue=10_000)

    async def work() -> None:
        await world.sleep(world.rng.expovariate(1 / WORK))

    async def one() -> None:
        begun = world.now()
        with contextlib.suppress(BulkheadFull):
            await policy.acall(workers.acall, work)
            latencies[int(begun)].append(world.now() - begun)
            answered[min(SECONDS - 1, int(world.now()))] += 1

    async def leave() -> None:
        """Workers that do something else for a while."""
        await world.sleep(LESS[0])
        away = [workers.acall(world.sleep, LESS[1] - LESS[0]) for _ in range(WORKERS - FEWER)]
        await asyncio.gather(*away)

    async def main() -> None:
        calls = [asyncio.ensure_future(leave())]
        while world.now() < SECONDS:
            calls.append(asyncio.ensure_future(one()))
            await world.sleep(world.rng.expovariate(RATE))
        await asyncio.gather(*calls)

    world.run(main())
    world.close()
    return answered, [sum(each) / len(each) if each else 0.0 for each in latencies]
