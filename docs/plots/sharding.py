"""What a question without a key costs: all shards work for it, and the slowest one says when."""

from __future__ import annotations

import random

from docs.plots.drawing.figure import Figure
from escala import ShardMap

SHARDS = (1, 2, 4, 8, 16, 32)
CALLS = 4000
TYPICAL, SPREAD = 5.0, 0.6  # milliseconds, and the spread of their logarithm


def draw(figure: Figure) -> None:
    """Shards add up only for what has a key, and a scatter waits for the slowest of them."""
    load = figure.panel("what so many shards take", x="shards", y="times one database")
    for share in (0, 1, 10, 50):
        taken = [_capacity(count, share / 100) for count in SHARDS]
        load.line(range(len(SHARDS)), taken, f"{share} % without a key")
    wait = figure.panel("how long a question takes", x="shards asked", y="milliseconds")
    waits = [_waits(count) for count in SHARDS]
    wait.line(range(len(SHARDS)), [each[CALLS * 99 // 100] for each in waits], "99 of 100 are done")
    wait.line(range(len(SHARDS)), [each[CALLS // 2] for each in waits], "half are done")
    for panel in (load, wait):
        panel.ticks = [(at, str(count)) for at, count in enumerate(SHARDS)]


def _capacity(count: int, share: float) -> float:
    """Work that all shards can do, by the work that one question makes on average."""
    shards = [f"s{number}" for number in range(count)]
    asked = ShardMap.slots(shards, key="tenant_id").shards
    return count / (1 - share + share * len(asked))


def _waits(count: int) -> list[float]:
    rng = random.Random(count)
    return sorted(
        max(TYPICAL * rng.lognormvariate(0, SPREAD) for _ in range(count)) for _ in range(CALLS)
    )
