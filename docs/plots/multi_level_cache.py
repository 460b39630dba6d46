"""How many look-ups the first level serves, and what callers wait while the second hangs."""

from __future__ import annotations

import itertools
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from docs.plots.drawing.figure import Figure
from escala import Cache
from escala.caching.pure.entry import MOST_VISITS, Entry, Terms
from escala.caching.pure.s3_fifo import S3Fifo
from escala.errors import StoreUnavailable
from escala.testing import VirtualRuntime

# Measured with the code of `benchmarks/caching_hit_ratio.py` on the OLTP trace of the ARC paper
# (Megiddo and Modha, FAST 2003), 914,145 look-ups, which is not part of this repository:
# entries, hits in percent with S3-FIFO, and with LRU.
OLTP = (
    (250, 21.60, 16.47),
    (500, 32.39, 23.45),
    (1000, 40.78, 32.83),
    (2000, 46.95, 42.47),
    (5000, 55.68, 53.65),
    (10000, 62.62, 60.70),
    (15000, 65.92, 64.63),
    (20000, 68.10, 67.06),
)
SIZES = (50, 100, 250, 500, 1000, 2500, 5000)
LOOKS, KEYS = 60_000, 20_000

SECONDS, RATE = 30, 20
HANGS = (10.0, 20.0)
QUICK, LIMIT, LOAD = 0.001, 0.04, 0.01  # seconds: the second level, its timeout, the source


def scanned() -> list[int]:
    """Popularity falls as one over the rank; every other look-up is for what was never seen."""
    weights = list(itertools.accumulate(1 / rank for rank in range(1, KEYS + 1)))
    hot = random.Random(1).choices(range(KEYS), cum_weights=weights, k=LOOKS // 2)
    strangers = itertools.count(KEYS)
    return [key for each in hot for key in (each, next(strangers))]


def s3_fifo(trace: Sequence[int], size: int) -> float:
    """The share of hits in percent, as the first level decides."""
    level, terms, hits = S3Fifo(max_entries=size), Terms(60.0), 0
    for key in trace:
        entry = level.table.get(key)
        if entry is None:
            level.put(Entry(key, None, until=60.0, terms=terms), 0.0)
            continue
        hits += 1
        if entry.visits < MOST_VISITS:
            entry.visits += 1
    return 100 * hits / len(trace)


def lru(trace: Sequence[int], size: int) -> float:
    """The same where the one that was not asked for the longest has to go."""
    kept: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for key in trace:
        if key in kept:
            hits += 1
            kept.move_to_end(key)
            continue
        if len(kept) == size:
            kept.popitem(last=False)
        kept[key] = None
    return 100 * hits / len(trace)


def draw(figure: Figure) -> None:
    """Hits by size, on a measured trace and on a made one with a scan through it."""
    measured = figure.panel("a database's pages (OLTP)", x="entries", y="hits in %")
    made = figure.panel("popular keys, every other one new", x="entries", y="hits in %")
    trace = scanned()
    for nth, (policy, label) in enumerate(((s3_fifo, "S3-FIFO"), (lru, "LRU")), 1):
        measured.line(range(len(OLTP)), [row[nth] for row in OLTP], label)
        made.line(range(len(SIZES)), [policy(trace, size) for size in SIZES], label)
    measured.ticks = [(float(nth), _short(row[0])) for nth, row in enumerate(OLTP)]
    made.ticks = [(float(nth), _short(size)) for nth, size in enumerate(SIZES)]
    measured.height, made.height = (0, 75), (0, 50)


def _short(number: int) -> str:
    return f"{number / 1000:g}k" if number >= 1000 else str(number)


class Hanging:
    """A second level that answers in a millisecond, and then for a time not within its timeout."""

    def __init__(self, store: Any, world: VirtualRuntime) -> None:
        self._store, self._world = store, world
        self.listen = store.listen

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        async def asked(*args: Any, **kwargs: Any) -> Any:
            if HANGS[0] <= self._world.now() < HANGS[1]:
                await self._world.sleep(LIMIT)
                raise StoreUnavailable("no answer within 40ms")
            await self._world.sleep(QUICK)
            return await getattr(self._store, verb)(*args, **kwargs)

        return asked


def waits(*, hot: bool, breaker: bool) -> list[float]:
    """Milliseconds that each call takes: for one key all the time, or each for a new one."""
    world, times = VirtualRuntime(), list[float]()
    cache = Cache("shop", l2=f"memory://hangs{hot}{breaker}", ttl="1m")
    second: Any = cache._second  # noqa: SLF001  to stand between the store and the cache
    second.store = Hanging(second.store, world)
    if not breaker:
        second._breaker.switch("disabled")  # noqa: SLF001

    async def load() -> int:
        await world.sleep(LOAD)
        return 1

    async def main() -> None:
        for number in range(SECONDS * RATE):
            await world.sleep(number / RATE - world.now())
            began = world.now()
            await cache.aget("price:tea" if hot else f"price:{number}", load)
            times.append(1000 * (world.now() - began))

    world.run(main())
    world.close()
    return times


def draw_outage(figure: Figure) -> None:
    """What a call takes while the second level does not answer, by what it asks for."""
    panel = figure.panel(x="seconds", y="milliseconds of a call")
    at = [number / RATE for number in range(SECONDS * RATE)]
    panel.steps(at, waits(hot=False, breaker=False), "missing in the first level, no breaker")
    panel.steps(at, waits(hot=False, breaker=True), "missing in the first level")
    panel.steps(at, waits(hot=True, breaker=True), "in the first level")
    panel.span(*HANGS, "the second level hangs")
    panel.window = (0, SECONDS)
