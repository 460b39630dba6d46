"""What a source feels when a key that everyone asks for has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from docs.plots.drawing.figure import Figure
from escala import Cache
from escala.testing import VirtualRuntime

SECONDS, RATE, LIFE = 20, 100, 5.0
TAKES, WORKERS = 0.2, 4  # seconds of a load, and how many the source does at once
BIN = 0.25

Load = Callable[[], Awaitable[int]]


class Hand:
    """What one writes without a library: look, load, put."""

    def __init__(self, world: VirtualRuntime) -> None:
        self._world, self._kept, self._ends = world, 0, -1.0

    async def get(self, load: Load) -> int:
        """The value, kept or loaded."""
        if self._world.now() >= self._ends:
            self._kept = await load()
            self._ends = self._world.now() + LIFE
        return self._kept


class Ours:
    """`Cache.aget`."""

    def __init__(self, world: VirtualRuntime) -> None:  # noqa: ARG002  it has its own clock
        self._cache = Cache("shop", ttl=f"{LIFE}s±0%")

    async def get(self, load: Load) -> int:
        """The value, kept or loaded."""
        return await self._cache.aget("price:tea", load)


def run(kind: type[Hand | Ours]) -> tuple[list[int], list[float]]:
    """Most loads at the source, and the longest wait of a caller, in each part of the time."""
    world = VirtualRuntime()
    cache = kind(world)
    most, longest = [0] * int(SECONDS / BIN), [0.0] * int(SECONDS / BIN)

    async def main() -> None:
        workers, asked = asyncio.Semaphore(WORKERS), 0

        async def load() -> int:
            nonlocal asked
            asked += 1
            async with workers:
                nth = min(int(world.now() / BIN), len(most) - 1)
                most[nth] = max(most[nth], asked)
                await world.sleep(TAKES)
            asked -= 1
            return 3

        async def caller() -> None:
            began = world.now()
            await cache.get(load)
            nth = min(int(began / BIN), len(longest) - 1)
            longest[nth] = max(longest[nth], world.now() - began)

        calls = []
        for at in range(SECONDS * RATE):
            calls.append(asyncio.ensure_future(caller()))
            await world.sleep((at + 1) / RATE - world.now())
        await asyncio.gather(*calls)

    world.run(main())
    world.close()
    return most, longest


def draw(figure: Figure) -> None:
    """One key, a hundred calls a second, and a source that does four loads at once."""
    source = figure.panel("the source", x="seconds", y="loads that it has to do")
    callers = figure.panel("callers", x="seconds", y="longest wait in seconds")
    times = [nth * BIN for nth in range(int(SECONDS / BIN))]
    for kind, label in ((Hand, "look, load, put"), (Ours, "Cache")):
        most, longest = run(kind)
        source.steps(times, most, label)
        callers.steps(times, longest, label)
