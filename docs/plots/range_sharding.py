"""How many shards a span of keys is on, and where new rows go."""

from __future__ import annotations

import random

from docs.plots.drawing.figure import Figure
from escala import ShardMap

DAYS, SHARDS = 1_600, 16
SPANS = [1, 2, 5, 10, 20, 50, 100, 200, 400, 800]


def draw(figure: Figure) -> None:
    """A range keeps neighbours together, and so all that is new."""
    width = DAYS // SHARDS
    ranges = ShardMap.range(
        {f"s{each}": (each * width, (each + 1) * width) for each in range(SHARDS)}, key="day"
    )
    slots = ShardMap.slots([f"s{each}" for each in range(SHARDS)], key="day")
    asked = figure.panel("a span of days is read", x="days", y="shards that are asked")
    places = range(len(SPANS))
    for shards, name in ((slots, "by hash"), (ranges, "by range")):
        asked.line(places, [_touched(shards, span) for span in SPANS], name)
    asked.ticks = [(at, str(SPANS[at])) for at in places[::3]]
    written = figure.panel("the last 100 days are written", x="shard", y="% of the rows")
    for shards, name in ((slots, "by hash"), (ranges, "by range")):
        shares = _shares(shards)
        written.line(range(SHARDS), shares, name)
    written.ticks = [(each, str(each)) for each in range(0, SHARDS, 3)]


def _touched(shards: ShardMap, span: int) -> float:
    draw = random.Random(span)
    begins = [draw.randrange(DAYS - span + 1) for _ in range(200)]
    each = [len({shards.shard(day) for day in range(at, at + span)}) for at in begins]
    return sum(each) / len(each)


def _shares(shards: ShardMap) -> list[float]:
    days = [shards.shard(day) for day in range(DAYS - 100, DAYS)]
    return [100 * days.count(f"s{each}") / len(days) for each in range(SHARDS)]
