"""Stale values: who gets one, for how long, why, and who asks for news meanwhile."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from tests.caching.asking import (
    Ask,
    Async,
    Source,
    both_colours,
    in_virtual_time,
    levels,
    made,
    shared,
)

from escala import Answer, Cache, time_left
from escala.caching.events import CacheHearingChanged, CacheLoadFailed, CacheServed
from escala.errors import DeadlineExceeded
from escala.kernel.events import Event
from escala.kernel.runtime import colours, drive
from escala.testing import VirtualRuntime

DOWN = ConnectionError("down")
BEHIND = "news is on its way"


def stale(value: object, age: Any, why: str) -> Answer:
    return Answer(value=value, source="stale", age=age, why=why)


# stale-while-revalidate (a sync caller inside an event loop has no one to load behind its back:
# see test_cache_threads)


@levels
@in_virtual_time
async def test_a_stale_value_is_given_while_one_load_runs(world: VirtualRuntime, two: bool) -> None:
    cache, source = made(two=two, stale_while_revalidate="30s"), Source(takes=2)
    await Async.get(cache, "k", source)
    world.advance(60 - world.now())
    answers = await asyncio.gather(*[cache.aentry("k", source.later) for _ in range(5)])
    assert answers == [stale("v1", 60, BEHIND)] * 5
    assert world.now() == 60, "no one waited"
    await world.sleep(1.9)
    assert await cache.aentry("k", source.later) == stale("v1", pytest.approx(61.9), BEHIND)
    await world.sleep(0.2)
    news = await cache.aentry("k", source.later)
    assert (news.value, news.source) == ("v2", "l1")
    assert news.age == pytest.approx(2.1)
    assert source.calls == 2


@levels
@in_virtual_time
async def test_the_stale_window_ends_where_it_says(world: VirtualRuntime, two: bool) -> None:
    cache, source = made(two=two, stale_while_revalidate="30s"), Source(takes=2)
    await Async.get(cache, "a", source)
    await Async.get(cache, "b", source)
    world.advance(89.999 - world.now())
    assert (await cache.aentry("a", source.later)).source == "stale"
    world.advance(92 - world.now())
    assert (await cache.aentry("b", source.later)).source == "load"


@in_virtual_time
async def test_a_memory_of_stale_values_without_a_load(world: VirtualRuntime) -> None:
    cache = made(stale_while_revalidate="30s")
    await cache.aset("k", 1)
    world.advance(60)
    assert await cache.aentry("k") == stale(1, 60, "no one was asked for news")
    world.advance(30)
    assert await cache.aentry("k") == Answer(value=None, source="none")


@in_virtual_time
async def test_a_load_behind_the_back_that_fails_leaves_the_stale_value(
    world: VirtualRuntime, events: list[Event]
) -> None:
    cache, source = made(stale_while_revalidate="30s"), Source("v1", DOWN, DOWN, "v2")
    await Async.get(cache, "k", source)
    world.advance(60)
    assert await Async.get(cache, "k", source) == "v1"
    await world.sleep(0)
    await world.sleep(0)
    assert source.calls == 2
    for _ in range(9):
        await world.sleep(0.1)
        answer = await cache.aentry("k", source.later)
        assert answer.why == "asking failed a moment ago"
        assert source.calls == 2
    await world.sleep(0.11)
    assert (await cache.aentry("k", source.later)).why == BEHIND
    await world.sleep(0.01)
    assert source.calls == 3
    await world.sleep(1)
    assert await Async.get(cache, "k", source) == "v1"
    await world.sleep(0.01)
    assert (await cache.aentry("k", source.later)).source == "l1"
    assert source.calls == 4
    failed = [event for event in events if isinstance(event, CacheLoadFailed)]
    assert [event.rescued for event in failed] == [True, True]


@levels
@in_virtual_time
async def test_news_that_a_delete_made_old_is_not_kept(world: VirtualRuntime, two: bool) -> None:
    cache, source = made(two=two, stale_while_revalidate="30s"), Source(takes=2)
    await Async.get(cache, "k", source)
    world.advance(60)
    assert await Async.get(cache, "k", source) == "v1"
    await world.sleep(1)
    await cache.adelete("k")
    await world.sleep(3)
    assert await cache.aget("k") is None
    assert await Async.get(cache, "k", source) == "v3"


# stale-if-error


@both_colours
@levels
@in_virtual_time
async def test_a_stale_value_stands_in_for_a_source_that_fails_up_to_its_limit(
    world: VirtualRuntime, ask: Ask, two: bool, events: list[Event]
) -> None:
    cache, source = made(two=two, stale_if_error="40s"), Source("v1", DOWN)
    await ask.get(cache, "k", source)
    world.advance(60)
    failed = "asking failed: ConnectionError: down"
    assert await ask.entry(cache, "k", source) == stale("v1", 60, failed)
    world.advance(39.99)
    assert await ask.entry(cache, "k", source) == stale("v1", pytest.approx(99.99), failed)
    world.advance(0.01)
    with pytest.raises(ConnectionError) as caught:
        await ask.get(cache, "k", source)
    assert caught.value is DOWN, "the source's own error"
    told = [event.rescued for event in events if isinstance(event, CacheLoadFailed)]
    assert told == [True, True, False]
    counts = cache.snapshot()
    assert (counts["rescued"], counts["stale"], counts["load_errors"]) == (2, 2, 3)
    assert counts["oldest_stale"] == pytest.approx(39.99)


@both_colours
@levels
@in_virtual_time
async def test_a_source_that_failed_is_asked_once_a_second(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache, source = made(two=two, stale_if_error="1h"), Source("v1", DOWN)
    await ask.get(cache, "k", source)
    world.advance(60)
    for step in range(100):
        answer = await ask.entry(cache, "k", source)
        assert answer.value == "v1"
        asked = step % 10 == 0
        assert answer.why == (
            "asking failed: ConnectionError: down" if asked else "asking failed a moment ago"
        )
        world.advance(0.1 + 1e-9)
    assert source.calls == 1 + 10


@both_colours
@levels
@pytest.mark.parametrize("what", [{}, {"tag": "t"}, {"namespace": "k"}, None], ids=str)
@in_virtual_time
async def test_what_is_deleted_during_the_pause_never_comes_back(
    world: VirtualRuntime, ask: Ask, two: bool, what: dict[str, Any] | None
) -> None:
    cache, source = made(two=two, stale_if_error="1h"), Source("v1", DOWN)
    await ask.get(cache, "k:1", source, tags=("t",))
    world.advance(60)
    assert await ask.get(cache, "k:1", source) == "v1"
    world.advance(0.5)
    if what is None:
        await ask.clear(cache)
    else:
        await ask.delete(cache, *(() if what else ("k:1",)), **what)
    for _ in range(3):
        with pytest.raises(ConnectionError):
            await ask.get(cache, "k:1", source)
        assert await ask.get(cache, "k:1") is None
        world.advance(1)


@levels
@in_virtual_time
async def test_what_is_deleted_while_a_load_fails_does_not_stand_in(
    world: VirtualRuntime, two: bool
) -> None:
    cache, source = made(two=two, stale_if_error="1h"), Source("v1", DOWN, takes=2)
    await Async.get(cache, "k", source)
    world.advance(60)
    asking = asyncio.ensure_future(cache.aget("k", source.later))
    await world.sleep(1)
    await cache.adelete("k")
    with pytest.raises(ConnectionError):
        await asking
    with pytest.raises(ConnectionError):
        await Async.get(cache, "k", source)


@both_colours
@in_virtual_time
async def test_a_source_that_is_well_again_ends_the_pause(world: VirtualRuntime, ask: Ask) -> None:
    cache, source = made(stale_if_error="1h"), Source("v1", DOWN, "v2")
    await ask.get(cache, "k", source)
    world.advance(60)
    await ask.get(cache, "k", source)
    world.advance(1)
    assert await ask.entry(cache, "k", source) == Answer(value="v2", source="load")
    assert await ask.entry(cache, "k", source) == Answer(value="v2", source="l1")


@both_colours
@in_virtual_time
async def test_a_stale_value_of_the_second_level_stands_in(world: VirtualRuntime, ask: Ask) -> None:
    url = shared()
    await ask.set(made(l2=url, stale_if_error="1h"), "k", "v1")
    world.advance(61)
    cache, source = made(l2=url, stale_if_error="1h"), Source(DOWN)
    answer = await ask.entry(cache, "k", source)
    assert answer == stale("v1", 61, "asking failed: ConnectionError: down")
    assert (await ask.entry(cache, "k", source)).why == "asking failed a moment ago"


# refresh_early


def test_a_value_is_refreshed_before_it_ends_and_no_one_waits(world: VirtualRuntime) -> None:
    async def main() -> None:
        cache = made(refresh_early=True, ttl="10s±0%", rng=random.Random(3))
        source = Source(takes=1)
        await cache.aget("k", source.later)
        refreshed = []
        for _ in range(1000):
            await world.sleep(0.05)
            before = source.calls
            now = world.now()
            answer = await cache.aentry("k", source.later)
            assert answer.source == "l1"
            assert answer.age < 10
            assert world.now() == now, "no one waited"
            await world.sleep(0)
            if source.calls > before:
                refreshed.append(answer.age)
        assert source.most == 1
        assert len(refreshed) >= 5
        assert all(age > 4 for age in refreshed), "about as early as the load takes long"

    world.run(main())


@in_virtual_time
async def test_without_refresh_early_nothing_is_loaded_before_the_end(
    world: VirtualRuntime,
) -> None:
    cache, source = made(ttl="10s±0%"), Source(takes=1)
    await Async.get(cache, "k", source)
    for _ in range(890):
        await world.sleep(0.01)
        await Async.get(cache, "k", source)
    assert source.calls == 1


@in_virtual_time
async def test_an_early_refresh_that_fails_pauses_and_leaves_the_fresh_value(
    world: VirtualRuntime,
) -> None:
    cache = made(refresh_early=True, ttl="10s±0%", rng=random.Random(3))
    source = Source("v1", DOWN, takes=1)
    await Async.get(cache, "k", source)
    while world.now() < 10:
        await world.sleep(0.01)
        if world.now() < 10:
            assert (await cache.aentry("k", source.later)).source == "l1"
    assert 2 <= source.calls <= 4


# soft_timeout


@levels
@in_virtual_time
async def test_after_the_soft_timeout_the_stale_value_is_taken_and_the_load_goes_on(
    world: VirtualRuntime, two: bool
) -> None:
    cache = made(two=two, stale_if_error="1h", soft_timeout="50ms")
    source = Source(takes=2)
    await Async.get(cache, "k", source)
    world.advance(60)
    began = world.now()
    answers = await asyncio.gather(*[cache.aentry("k", source.later) for _ in range(3)])
    assert world.now() == pytest.approx(began + 0.05)
    why = "news takes longer than soft_timeout"
    assert answers == [stale("v1", pytest.approx(62.05), why)] * 3
    await world.sleep(2)
    assert (await cache.aentry("k")).value == "v2"
    assert source.calls == 2


@in_virtual_time
async def test_without_a_stale_value_the_soft_timeout_means_nothing(
    world: VirtualRuntime,
) -> None:
    cache, source = made(stale_if_error="1h", soft_timeout="50ms"), Source(takes=2)
    assert await Async.get(cache, "k", source) == "v1"
    assert world.now() == 2


@in_virtual_time
async def test_a_load_within_the_soft_timeout_is_waited_for(world: VirtualRuntime) -> None:
    cache, source = made(stale_if_error="1h", soft_timeout="3s"), Source(takes=2)
    await Async.get(cache, "k", source)
    world.advance(60)
    assert await Async.get(cache, "k", source) == "v2"


@in_virtual_time
async def test_what_is_deleted_before_the_soft_timeout_is_not_taken(
    world: VirtualRuntime,
) -> None:
    cache, source = made(stale_if_error="1h", soft_timeout="1s"), Source(takes=2)
    await Async.get(cache, "k", source)
    world.advance(60)
    asking = asyncio.ensure_future(cache.aget("k", source.later))
    await world.sleep(0.5)
    await cache.adelete("k")
    assert await asking == "v2", "asked before the delete, so this load is good enough"
    assert world.now() == 64


# hard_timeout


@in_virtual_time
async def test_after_the_hard_timeout_an_async_load_ends(world: VirtualRuntime) -> None:
    cache, source = made(hard_timeout="1s"), Source(takes=5)
    with pytest.raises(DeadlineExceeded):
        await Async.get(cache, "k", source)
    assert world.now() == 1
    assert source.running == 0


@in_virtual_time
async def test_a_sync_load_sees_the_hard_timeout_in_the_time_that_is_left(
    world: VirtualRuntime,
) -> None:
    cache, left = made(hard_timeout="1s"), []

    def load() -> str:
        left.append(time_left())
        drive(colours.thread.sleep(0.4))
        left.append(time_left())
        return "v"

    assert cache.get("k", load) == "v"
    assert left == [pytest.approx(1.0), pytest.approx(0.6)]
    source = Source(takes=5)
    with pytest.raises(DeadlineExceeded):
        cache.get("slow", source.now)
    assert world.now() == pytest.approx(1.4)


@both_colours
@in_virtual_time
async def test_a_stale_value_stands_in_after_the_hard_timeout(
    world: VirtualRuntime, ask: Ask
) -> None:
    cache, source = made(hard_timeout="3s", stale_if_error="1h"), Source(takes=2)
    await ask.get(cache, "k", source)
    world.advance(60)
    source.takes = 5
    answer = await ask.entry(cache, "k", source)
    assert answer.value == "v1"
    assert answer.why.startswith("asking failed: DeadlineExceeded: ")
    assert world.now() == 65


# wait


@in_virtual_time
async def test_who_has_waited_long_enough_loads_by_itself(world: VirtualRuntime) -> None:
    cache = made(wait="3s")
    slow, quick = Source("slow", takes=10), Source("quick", takes=1)
    first = asyncio.ensure_future(cache.aget("k", slow.later))
    await world.sleep(1)
    second = asyncio.ensure_future(cache.aget("k", quick.later))
    assert await second == "quick"
    assert world.now() == 5
    assert await cache.aget("k") == "quick"
    assert await first == "slow", "who asked for the first load gets what it brings"
    assert await cache.aget("k") == "quick", "and it does not take the place of a younger one"


# l1_ttl, l2_largest


@both_colours
@in_virtual_time
async def test_the_first_level_keeps_what_the_second_has_for_its_own_time(
    world: VirtualRuntime, ask: Ask
) -> None:
    cache, source = made(two=True, l1_ttl="5s"), Source()
    await ask.get(cache, "k", source)
    world.advance(4.9)
    assert (await ask.entry(cache, "k", source)).source == "l1"
    world.advance(0.1)
    assert await ask.entry(cache, "k", source) == Answer(value="v1", source="l2", age=5)
    world.advance(4.9)
    assert (await ask.entry(cache, "k", source)).source == "l1"
    world.advance(60 - world.now())
    assert (await ask.entry(cache, "k", source)).source == "load"


@both_colours
@in_virtual_time
async def test_alone_the_first_level_has_no_other_time(world: VirtualRuntime, ask: Ask) -> None:
    cache = made(l1_ttl="5s")
    await ask.set(cache, "k", 1)
    world.advance(59)
    assert await ask.get(cache, "k") == 1


@both_colours
@in_virtual_time
async def test_large_values_stay_in_the_first_level(world: VirtualRuntime, ask: Ask) -> None:
    url = shared()
    cache, other = made(l2=url, l2_largest="1kB"), made(l2=url)
    await ask.get(cache, "large", Source("x" * 1000))
    await ask.get(cache, "small", Source("x" * 900))
    assert await ask.get(cache, "large") == "x" * 1000
    assert await ask.get(other, "large") is None
    assert await ask.get(other, "small") == "x" * 900


@both_colours
@in_virtual_time
async def test_a_large_value_takes_the_place_of_a_small_one_in_both(
    world: VirtualRuntime, ask: Ask
) -> None:
    url = shared()
    cache, other = made(l2=url, l2_largest="1kB"), made(l2=url)
    await ask.set(cache, "k", "small")
    await ask.set(cache, "k", "x" * 1000)
    assert await ask.get(other, "k") is None


# lag


@both_colours
@levels
@in_virtual_time
async def test_for_as_long_as_replicas_lag_nothing_is_stored(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    for what in ({}, {"tag": "t"}, {"namespace": "k"}):
        cache, source = made(two=two, lag="2s"), Source()
        await ask.get(cache, "k:1", source, tags=("t",))
        await ask.delete(cache, *(() if what else ("k:1",)), **what)
        assert await ask.get(cache, "k:1", source, tags=("t",)) == "v2"
        world.advance(1.99)
        assert await ask.get(cache, "k:1", source, tags=("t",)) == "v3"
        world.advance(0.01)
        assert await ask.get(cache, "k:1", source, tags=("t",)) == "v4"
        assert await ask.get(cache, "k:1", source) == "v4"
        await ask.get(cache, "else:1", source)
        assert await ask.get(cache, "else:1") == "v5"


# max_stale


@both_colours
@in_virtual_time
async def test_while_invalidations_may_be_missed_nothing_is_older_than_max_stale(
    world: VirtualRuntime, ask: Ask, events: list[Event]
) -> None:
    cache, source = made(two=True, max_stale="2s"), Source()
    await ask.get(cache, "old", source)
    world.advance(10)
    hearing = cache._second.ear  # type: ignore[union-attr]
    hearing.lost()  # type: ignore[union-attr]
    began = world.now()
    await ask.get(cache, "new", Source())
    ages: dict[str, list[float]] = {"old": [], "new": []}
    while world.now() < began + 5:
        for key, read in ages.items():
            answer = await ask.entry(cache, key)
            if answer.source == "l1":
                read.append(world.now() - began)
            else:
                assert answer.source == "l2"
        world.advance(0.25)
    # What was read in doubt is read anew after each half of the bound.
    assert max(ages["old"]) < 5
    hearing.regained()  # type: ignore[union-attr]
    assert (await ask.entry(cache, "old")).source == "l2", "what was kept is forgotten"
    world.advance(30)
    assert (await ask.entry(cache, "old")).source == "l1"
    changes = [event.heard for event in events if isinstance(event, CacheHearingChanged)]
    assert changes == [True, False, True]


@both_colours
@in_virtual_time
async def test_each_kind_of_answer_is_told(
    world: VirtualRuntime, ask: Ask, events: list[Event]
) -> None:
    cache, source = made(stale_if_error="1h"), Source("v1", DOWN)
    await ask.get(cache, "k", source)
    await ask.get(cache, "k", source)
    world.advance(60)
    await ask.get(cache, "k", source)
    await ask.get(cache, "k", source)
    told = [(event.source, event.why) for event in events if isinstance(event, CacheServed)]
    assert told == [
        ("load", ""),
        ("l1", ""),
        ("stale", "asking failed: ConnectionError: down"),
        ("stale", "asking failed a moment ago"),
    ]
    assert cache.snapshot()["stale"] == 2


@pytest.mark.parametrize("step", [-1e6, 1e6])
def test_a_step_of_the_wall_clock_changes_nothing(
    world: VirtualRuntime, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    async def main() -> None:
        for two in (False, True):
            cache, source = made(two=two), Source()
            await cache.aget("k", source.later)
            with monkeypatch.context() as stepped:
                stepped.setattr("time.time", lambda: 1e9 + step)
                assert await cache.aget("k", source.later) == "v1"
                world.advance(59)
                assert await cache.aget("k", source.later) == "v1"
                world.advance(1)
                assert await cache.aget("k", source.later) == "v2"

    world.run(main())


def test_a_cache_of_a_closed_world_keeps_working(world: VirtualRuntime) -> None:
    cache = Cache("test")
    assert world.run(cache.aget("k", Source().later)) == "v1"
    assert cache.get("other", Source().now) == "v1"
