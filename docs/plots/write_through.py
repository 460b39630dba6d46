"""Whether what a cache keeps is what the source has, when several write one key."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from docs.plots.drawing.figure import Figure
from escala import Cache
from escala.testing import VirtualRuntime

SECONDS, KEYS, RATE = 30, 40, 60
STEP = 0.25
MEAN = 0.1  # seconds that a save takes before it counts, and again until it answers

Set = Callable[[str, int], Awaitable[object]]


def run(name: str, ways: Callable[[Cache, Set], Set]) -> list[float]:
    """For how long keys were kept with a value that is not the source's, summed up, over time."""
    world = VirtualRuntime()
    rows: dict[str, int] = {}
    writing = dict.fromkeys((f"user:{number}" for number in range(KEYS)), 0)
    draws = random.Random(3)
    waits = [[draws.expovariate(1 / MEAN) for _ in range(2)] for _ in range(SECONDS * RATE)]
    nodes = [Cache("users", l2=f"memory://{name}", ttl="1h") for _ in range(2)]
    wrong: list[float] = []

    async def save(key: str, number: int) -> None:
        before, after = waits[number]
        await world.sleep(before)
        rows[key] = number
        await world.sleep(after)

    writes = [ways(node, save) for node in nodes]

    async def writer(key: str, number: int) -> None:
        writing[key] += 1
        await writes[number % 2](key, number)
        writing[key] -= 1

    async def main() -> None:
        calls = []
        for number in range(SECONDS * RATE):
            key = f"user:{draws.randrange(KEYS)}"
            calls.append(asyncio.ensure_future(writer(key, number)))
            await world.sleep((number + 1) / RATE - world.now())
            if not (number + 1) % int(STEP * RATE):
                bad = sum(
                    any(node.get(key) not in (None, rows.get(key)) for node in nodes)
                    for key, busy in writing.items()
                    if not busy
                )
                wrong.append((wrong[-1] if wrong else 0.0) + bad * STEP)
        await asyncio.gather(*calls)

    world.run(main())
    world.close()
    return wrong


def by_hand(cache: Cache, save: Set) -> Set:
    """Save, and then put it into the cache."""

    async def write(key: str, value: int) -> None:
        await save(key, value)
        await cache.aset(key, value)

    return write


def first_the_cache(cache: Cache, save: Set) -> Set:
    """Put it into the cache, and then save."""

    async def write(key: str, value: int) -> None:
        await cache.aset(key, value)
        await save(key, value)

    return write


def ours(cache: Cache, save: Set) -> Set:
    """`write_through`."""
    return cache.write_through(save).aset


def draw(figure: Figure) -> None:
    """Two processes write forty keys sixty times a second, now and then one key at once."""
    panel = figure.panel(x="seconds", y="seconds of keys with a wrong value")
    times = [nth * STEP for nth in range(int(SECONDS / STEP))]
    panel.steps(times, run("first", first_the_cache), "set, then save")
    panel.steps(times, run("hand", by_hand), "save, then set")
    panel.steps(times, run("ours", ours), "write_through")
