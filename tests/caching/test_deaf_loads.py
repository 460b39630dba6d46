"""Loads of a cache that does not hear what others invalidate."""

from __future__ import annotations

import asyncio

import pytest
from tests.caching.asking import in_virtual_time
from tests.caching.test_second_level import shared

from escala.caching import Cache
from escala.kernel.runtime import colours
from escala.testing import VirtualRuntime


@in_virtual_time
@pytest.mark.parametrize("late", [1.9, 2.1])
async def test_who_comes_late_does_not_join_a_load_that_began_before_the_bound(
    world: VirtualRuntime, late: float
) -> None:
    place, source = shared(), ["old"]
    cache, other = Cache("c", l2=place, max_stale="2s"), Cache("c", l2=place)
    second = cache._levels.second
    assert second is not None
    await cache.aget("another")
    assert second.ear is not None
    second.ear.lost()
    second.store.close()

    async def load() -> str:
        value = source[0]
        await colours.loop.sleep(5)
        return value

    task = asyncio.create_task(cache.aget("k", load))
    await colours.loop.sleep(0.5)
    source[0] = "new"
    assert await other.adelete("k")
    await colours.loop.sleep(late - 0.5)
    got = await cache.aget("k", load)
    print("GOT", late, got, world.now())
    assert await task == "old"
