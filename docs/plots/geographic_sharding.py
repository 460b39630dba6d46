"""How full the shards of regions of different sizes are."""

from __future__ import annotations

import random

from docs.plots.drawing.figure import Figure
from escala import ShardMap

PEOPLE = {"eu": 0.5, "us": 0.3, "asia": 0.15, "africa": 0.05}
CUSTOMERS = 20_000


def draw(figure: Figure) -> None:
    """A region that is large gets several shards, by a map of its own."""
    alone = ShardMap.geo({region: region for region in PEOPLE}, key=("region", "id"))
    several = ShardMap.geo(
        {
            "eu": ShardMap.slots([f"eu{each}" for each in range(3)], key="id"),
            "us": ShardMap.slots(["us0", "us1"], key="id"),
            "asia": "asia",
            "africa": "africa",
        },
        key=("region", "id"),
    )
    for shards, title in ((alone, "a shard for each region"), (several, "as many as it needs")):
        panel = figure.panel(title, x="", y="% of the customers")
        load = _load(shards)
        panel.bars(range(len(load)), list(load.values()), "customers")
        panel.ticks = [(at, name) for at, name in enumerate(load)]
        panel.height = (0, 55)


def _load(shards: ShardMap) -> dict[str, float]:
    draw = random.Random(3)
    regions = draw.choices(list(PEOPLE), weights=list(PEOPLE.values()), k=CUSTOMERS)
    load = dict.fromkeys(shards.shards, 0.0)
    for number, region in enumerate(regions):
        load[shards.shard((region, number))] += 100 / CUSTOMERS
    return load
