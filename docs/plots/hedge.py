"""How slow the slowest calls are, and what a second copy of one in twenty costs."""

from __future__ import annotations

import asyncio

from docs.plots.drawing.figure import Figure
from escala import Hedge
from escala.testing import VirtualRuntime

CALLS, PAUSE = 20_000, 0.01
SHARES = (50, 75, 90, 95, 97, 98, 99, 99.5, 99.9)


def draw(figure: Figure) -> None:
    """The latency of a backend of which two calls in a hundred are slow by chance."""
    panel = figure.panel(x="percentile", y="latency in ms")
    for label, hedge in {
        "no hedge": None,
        "Hedge('p95')": Hedge("p95"),
    }.items():
        latencies, sent = _latencies(hedge)
        at = [latencies[min(CALLS - 1, int(CALLS * share / 100))] * 1000 for share in SHARES]
        extra = 100 * (sent / CALLS - 1)
        panel.line(range(len(SHARES)), at, f"{label}: {extra:.1f} % more calls")
    panel.log = True
    panel.ticks = [(float(nth), f"p{share:g}") for nth, share in enumerate(SHARES)]


def _latencies(hedge: Hedge | None) -> tuple[list[float], int]:
    """All latencies, sorted, and how many calls the backend got."""
    world, sent = VirtualRuntime(1), 0
    latencies: list[float] = []

    async def backend() -> None:
        nonlocal sent
        sent += 1
        slow = world.rng.uniform(0, 1) < 0.02
        await world.sleep(world.rng.lognormvariate(0, 0.3) * (0.3 if slow else 0.01))

    async def one() -> None:
        begun = world.now()
        await (backend() if hedge is None else hedge.acall(backend))
        latencies.append(world.now() - begun)

    async def main() -> None:
        calls = []
        for _ in range(CALLS):
            calls.append(asyncio.ensure_future(one()))
            await world.sleep(PAUSE)
        await asyncio.gather(*calls)

    world.run(main())
    world.close()
    return sorted(latencies), sent
