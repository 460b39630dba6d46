"""What readers get, and what is kept, when each change makes a new key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docs.plots.drawing.figure import Figure
from escala import Cache
from escala.testing import VirtualRuntime

SECONDS, STEP, KEYS = 30, 0.1, 20
LIFE, CHANGES = 10.0, 1.0  # seconds that a value is fresh, and between two changes of an item

Get = Callable[[int], Awaitable[int]]


class Shop:
    """Items whose price has a version that is cheap to ask for."""

    def __init__(self, world: VirtualRuntime) -> None:
        self._world = world
        self.cache = Cache("shop", ttl=f"{LIFE}s±0%")

    def version(self, item: int) -> int:
        """Changes once a second, each item at its own time."""
        return int((self._world.now() + item * CHANGES / KEYS) / CHANGES)

    def changed(self, item: int, version: int) -> float:
        """When that version was over."""
        return (version + 1) * CHANGES - item * CHANGES / KEYS

    def versioned(self, keep: int) -> Get:
        """Kept by version."""

        @self.cache.versioned("price:{item}", version=self.version, keep=keep)
        async def price(item: int) -> int:
            return self.version(item)

        return price

    def by_ttl(self) -> Get:
        """Kept until it ends."""

        @self.cache.memo("price:{item}")
        async def price(item: int) -> int:
            return self.version(item)

        return price

    def by_hand(self) -> Get:
        """The version put into the key, and nothing else done."""

        async def price(item: int) -> int:
            async def load() -> int:
                return self.version(item)

            return await self.cache.aget(f"price:{item}@{self.version(item)}", load)

        return price


def run(make: Callable[[Shop], Get]) -> tuple[list[float], list[float], list[float]]:
    """Times, the oldest price that was given, and how many are kept."""
    world = VirtualRuntime()
    shop = Shop(world)
    get = make(shop)
    times: list[float] = []
    ages: list[float] = []
    kept: list[float] = []

    async def main() -> None:
        while world.now() < SECONDS:
            age = 0.0
            for item in range(KEYS):
                version = await get(item)
                age = max(age, world.now() - shop.changed(item, version))
            times.append(world.now())
            ages.append(age)
            kept.append(shop.cache.snapshot()["entries"])
            await world.sleep(STEP)

    world.run(main())
    world.close()
    return times, ages, kept


def draw(figure: Figure) -> None:
    """Twenty prices that change once a second."""
    age = figure.panel("readers", x="seconds", y="oldest price, seconds out of date")
    size = figure.panel("the first level", x="seconds", y="entries")
    for label, make in {
        "memo, until its ttl": Shop.by_ttl,
        "version in the key, by hand": Shop.by_hand,
        "versioned(keep=1)": lambda shop: shop.versioned(1),
    }.items():
        times, ages, kept = run(make)
        age.steps(times, ages, label)
        size.steps(times, kept, label)
