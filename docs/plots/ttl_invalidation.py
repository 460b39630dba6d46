"""Values that end at once, a key that everyone waits for, and a source that is away."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from docs.plots.drawing.figure import Figure
from escala import Cache
from escala.testing import VirtualRuntime

KEYS, SPREAD_SECONDS = 1000, 150
HOT_SECONDS, RATE, TAKES = 40, 100, 0.5
AWAY_SECONDS, AWAY = 60, (10.0, 45.0)


def loads(ttl: str) -> list[int]:
    """Loads in each second, of keys that were filled together and are all asked for each second."""
    world, counts = VirtualRuntime(), [0] * SPREAD_SECONDS

    async def load() -> int:
        counts[int(world.now())] += 1
        return 1

    async def main() -> None:
        cache = Cache("shop", ttl=ttl, rng=random.Random(1))
        for second in range(SPREAD_SECONDS):
            for number in range(KEYS):
                await cache.aget(f"price:{number}", load)
            await world.sleep(second + 1 - world.now())

    world.run(main())
    world.close()
    return counts


def waiting(**how: Any) -> list[float]:
    """The share of the calls for one key that had to wait, in percent, in each second."""
    world, waited = VirtualRuntime(), [0] * HOT_SECONDS

    async def load() -> int:
        await world.sleep(TAKES)
        return 1

    async def main() -> None:
        cache = Cache("shop", ttl="10s±0%", rng=random.Random(1), **how)
        await cache.aget("price:tea", load)

        async def caller() -> None:
            began = world.now()
            await cache.aget("price:tea", load)
            waited[int(began)] += world.now() > began

        calls = []
        for at in range(int(world.now() * RATE), HOT_SECONDS * RATE):
            calls.append(asyncio.ensure_future(caller()))
            await world.sleep((at + 1) / RATE - world.now())
        await asyncio.gather(*calls)

    world.run(main())
    world.close()
    return [100 * each / RATE for each in waited]


def draw(figure: Figure) -> None:
    """Loads of a thousand keys with and without a spread, and who waits for a hot one."""
    together = figure.panel("1,000 keys filled at once", x="seconds", y="loads a second")
    for ttl in ("1m±0%", "1m±10%"):
        together.steps(range(SPREAD_SECONDS), loads(ttl), f"ttl={ttl}")
    together.window = (30, SPREAD_SECONDS)
    together.log = True
    hot = figure.panel("one hot key", x="seconds", y="% of calls that wait")
    hot.steps(range(HOT_SECONDS), waiting(), "one load for all")
    hot.steps(range(HOT_SECONDS), waiting(stale_while_revalidate="1s"), "stale_while_revalidate")
    hot.steps(range(HOT_SECONDS), waiting(refresh_early=True), "refresh_early")
    hot.window = (1, HOT_SECONDS)


def draw_outage(figure: Figure) -> None:
    """What callers get of a source that is away for 35 seconds."""
    failed = figure.panel("callers", x="seconds", y="errors a second")
    asked = figure.panel("the source", x="seconds", y="loads a second that fail")
    for label, how in {
        "stale_if_error=0": {},
        'stale_if_error="20s"': {"stale_if_error": "20s"},
        'stale_if_error="1h"': {"stale_if_error": "1h"},
    }.items():
        errors, tries = _outage(**how)
        failed.steps(range(AWAY_SECONDS), errors, label)
        asked.steps(range(AWAY_SECONDS), tries, label)
    for panel in (failed, asked):
        panel.span(*AWAY, "the source is away")
        panel.window = (0, AWAY_SECONDS)


def _outage(**how: Any) -> tuple[list[int], list[int]]:
    world = VirtualRuntime()
    errors, tries = [0] * AWAY_SECONDS, [0] * AWAY_SECONDS

    async def load() -> int:
        await world.sleep(0.02)
        if AWAY[0] <= world.now() < AWAY[1]:
            tries[int(world.now())] += 1
            raise ConnectionError("away")
        return 1

    async def caller(cache: Cache) -> None:
        began = world.now()
        try:
            await cache.aget("price:tea", load)
        except ConnectionError:
            errors[int(began)] += 1

    async def main() -> None:
        cache = Cache("shop", ttl="5s±0%", rng=random.Random(1), **how)
        calls = []
        for at in range(AWAY_SECONDS * 20):
            calls.append(asyncio.ensure_future(caller(cache)))
            await world.sleep((at + 1) / 20 - world.now())
        await asyncio.gather(*calls)

    world.run(main())
    world.close()
    return errors, tries
