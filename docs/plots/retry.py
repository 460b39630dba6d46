"""When a thousand clients whose calls failed at the same moment knock again."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from random import Random

from docs.plots.drawing.figure import Figure
from escala import Retry
from escala.resilience.pure.backoff import Jitter
from escala.testing import VirtualRuntime

CLIENTS, BIN, LAST = 1000, 0.010, 0.8
CASES: tuple[tuple[Jitter, str], ...] = (
    ("none", "no jitter"),
    ("equal", "equal jitter"),
    ("full", "full jitter (the default)"),
)


def draw(figure: Figure) -> None:
    """Without jitter they come back as one, each time."""
    panel = figure.panel(x="seconds after the failure", y="arrivals in 10 ms")
    edges = [index * BIN for index in range(round(LAST / BIN))]
    for jitter, label in CASES:
        arrivals = _arrivals(jitter)
        panel.steps(edges, [max(0.5, arrivals[index]) for index in range(len(edges))], label)
    panel.log, panel.window, panel.height = True, (0, LAST), (0.5, 2000)
    panel.level(CLIENTS, "all 1,000 clients")


def _arrivals(jitter: Jitter) -> Counter[int]:
    """How many second, third and fourth tries come in each 10 ms."""
    world = VirtualRuntime()
    arrivals: Counter[int] = Counter()

    async def fail() -> None:
        if world.now():
            arrivals[int(world.now() / BIN + 1e-6)] += 1
        raise ConnectionError

    async def client(number: int) -> None:
        retry = Retry(4, jitter=jitter, budget=None, rng=Random(number))
        with contextlib.suppress(ConnectionError):
            await retry.acall(fail)

    async def main() -> None:
        await asyncio.gather(*[client(number) for number in range(CLIENTS)])

    world.run(main())
    world.close()
    return arrivals
