"""What a cache gives, keeps and forgets, in both colours, with one level and with two."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from tests.caching.asking import Ask, Source, both_colours, in_virtual_time, levels, made, shared

from escala import L1, Answer, Cache, Lifetime
from escala.caching.events import (
    CacheHearingChanged,
    CacheInvalidated,
    CacheLoaded,
    CacheLoadFailed,
    CacheMissed,
    CacheServed,
)
from escala.kernel.events import Event
from escala.testing import VirtualRuntime


@both_colours
@levels
@in_virtual_time
async def test_a_value_is_loaded_once_until_its_lifetime_ends(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache, source = made(two=two), Source()
    assert [await ask.get(cache, "k", source) for _ in range(3)] == ["v1"] * 3
    world.advance(59.999)
    assert await ask.get(cache, "k", source) == "v1"
    world.advance(0.001)
    assert await ask.get(cache, "k", source) == "v2"
    assert source.calls == 2


@both_colours
@levels
@in_virtual_time
async def test_a_lifetime_counts_from_when_its_load_began(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache, source = made(two=two), Source(takes=10)
    await ask.get(cache, "k", source)
    assert world.now() == 10
    world.advance(49.9)
    assert await ask.get(cache, "k") == "v1"
    world.advance(0.1)
    assert await ask.get(cache, "k") is None


@both_colours
@levels
@in_virtual_time
async def test_without_a_load_it_gives_what_is_kept_or_the_default(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache = made(two=two)
    assert await ask.get(cache, "k") is None
    assert await ask.get(cache, "k", default=7) == 7
    await ask.set(cache, "k", None)
    assert await ask.get(cache, "k", default=7) is None, "None is a value, too"
    await ask.set(cache, "k", 5)
    assert await ask.get(cache, "k", default=7) == 5


@both_colours
@levels
@in_virtual_time
async def test_a_call_may_say_its_own_lifetime(world: VirtualRuntime, ask: Ask, two: bool) -> None:
    cache = made(two=two)
    await ask.get(cache, "text", Source(), ttl="10s±0%")
    await ask.get(cache, "number", Source(), ttl=Lifetime("20s±0%"))
    await ask.get(cache, "told", Source(30), ttl=lambda value: f"{value}s±0%")
    await ask.set(cache, "set", 1, ttl="40s±0%")
    for ends, left in ((10, 3), (20, 2), (30, 1), (40, 0)):
        world.advance(ends - world.now())
        kept = [key for key in ("text", "number", "told", "set") if await ask.get(cache, key)]
        assert len(kept) == left


@both_colours
@levels
@pytest.mark.parametrize("ttl", [0, -1, 0.0, -0.001])
@in_virtual_time
async def test_a_result_may_say_that_it_is_not_to_be_kept(
    world: VirtualRuntime, ask: Ask, two: bool, ttl: float
) -> None:
    cache, source = made(two=two), Source()
    assert await ask.get(cache, "k", source, ttl=lambda _: ttl) == "v1"
    assert await ask.get(cache, "k", source, ttl=lambda _: ttl) == "v2"
    assert await ask.get(cache, "k") is None
    assert cache.snapshot()["unkept"] == 2


@both_colours
@levels
@in_virtual_time
async def test_what_is_not_to_be_kept_takes_the_place_of_what_was(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache = made(two=two, stale_if_error="1h")
    source = Source("old", "secret", ConnectionError("down"))
    assert await ask.get(cache, "k", source) == "old"
    world.advance(61)
    assert await ask.get(cache, "k", source, ttl=lambda _: 0) == "secret"
    with pytest.raises(ConnectionError):
        await ask.get(cache, "k", source)


@both_colours
@levels
@in_virtual_time
async def test_a_result_that_says_nothing_has_the_lifetime_of_the_cache(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache = made(two=two)
    await ask.get(cache, "k", Source(), ttl=lambda _: None)
    world.advance(59.9)
    assert await ask.get(cache, "k") == "v1"
    world.advance(0.1)
    assert await ask.get(cache, "k") is None


def test_lifetimes_are_spread_evenly_by_a_tenth_unless_told_otherwise(
    world: VirtualRuntime,
) -> None:
    async def main() -> None:
        for spread, low, high in (("", 54, 66), ("±50%", 30, 90), ("±0%", 60, 60)):
            cache = Cache(ttl=f"60s{spread}", rng=random.Random(1))
            began = world.now()
            for key in range(1000):
                cache.set(f"k:{key}", key)
            entries = cache._levels.first.store.table.values()
            ends = sorted(entry.until - began for entry in entries)
            assert low <= ends[0] <= low * 1.01
            assert high * 0.99 <= ends[-1] <= high
            assert ends[500] == pytest.approx(60, rel=0.05)

    world.run(main())


@both_colours
@levels
@in_virtual_time
async def test_that_there_is_nothing_is_remembered_for_a_time_of_its_own(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache, source = made(two=two, negative_ttl="5s"), Source(None)
    for _ in range(3):
        assert await ask.get(cache, "k", source) is None
    assert source.calls == 1
    world.advance(4.9)
    assert await ask.get(cache, "k", source) is None
    assert source.calls == 1
    world.advance(0.1)
    assert await ask.get(cache, "k", source) is None
    assert source.calls == 2


@both_colours
@levels
@in_virtual_time
async def test_nothing_is_remembered_as_any_value_or_not_at_all(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    as_any, not_at_all, source = made(two=two), made(two=two, negative_ttl=0), Source(None)
    await ask.get(as_any, "k", source)
    world.advance(59)
    await ask.get(as_any, "k", source)
    assert source.calls == 1
    for _ in range(2):
        await ask.get(not_at_all, "k", source)
    assert source.calls == 3


@both_colours
@levels
@in_virtual_time
async def test_errors_are_not_kept(world: VirtualRuntime, ask: Ask, two: bool) -> None:
    cache, error = made(two=two), LookupError("no")
    source = Source(error, error, "well")
    for _ in range(2):
        with pytest.raises(LookupError) as caught:
            await ask.get(cache, "k", source)
        assert caught.value is error
    assert await ask.get(cache, "k", source) == "well"
    assert cache.snapshot()["load_errors"] == 2


@both_colours
@levels
@in_virtual_time
async def test_set_replaces_what_is_there(world: VirtualRuntime, ask: Ask, two: bool) -> None:
    cache, source = made(two=two), Source()
    await ask.get(cache, "k", source)
    world.advance(30)
    await ask.set(cache, "k", "mine")
    world.advance(59)
    assert await ask.get(cache, "k", source) == "mine"
    assert source.calls == 1


@both_colours
@levels
@pytest.mark.parametrize("verb", ["delete", "expire"])
@in_virtual_time
async def test_delete_and_expire_take_keys_tags_and_namespaces(
    world: VirtualRuntime, ask: Ask, two: bool, verb: str
) -> None:
    cache = made(two=two)
    forget: Any = getattr(ask, verb)
    keys = ("user:1", "user:2", "order:1", "order:2", "lone")

    async def after(*named: str, **what: str) -> set[str]:
        for key in keys:
            await ask.set(cache, key, key, tags=("odd",) if key.endswith("1") else ("even", "x"))
        assert await forget(cache, *named, **what) is True
        return {key for key in keys if await ask.get(cache, key) is None}

    assert await after("user:1") == {"user:1"}
    assert await after("user:1", "lone", "none") == {"user:1", "lone"}
    assert await after(tag="odd") == {"user:1", "order:1"}
    assert await after(tag="even") == {"user:2", "order:2", "lone"}
    assert await after(tag="user") == set()
    assert await after(namespace="user") == {"user:1", "user:2"}
    assert await after(namespace="lone") == {"lone"}
    assert await after(namespace="odd") == set()
    assert await after("lone", tag="odd", namespace="order") == set(keys) - {"user:2"}
    for soft in (False, True):
        for key in keys:
            await ask.set(cache, key, key)
        assert await ask.clear(cache, soft=soft) is True
        assert [await ask.get(cache, key) for key in keys] == [None] * 5


@both_colours
@levels
@in_virtual_time
async def test_what_is_expired_may_stand_in_and_what_is_deleted_may_not(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache, down = made(two=two, stale_if_error="1h"), ConnectionError("down")
    for how in ({"tag": "t"}, {"namespace": "k"}, {}, None):
        await ask.set(cache, "k:1", "old", tags=("t",))
        if how is None:
            await ask.clear(cache, soft=True)
        else:
            await ask.expire(cache, *(() if how else ("k:1",)), **how)
        assert await ask.get(cache, "k:1", Source(down)) == "old"
        if how is None:
            await ask.clear(cache)
        else:
            await ask.delete(cache, *(() if how else ("k:1",)), **how)
        with pytest.raises(ConnectionError):
            await ask.get(cache, "k:1", Source(down))


@both_colours
@in_virtual_time
async def test_tags_of_a_load_count_as_those_of_a_set(world: VirtualRuntime, ask: Ask) -> None:
    cache, source = made(), Source()
    await ask.get(cache, "k", source, tags=(tag for tag in ("a", "b")))
    await ask.delete(cache, tag="b")
    assert await ask.get(cache, "k", source) == "v2"
    await ask.delete(cache, tag="b")
    assert await ask.get(cache, "k", source) == "v2", "the tags belong to the load, not to the key"


@both_colours
@in_virtual_time
async def test_invalidating_asks_what(world: VirtualRuntime, ask: Ask) -> None:
    for forget in (ask.delete, ask.expire):
        with pytest.raises(TypeError, match="say what: one or more keys, tag=…, or namespace=…"):
            await forget(made())


@both_colours
@in_virtual_time
async def test_entry_tells_the_source_and_the_age(world: VirtualRuntime, ask: Ask) -> None:
    url, source = shared(), Source(takes=2)
    cache, other = made(l2=url), made(l2=url)
    assert await ask.entry(cache, "k") == Answer(value=None, source="none")
    assert not await ask.entry(cache, "k")
    loaded = await ask.entry(cache, "k", source)
    assert loaded == Answer(value="v1", source="load", age=2.0)
    assert loaded
    world.advance(8)
    assert await ask.entry(cache, "k", source) == Answer(value="v1", source="l1", age=10.0)
    assert await ask.entry(other, "k", source) == Answer(value="v1", source="l2", age=10.0)
    assert await ask.entry(other, "k") == Answer(value="v1", source="l1", age=10.0)
    assert await ask.entry(made(l2=url), "k") == Answer(value="v1", source="l2", age=10.0)


@both_colours
@levels
@in_virtual_time
async def test_without_a_first_level_nothing_stays_in_the_process(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache, source = made(two=two, l1=None), Source()
    await ask.get(cache, "k", source)
    assert cache.snapshot()["entries"] == 0
    await ask.get(cache, "k", source)
    assert source.calls == (1 if two else 2)


@both_colours
@in_virtual_time
async def test_the_first_level_has_a_size(world: VirtualRuntime, ask: Ask) -> None:
    for l1 in (10, L1(10), L1(1000, max_weight=10, weigh=lambda value: 1)):
        cache = made(l1=l1)
        for key in range(100):
            await ask.set(cache, f"k:{key}", key)
        assert cache.snapshot()["entries"] == 10
        assert cache.snapshot()["evicted"] == 90


@both_colours
@in_virtual_time
async def test_a_value_heavier_than_the_first_level_is_given_and_not_kept(
    world: VirtualRuntime, ask: Ask
) -> None:
    cache = made(l1=L1(1000, max_weight="1kB"))
    await ask.set(cache, "light", b"x")
    assert await ask.get(cache, "heavy", Source(b"x" * 2000)) == b"x" * 2000
    assert await ask.get(cache, "heavy") is None
    assert await ask.get(cache, "light") == b"x", "nothing else has to go for it"
    assert cache.snapshot()["weight"] == 51


@both_colours
@in_virtual_time
async def test_a_heavier_value_takes_the_place_of_a_light_one_that_was(
    world: VirtualRuntime, ask: Ask
) -> None:
    cache = made(l1=L1(1000, max_weight="1kB"))
    await ask.set(cache, "k", b"old")
    await ask.set(cache, "k", b"x" * 2000)
    assert await ask.get(cache, "k") is None, "the old value is not the value any more"


@both_colours
@levels
@in_virtual_time
async def test_keys_of_any_length_are_told_apart(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache = made(two=two)
    keys = ["x" * 512, "x" * 513, "x" * 1_000_000, "x" * 999_999 + "y", "é" * 600, ""]
    for key in keys:
        await ask.set(cache, key, len(key))
    for key in keys:
        assert await ask.get(cache, key) == len(key)
        assert await ask.get(cache, key, Source()) == len(key)
    assert await ask.delete(cache, keys[2])
    assert [await ask.get(cache, key) is None for key in keys] == [False] * 2 + [True] + [False] * 3
    assert max(len(str(key)) for key in cache._levels.first.store.table) <= 513


@both_colours
@in_virtual_time
async def test_a_long_key_stays_in_its_namespace(world: VirtualRuntime, ask: Ask) -> None:
    cache = made()
    await ask.set(cache, "user:" + "x" * 1000, 1)
    await ask.delete(cache, namespace="user")
    assert await ask.get(cache, "user:" + "x" * 1000) is None


@both_colours
@levels
@in_virtual_time
async def test_counts_and_events_tell_of_each_call(
    world: VirtualRuntime, ask: Ask, two: bool, events: list[Event]
) -> None:
    cache, source = made(two=two), Source("v", ConnectionError("down"), takes=2)
    await ask.get(cache, "k", source)
    world.advance(1)
    await ask.get(cache, "k", source)
    await ask.entry(cache, "k", source)
    await ask.get(cache, "none")
    await ask.delete(cache, "k", tag="t", namespace="n")
    await ask.clear(cache, soft=True)
    with pytest.raises(ConnectionError):
        await ask.get(cache, "k", source)
    if two:
        assert events.pop(0) == CacheHearingChanged(name="test", at=0, heard=True)
    told = [event for event in events if event.name == "test"]
    assert told == [
        CacheLoaded(name="test", at=2, key="k", took=2, kept=True),
        CacheServed(name="test", at=2, key="k", source="load", age=2),
        CacheServed(name="test", at=3, key="k", source="l1", age=3),
        CacheServed(name="test", at=3, key="k", source="l1", age=3),
        CacheMissed(name="test", at=3, key="none"),
        CacheInvalidated(name="test", at=3, kind="key", what="k", soft=False),
        CacheInvalidated(name="test", at=3, kind="tag", what="tag t", soft=False),
        CacheInvalidated(name="test", at=3, kind="tag", what="namespace n", soft=False),
        CacheInvalidated(name="test", at=3, kind="all", what="", soft=True),
        CacheLoadFailed(name="test", at=5, key="k", cause="ConnectionError: down", rescued=False),
    ]
    counts = {name: count for name, count in cache.snapshot().items() if count}
    expected = {"hits": 2, "misses": 3, "loads": 1, "load_seconds": 2, "load_errors": 1}
    assert counts == expected | {"invalidations": 4}


@both_colours
@in_virtual_time
async def test_counts_and_events_tell_of_the_second_level(
    world: VirtualRuntime, ask: Ask, events: list[Event]
) -> None:
    url = shared()
    first, second = made(l2=url), made(l2=url)
    await ask.get(first, "k", Source())
    await ask.get(second, "k")
    await ask.get(made(l2=url), "k", Source())
    assert [event.source for event in events if isinstance(event, CacheServed)] == [
        "load",
        "l2",
        "l2",
    ]
    events.clear()
    await ask.delete(first, "k")
    assert [event for event in events if isinstance(event, CacheInvalidated) and event.remote]
    assert second.snapshot()["heard"] == 1
    assert await ask.get(second, "k") is None


@both_colours
@in_virtual_time
async def test_after_close_the_first_level_goes_on(world: VirtualRuntime, ask: Ask) -> None:
    with made(l2=shared()) as cache:
        await ask.set(cache, "k", 1)
    assert await ask.get(cache, "k") == 1
    cache.close()


def test_sync_and_async_callers_share_one_cache(world: VirtualRuntime) -> None:
    async def main() -> None:
        cache, source = made(), Source()
        assert await cache.aget("k", source.later) == "v1"
        assert cache.get("k", source.now) == "v1"
        cache.delete("k")
        assert await cache.aget("k", source.now) == "v2", "an async caller takes any load"

    world.run(main())


def test_many_tasks_that_ask_at_once_wait_for_one_load(world: VirtualRuntime) -> None:
    async def main() -> None:
        for two in (False, True):
            cache, source = made(two=two), Source(takes=1)
            asked = await asyncio.gather(*[cache.aget("k", source.later) for _ in range(200)])
            assert Counter(asked) == {"v1": 200}
            assert source.calls == 1

    world.run(main())


def test_all_who_wait_get_the_error_of_the_load(world: VirtualRuntime) -> None:
    async def main() -> None:
        cache, source = made(), Source(ConnectionError("down"), takes=1)
        asked = await asyncio.gather(
            *[cache.aget("k", source.later) for _ in range(5)], return_exceptions=True
        )
        assert all(isinstance(each, ConnectionError) for each in asked)
        assert source.calls == 1

    world.run(main())


def test_its_repr_is_how_to_make_it() -> None:
    assert repr(Cache()) == "Cache('cache')"
    assert repr(Cache("shop", ttl="90s", l1_ttl=2)) == "Cache('shop', ttl='90s±10%', l1_ttl='2s')"
    assert repr(L1(5)) == "L1(5)"
    assert repr(L1(5, max_weight="1kB")) == "L1(5, max_weight=1000)"
