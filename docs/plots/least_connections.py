"""Calls at a target that is ten times slower for a while."""

from __future__ import annotations

import asyncio

from docs.plots.drawing.figure import Figure
from escala import Upstream
from escala.testing import VirtualRuntime

RATE, SECONDS, WORKERS = 400.0, 20.0, 4
BEGIN, END = 5.0, 10.0
EACH = 0.1  # seconds from one look to the next


def draw(figure: Figure) -> None:
    """Under RoundRobin they pile up; under LeastConnections it keeps as many as the others."""
    panel = figure.panel(x="seconds", y="calls at the slow target, waiting or being served")
    for label, kind in (("RoundRobin", "round_robin"), ("LeastConnections", "least_connections")):
        looks = _run(kind)
        panel.steps([EACH * at for at in range(len(looks))], looks, label)
    panel.span(BEGIN, END, "ten times slower")


def _run(kind: str) -> list[int]:
    world = VirtualRuntime(1)
    upstream = Upstream("shop", [f"10.0.0.{at}:80" for at in range(5)], balance=kind, rng=world.rng)
    slow, workers = upstream.targets[2], [asyncio.Semaphore(WORKERS) for _ in range(5)]
    looks: list[int] = []

    async def call() -> None:
        with upstream.pick() as target:
            async with workers[upstream.targets.index(target)]:
                late = target is slow and BEGIN <= world.now() < END
                await world.sleep(0.100 if late else 0.010)

    async def look() -> None:
        while True:
            looks.append(slow.in_flight)
            await world.sleep(EACH)

    async def main() -> None:
        world.spawn(look())
        while world.now() < SECONDS:
            world.spawn(call())
            await world.sleep(world.rng.expovariate(RATE))

    world.run(main())
    world.close()
    return looks
