"""How old another process's values get while the connection that tells of deletions is gone."""

from __future__ import annotations

import itertools
from typing import Any, Literal

from docs.plots.drawing.figure import Figure
from escala import Cache
from escala.caching.value_store import Ear, Signal
from escala.testing import VirtualRuntime

SECONDS, STEP, KEYS = 40, 0.1, 50
BIN = 4  # seconds
CHANGE = 0.37  # seconds between two deletions by the other process, of one key after the other
GONE, NOTICED, BACK = 10.0, 11.0, 25.0  # a connection is known to be gone within a second

Kind = Literal["heedless", "ours", "none"]


class Line:
    """A connection that breaks. The heedless one connects again and says nothing of it."""

    def __init__(self, ear: Ear, kind: Kind) -> None:
        self.ear, self.kind = ear, kind
        self.whole = kind != "none"

    def heard(self, signals: list[Signal]) -> None:
        """Pass on what gets through."""
        if self.whole:
            self.ear.heard(signals)

    def lost(self) -> None:
        """Told by the store."""
        self.ear.lost()

    def regained(self) -> None:
        """Told by the store."""
        self.ear.regained()

    async def life(self, world: VirtualRuntime) -> None:
        """Break and mend."""
        await world.sleep(GONE)
        self.whole = False
        await world.sleep(NOTICED - world.now())
        if self.kind == "ours":
            self.lost()
        await world.sleep(BACK - world.now())
        self.whole = self.kind != "none"
        if self.kind == "ours":
            self.regained()


def run(kind: Kind, **how: Any) -> tuple[list[float], list[float], list[float]]:
    """Times, the oldest that is read beyond its deletion, and reads that leave the process."""
    world = VirtualRuntime()
    keys = [f"price:{number}" for number in range(KEYS)]
    changed = {key: [0.0] for key in keys}
    place = f"memory://{kind}"
    writer, reader = Cache("shop", l2=place), Cache("shop", l2=place, ttl="1m", **how)
    second: Any = reader._second  # noqa: SLF001  to stand between the store and the cache
    line = second.ear = Line(second.ear, kind)
    times: list[float] = []
    ages: list[float] = []
    asked = [0.0] * (SECONDS // BIN)

    async def change() -> None:
        for key in itertools.cycle(keys):
            await world.sleep(CHANGE)
            changed[key].append(world.now())
            await writer.adelete(key)

    async def age(key: str) -> float:
        async def load() -> int:
            return len(changed[key]) - 1

        version = await reader.aget(key, load)
        last = version + 1 == len(changed[key])
        return 0.0 if last else world.now() - changed[key][version + 1]

    async def main() -> None:
        world.spawn(change())
        world.spawn(line.life(world))
        for step in range(1, int(SECONDS / STEP)):
            await world.sleep(step * STEP - world.now())
            times.append(world.now())
            ages.append(max([await age(key) for key in keys]))
            asked[int(world.now() / BIN)] = reader.snapshot()["misses"]

    world.run(main())
    world.close()
    return times, ages, [(b - a) / BIN for a, b in itertools.pairwise([0.0, *asked])]


def draw(figure: Figure) -> None:
    """One process deletes one key after the other; another reads all, and misses some of it."""
    age = figure.panel("the reader", x="seconds", y="oldest value, seconds since deleted")
    cost = figure.panel("what it costs", x="seconds", y="gets a second that the first level lacks")
    runs: dict[str, tuple[Kind, dict[str, Any]]] = {
        "events, and no thought of a lost one": ("heedless", {}),
        "no events, l1_ttl=2s": ("none", {"l1_ttl": "2s"}),
        "Cache, max_stale=2s": ("ours", {}),
    }
    for label, (kind, how) in runs.items():
        times, ages, asked = run(kind, **how)
        age.steps(times, ages, label)
        cost.steps(range(0, SECONDS, BIN), asked, label)
    for panel in (age, cost):
        panel.span(GONE, BACK, "the connection is gone")
        panel.window = (0, SECONDS)
