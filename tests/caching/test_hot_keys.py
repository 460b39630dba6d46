"""A key that everyone wants, and many that were stored at once: no stampede, in virtual time."""

from __future__ import annotations

import random
import types
from collections import Counter
from collections.abc import Coroutine, Generator
from typing import Any

import pytest
from tests.caching.asking import Source, made, shared

from escala import L1, Cache
from escala.testing import VirtualRuntime

RATE, LOAD, LIFE, EXPIRIES = 2000, 0.2, 5.0, 50
TICK = 0.005


class Crowd:
    """Callers of one key, so many a second; who has to wait goes on in a task of its own."""

    def __init__(self, world: VirtualRuntime, cache: Cache, source: Source) -> None:
        self.world, self.cache, self.source = world, cache, source
        self.calls = self.waited = 0

    async def until(self, loads: int) -> None:
        while self.source.calls < loads:
            for _ in range(int(RATE * TICK)):
                self.calls += 1
                call = self.cache.aget("hot", self.source.later)
                try:
                    waits_for = call.send(None)
                except StopIteration:
                    continue
                self.waited += 1
                self.world.spawn(_rest(call, waits_for))
            await self.world.sleep(TICK)

    @property
    def share(self) -> float:
        return self.waited / self.calls


async def _rest(call: Coroutine[Any, Any, Any], waits_for: Any) -> None:
    assert await _from(call, waits_for)


@types.coroutine
def _from(call: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    yield waits_for
    return (yield from call.__await__())


def crowd(world: VirtualRuntime, **options: Any) -> Crowd:
    cache = made(ttl=f"{LIFE}s±0%", rng=random.Random(1), **options)
    source = Source(takes=LOAD)
    found = Crowd(world, cache, source)

    async def main() -> None:
        await cache.aget("hot", source.later)
        await found.until(EXPIRIES + 1)

    world.run(main())
    return found


@pytest.mark.parametrize("two", [False, True], ids=["l1", "l1+l2"])
def test_a_hot_key_is_loaded_by_one_at_a_time_and_with_refresh_early_no_one_waits(
    world: VirtualRuntime, two: bool
) -> None:
    found = crowd(world, two=two, refresh_early=True)
    assert found.source.most == 1
    assert found.share < 0.01
    assert found.cache.snapshot()["loads"] >= EXPIRIES


def test_two_processes_share_the_loads_of_a_hot_key(world: VirtualRuntime) -> None:
    url, source = shared(), Source(takes=LOAD)
    crowds = [
        Crowd(
            world, made(ttl=f"{LIFE}s±0%", l2=url, refresh_early=True, rng=random.Random(n)), source
        )
        for n in range(2)
    ]

    async def main() -> None:
        for each in crowds:
            await each.cache.aget("hot", source.later)
        other = world.spawn(crowds[1].until(21))
        await crowds[0].until(21)
        await other

    world.run(main())
    assert source.most == 1
    assert all(each.share < 0.01 for each in crowds)


def test_without_refresh_early_those_wait_who_come_during_a_load(world: VirtualRuntime) -> None:
    found = crowd(world)
    assert found.source.most == 1
    assert found.share == pytest.approx(LOAD / LIFE, rel=0.1)


def test_while_stale_values_may_be_given_no_one_waits(world: VirtualRuntime) -> None:
    found = crowd(world, stale_while_revalidate="1s")
    assert found.source.most == 1
    assert found.waited == 0


def test_what_was_stored_at_once_is_not_loaded_at_once(world: VirtualRuntime) -> None:
    count = 100_000
    cache = Cache("test", l1=L1(count), ttl="5m", rng=random.Random(1))

    async def main() -> None:
        for key in range(count):
            cache.set(f"k:{key}", key)

    world.run(main())
    ends = [entry.until for entry in cache._levels.first.store.table.values()]
    assert len(ends) == count
    assert 270 <= min(ends) < 271
    assert 329 < max(ends) <= 330
    in_a_second = Counter(int(end) for end in ends)
    assert max(in_a_second.values()) <= 1.5 * count / 60
