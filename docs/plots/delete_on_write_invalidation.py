"""How old what readers get can be, when a key is deleted while someone loads it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from docs.plots.drawing.figure import Figure
from escala import Cache
from escala.testing import VirtualRuntime

SECONDS, RATE, LIFE = 30, 10, 8.0
TAKES = 0.3  # seconds of a load; it reads the row at its begin
WRITES = [1.0, 4.2, 4.4, 11.0, 11.2, 18.0, 22.3, 22.5]
BEHIND = 0.5  # seconds that the replica is behind

Load = Callable[[], Awaitable[int]]


class Hand:
    """Look, load, put, under a lock so that one loads for all; delete after a write."""

    def __init__(self, world: VirtualRuntime) -> None:
        self._world, self._kept, self._lock = world, (0, -1.0), asyncio.Lock()

    async def get(self, load: Load) -> int:
        """The value, kept or loaded."""
        async with self._lock:
            if self._world.now() >= self._kept[1]:
                self._kept = (await load(), self._world.now() + LIFE)
            return self._kept[0]

    async def delete(self) -> None:
        """Forget it."""
        self._kept = (0, -1.0)


class Ours:
    """`Cache`, with a hold-off or without."""

    def __init__(self, lag: float) -> None:
        self._cache = Cache("shop", ttl=f"{LIFE}s±0%", lag=lag)

    async def get(self, load: Load) -> int:
        """The value, kept or loaded."""
        return await self._cache.aget("price:tea", load)

    async def delete(self) -> None:
        """Forget it."""
        await self._cache.adelete("price:tea")


def ages(
    kind: Callable[[VirtualRuntime], Hand | Ours], behind: float
) -> tuple[list[float], list[float]]:
    """When readers asked, and for how long what they got had been deleted by then."""
    world = VirtualRuntime()
    cache = kind(world)
    commits = [-99.0]
    times: list[float] = []
    found: list[float] = []

    def row() -> int:
        """The version that a reader of the replica sees now."""
        return sum(1 for each in commits if each <= world.now() - behind) - 1

    async def load() -> int:
        version = row()
        await world.sleep(TAKES)
        return version

    async def reader() -> None:
        asked = world.now()
        version = await cache.get(load)
        times.append(asked)
        newer = commits[version + 1] if version + 1 < len(commits) else asked
        found.append(max(0.0, asked - newer))

    async def writer() -> None:
        for at in WRITES:
            await world.sleep(at - world.now())
            commits.append(world.now())
            await cache.delete()

    async def main() -> None:
        calls = [asyncio.ensure_future(writer())]
        for at in range(SECONDS * RATE):
            calls.append(asyncio.ensure_future(reader()))
            await world.sleep((at + 1) / RATE - world.now())
        await asyncio.gather(*calls)

    world.run(main())
    world.close()
    order = sorted(range(len(times)), key=times.__getitem__)
    return [times[nth] for nth in order], [found[nth] for nth in order]


def draw(figure: Figure) -> None:
    """The age of what readers get beyond its deletion, from the source and from a replica."""
    y = "seconds since it was deleted"
    primary = figure.panel("loads read the primary", x="seconds", y=y)
    replica = figure.panel(f"loads read a replica, {BEHIND:g} s behind", x="seconds", y=y)
    for panel, behind in ((primary, 0.0), (replica, BEHIND)):
        panel.steps(*ages(Hand, behind), "look, lock, load, put")
        panel.steps(*ages(lambda _: Ours(0.0), behind), "Cache")
        panel.window = (0, SECONDS)
    replica.steps(*ages(lambda _: Ours(1.0), BEHIND), 'Cache(lag="1s")')
