"""The same uneven traffic into the two shapes of a leaky bucket."""

from __future__ import annotations

import asyncio

from docs.plots.drawing.figure import Figure
from escala import LeakyBucket
from escala.testing import VirtualRuntime

BURSTS = ((0.0, 8), (1.0, 8), (1.2, 4), (2.2, 8))  # when, how many calls at once


def draw(figure: Figure) -> None:
    """Bursts come in; a meter passes what fits at once, a queue lets out one each 100 ms."""
    panel = figure.panel(x="seconds", y="calls that have left")
    for label, bucket in {
        "what came in": None,
        "shape=meter, burst=5": LeakyBucket("10/s", burst=5),
        "shape=queue, queue=10": LeakyBucket("10/s", shape="queue", queue=10),
    }.items():
        left = _left(bucket)
        panel.steps([0.0, *left, 3.5], [0, *range(1, len(left) + 1), len(left)], label)
    panel.window = (0, 3.5)


def _left(bucket: LeakyBucket | None) -> list[float]:
    """When calls went on."""
    world = VirtualRuntime()
    left: list[float] = []

    async def call() -> None:
        if bucket is None or await bucket.aacquire():
            left.append(world.now())

    async def main() -> None:
        calls = []
        for begin, count in BURSTS:
            await world.sleep(begin - world.now())
            for _ in range(count):
                calls.append(asyncio.ensure_future(call()))
                await world.sleep(0)
        await asyncio.gather(*calls)

    world.run(main())
    world.close()
    return left
