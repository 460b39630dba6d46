"""What the source has to write, by how long writes may be gathered."""

from __future__ import annotations

import itertools
import random

from docs.plots.drawing.figure import Figure
from escala import Cache
from escala.caching import Write
from escala.testing import VirtualRuntime

SECONDS, RATE, KEYS = 10, 200, 1000
FLUSHES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def updates(keys: int) -> list[str]:
    """The key of each update; popularity falls as one over the rank."""
    weights = list(itertools.accumulate(1 / rank for rank in range(1, keys + 1)))
    drawn = random.Random(1).choices(range(keys), cum_weights=weights, k=SECONDS * RATE)
    return [f"page:{number}" for number in drawn]


def behind(keys: int, flush: float) -> tuple[float, float]:
    """How much of the updates the source writes, and its calls a second."""
    world, rows, calls = VirtualRuntime(), 0, 0

    async def save_many(writes: list[Write]) -> None:
        nonlocal rows, calls
        rows, calls = rows + len(writes), calls + 1

    async def main() -> None:
        views = Cache("views").write_behind(save_many, flush=flush, durability="memory")
        async with views:
            for number, key in enumerate(updates(keys)):
                await views.aset(key, number)
                await world.sleep((number + 1) / RATE - world.now())

    world.run(main())
    world.close()
    return rows / (SECONDS * RATE), calls / SECONDS


def through(keys: int) -> tuple[float, float]:
    """The same with `write_through`."""
    world, rows = VirtualRuntime(), 0

    async def save(_key: str, _value: int) -> None:
        nonlocal rows
        rows += 1

    async def main() -> None:
        views = Cache("views").write_through(save)
        for number, key in enumerate(updates(keys)):
            await views.aset(key, number)
            await world.sleep((number + 1) / RATE - world.now())

    world.run(main())
    world.close()
    return rows / (SECONDS * RATE), rows / SECONDS


def draw(figure: Figure) -> None:
    """Rows and calls that reach the source, by `flush`."""
    rows = figure.panel("rows", x="flush", y="rows written for each update")
    calls = figure.panel("calls", x="flush", y="calls a second")
    for keys, label in ((KEYS, f"write-behind, {KEYS:,} keys"), (1, "write-behind, one key")):
        found = [behind(keys, flush) for flush in FLUSHES]
        rows.line(range(len(FLUSHES)), [each for each, _ in found], label)
        calls.line(range(len(FLUSHES)), [each for _, each in found], label)
    all_rows, all_calls = through(KEYS)
    rows.line(range(len(FLUSHES)), [all_rows] * len(FLUSHES), "write-through")
    calls.line(range(len(FLUSHES)), [all_calls] * len(FLUSHES), "write-through")
    for panel in (rows, calls):
        panel.log = True
        panel.ticks = [
            (float(nth), f"{flush * 1000:g} ms" if flush < 1 else f"{flush:g} s")
            for nth, flush in enumerate(FLUSHES)
        ]
