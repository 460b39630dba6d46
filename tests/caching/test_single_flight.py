"""One load for many callers, whoever is cancelled, fails, or goes away in the middle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from tests.caching.asking import Source, in_virtual_time, levels, made, shared
from tests.caching.scene import Plan, Rough, Scene
from tests.caching.stepped_threads import SteppedThreads

from escala.caching import L1, Cache
from escala.errors import DeadlineExceeded, StoreUnavailable
from escala.kernel.context import deadline_variable
from escala.kernel.runtime import colours
from escala.testing import Trial, VirtualRuntime, cancel_everywhere


def slow(cache: Cache, runtime: Any = None, nap: float = 0.01) -> Cache:
    """A cache whose second level takes 10 ms before and after each of its steps."""
    second = cache._levels.second
    if second is not None:
        scene = Scene(Plan("key"), runtime, random.Random(1), sync=False)
        scene.nap = lambda: nap  # type: ignore[method-assign]
        second.store = Rough(second.store, scene)
    return cache


def nothing_is_left(*caches: Cache) -> None:
    """No flight, no lookup, no lease, no invalidation that is owed, and no task but the caller."""
    for cache in caches:
        first, second = cache._levels.first, cache._levels.second
        assert not first._flights
        assert not first._lookups
        if second is not None:
            store: Any = second.store
            slots = getattr(store, "inner", store)._table.slots
            assert [key for key, slot in slots.items() if slot.token is not None] == []
    assert asyncio.all_tasks() - {asyncio.current_task()} == set()


@levels
@pytest.mark.parametrize("who", range(5))
@pytest.mark.parametrize("at", [0.0, 0.005, 0.5])
@in_virtual_time
async def test_one_of_five_is_cancelled_and_four_get_the_value_of_one_load(
    world: VirtualRuntime, who: int, at: float, two: bool
) -> None:
    cache, source = slow(made(two=two)), Source(takes=1)
    tasks = [asyncio.create_task(cache.aget("k", source.later)) for _ in range(5)]
    await colours.loop.sleep(at)
    tasks[who].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers.pop(who), asyncio.CancelledError)
    assert answers == ["v1"] * 4
    assert source.calls == 1
    await colours.loop.sleep(1)
    nothing_is_left(cache)
    assert await cache.aget("k") == "v1"


@levels
@in_virtual_time
async def test_when_all_are_cancelled_the_load_ends_and_is_kept(
    world: VirtualRuntime, two: bool
) -> None:
    cache, source = slow(made(two=two)), Source(takes=1)
    tasks = [asyncio.create_task(cache.aget("k", source.later)) for _ in range(5)]
    await colours.loop.sleep(0.5)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert cache.snapshot()["loading"] == 1
    await colours.loop.sleep(1)
    nothing_is_left(cache)
    assert (await cache.aget("k"), source.calls) == ("v1", 1)


def trips() -> list[asyncio.Task[Any]]:
    """The tasks that load."""
    return [task for task in asyncio.all_tasks() if "beside" in repr(task.get_coro())]


@levels
@pytest.mark.parametrize("at", [step / 200 for step in range(24)])
@in_virtual_time
async def test_a_load_that_is_cancelled_is_taken_over_by_one_who_waits(
    world: VirtualRuntime, at: float, two: bool
) -> None:
    cache, source = slow(made(two=two)), Source(takes=0.05)
    tasks = [asyncio.create_task(cache.aget("k", source.later)) for _ in range(3)]
    await colours.loop.sleep(at + 0.001)
    for task in trips():
        task.cancel()
    assert await asyncio.gather(*tasks) == [f"v{source.calls}"] * 3
    assert source.calls <= 2
    # Only of a lease that was given and never arrived no one knows, and it ends by itself.
    lost = two and 0.01 <= at < 0.02
    assert world.now() < (12 if lost else 1), "nobody has waited for a lease"
    await colours.loop.sleep(1)
    nothing_is_left(cache)


@in_virtual_time
async def test_a_load_that_is_cancelled_each_time_is_given_up_in_the_end(
    world: VirtualRuntime,
) -> None:
    cache, calls = made(), 0

    async def cancels_its_task() -> None:
        nonlocal calls
        calls += 1
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await colours.loop.sleep(0)

    tasks = [asyncio.create_task(cache.aget("k", cancels_its_task)) for _ in range(3)]
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [RuntimeError] * 3
    assert "'k' was cancelled 3 times" in str(answers[0])
    assert calls <= 1 + 2 * 3
    nothing_is_left(cache)
    assert await cache.aget("k", Source().later) == "v1"


@levels
@in_virtual_time
async def test_a_load_that_raises_a_cancellation_of_its_own_has_failed(
    world: VirtualRuntime, two: bool
) -> None:
    cache = slow(made(two=two))
    source = Source(asyncio.CancelledError("its own"), "fine", takes=1)
    tasks = [asyncio.create_task(cache.aget("k", source.later)) for _ in range(5)]
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 5
    await colours.loop.sleep(1)
    nothing_is_left(cache)
    assert (await cache.aget("k", source.later), source.calls) == ("fine", 2)


def test_so_has_one_in_a_thread(world: VirtualRuntime) -> None:
    cache = made()
    with pytest.raises(asyncio.CancelledError):
        cache.get("k", Source(asyncio.CancelledError()).now)
    assert cache.get("k", Source().now) == "v1"


# Cancelled between any two steps

Victim = Callable[[Cache, Source], Awaitable[Any]]


def _squares(cache: Cache, source: Source) -> Callable[[list[str]], Any]:
    @cache.batch("{key}")
    async def many(keys: list[str]) -> dict[str, Any]:
        value = await source.later()
        return dict.fromkeys(keys, value)

    return many


async def _refreshed(cache: Cache, source: Source) -> Any:
    @cache.memo("k")
    async def one() -> Any:
        return await source.later()

    return await one.arefresh()


async def _written(cache: Cache) -> None:
    async def save(key: str, value: str) -> None:
        await colours.loop.sleep(0.01)

    await cache.write_through(save).aset("k", "set")


VICTIMS: dict[str, Victim] = {
    "get": lambda cache, source: cache.aget("k", source.later),
    "look": lambda cache, _: cache.aget("k"),
    "entry": lambda cache, source: cache.aentry("k", source.later),
    "batch": lambda cache, source: _squares(cache, source)(["k", "other", "third"]),
    "refresh": _refreshed,
    "set": lambda cache, _: cache.aset("k", "set"),
    "delete": lambda cache, _: cache.adelete("k"),
    "delete tag": lambda cache, _: cache.adelete(tag="t"),
    "expire": lambda cache, _: cache.aexpire("k"),
    "clear": lambda cache, _: cache.aclear(),
    "write through": lambda cache, _: _written(cache),
}


@pytest.mark.parametrize("nodes", [0, 1, 2])
@pytest.mark.parametrize("name", VICTIMS)
@pytest.mark.parametrize("before", ["", "kept", "stale"])
def test_cancelled_between_any_two_steps(name: str, nodes: int, before: str) -> None:
    async def scenario(trial: Trial) -> None:
        place = shared() if nodes else None
        options: dict[str, Any] = {"ttl": "60s±0%", "stale_if_error": "60s", "l2": place}
        caches = [slow(Cache("c", **options)) for _ in range(nodes or 1)]
        cache, other = caches[0], caches[-1]
        source = Source(takes=0.02)
        if before:
            await other.aget("k", source.later, tags=["t"])
        if before == "stale":
            await colours.loop.sleep(61)
        waiter = asyncio.create_task(other.aget("k", source.later, tags=["t"]))
        late = asyncio.create_task(_late(other, source))
        victim = trial.victim(_call(VICTIMS[name], cache, source))
        await asyncio.wait({victim, waiter, late})
        await colours.loop.sleep(2)
        for each in caches:
            await each.aget("free", source.later)
        for answer in (waiter.result(), late.result()):
            assert answer == "set" or answer[0] == "v"
        await colours.loop.sleep(1)
        nothing_is_left(*caches)
        for each in caches:
            await each.aget("k", source.later)
        assert trial.world.now() < 70, "a lease was left behind"
        assert source.most <= 2

    assert cancel_everywhere(scenario) >= 1


async def _call(victim: Victim, cache: Cache, source: Source) -> Any:
    return await victim(cache, source)


async def _late(cache: Cache, source: Source) -> Any:
    await colours.loop.sleep(0.025)
    return await cache.aget("k", source.later, tags=["t"])


@pytest.mark.parametrize("at", [step / 200 for step in range(13)])
@in_virtual_time
async def test_a_write_through_that_is_cancelled_leaves_nothing_older_than_the_source(
    world: VirtualRuntime, at: float
) -> None:
    place, rows = shared(), {"k": "old"}
    cache, other = (slow(Cache("c", l2=place)) for _ in range(2))

    async def save(key: str, value: str) -> None:
        await colours.loop.sleep(0.005)
        rows[key] = value
        await colours.loop.sleep(0.005)

    async def load() -> str:
        return rows["k"]

    assert [await each.aget("k", load) for each in (cache, other)] == ["old", "old"]
    await colours.loop.sleep(1)
    writing = asyncio.create_task(cache.write_through(save).aset("k", "new"))
    await colours.loop.sleep(at + 0.001)
    writing.cancel()
    await asyncio.wait({writing})
    assert await cache.aget("k", load) == rows["k"]
    assert await other.aget("k", load) == rows["k"]
    await colours.loop.sleep(1)
    nothing_is_left(cache, other)


@in_virtual_time
async def test_who_waits_for_a_set_that_is_cancelled_asks_the_source(world: VirtualRuntime) -> None:
    cache, source = slow(made(two=True)), Source()
    victim = asyncio.create_task(cache.aset("k", "set"))
    await colours.loop.sleep(0.005)
    waiter = asyncio.create_task(cache.aget("k", source.later))
    await colours.loop.sleep(0)
    victim.cancel()
    assert await waiter == "v1"
    assert await cache.aget("k") == "v1"
    assert world.now() < 1, "nobody has waited for a lease"
    await colours.loop.sleep(1)
    nothing_is_left(cache)


@in_virtual_time
async def test_who_waits_for_a_set_gets_what_is_set(world: VirtualRuntime) -> None:
    cache, source = slow(made(two=True)), Source()
    setting = asyncio.create_task(cache.aset("k", "set"))
    await colours.loop.sleep(0.005)
    assert await cache.aget("k", source.later) == "set"
    await setting
    assert source.calls == 0


@pytest.mark.parametrize("what", ["key", "tag", "clear"])
@in_virtual_time
async def test_who_asks_after_another_process_deleted_does_not_get_the_load_from_before(
    world: VirtualRuntime, what: str
) -> None:
    url = shared()
    here, there = Cache("test", l2=url), Cache("test", l2=url)
    await there.aget("other", Source().later)
    second = there._levels.second
    assert second is not None
    second.store.close()  # no signal comes through from here on
    source = Source(takes=1)
    before = asyncio.create_task(there.aget("k", source.later, tags=["t"]))
    await colours.loop.sleep(0.5)
    if what == "key":
        assert await here.adelete("k")
    elif what == "tag":
        assert await here.adelete(tag="t")
    else:
        assert await here.aclear()
    after = asyncio.create_task(there.aget("k", source.later, tags=["t"]))
    assert await before == "v1"
    assert await after == "v2"
    assert await there.aget("k", source.later) == "v2"


@pytest.mark.parametrize("what", ["key", "tag", "clear"])
@in_virtual_time
async def test_what_is_deleted_is_gone_here_before_the_second_level_has_heard(
    world: VirtualRuntime, what: str
) -> None:
    cache = slow(made(two=True), nap=10)
    await cache.aget("k", Source().later, tags=["t"])
    assert cache._levels.first.hit("k", world.now())
    if what == "key":
        deleting = asyncio.create_task(cache.adelete("k"))
    elif what == "tag":
        deleting = asyncio.create_task(cache.adelete(tag="t"))
    else:
        deleting = asyncio.create_task(cache.aclear())
    await colours.loop.sleep(0.001)
    assert cache._levels.first.find("k", now=world.now()) is None
    assert await deleting


@pytest.mark.parametrize("what", ["key", "tag", "clear"])
@pytest.mark.parametrize("at", [step / 200 for step in range(8)])
@in_virtual_time
async def test_what_is_read_while_the_second_level_has_yet_to_hear_is_not_kept(
    world: VirtualRuntime, what: str, at: float
) -> None:
    cache, row = slow(made(two=True), nap=0.02), Source("old", "new")
    await cache.aget("k", row.later, tags=["t"])
    await colours.loop.sleep(1)
    if what == "key":
        deleting = asyncio.create_task(cache.adelete("k"))
    elif what == "tag":
        deleting = asyncio.create_task(cache.adelete(tag="t"))
    else:
        deleting = asyncio.create_task(cache.aclear())
    await colours.loop.sleep(at + 0.001)
    meanwhile = asyncio.create_task(cache.aget("k", row.later, tags=["t"]))
    looking = asyncio.create_task(cache.aget("k"))
    assert await deleting
    assert await cache.aget("k", row.later, tags=["t"]) == "new"
    assert await meanwhile in ("old", "new")
    assert await looking in ("old", None)
    await colours.loop.sleep(1)
    assert await cache.aget("k") == "new"
    nothing_is_left(cache)


# Waiting


@in_virtual_time
async def test_who_has_waited_long_enough_loads_itself(world: VirtualRuntime) -> None:
    cache, source = made(wait="3s"), Source(takes=0.0)
    stuck = asyncio.create_task(cache.aget("k", asyncio.Event().wait))
    await colours.loop.sleep(0)
    tasks = [asyncio.create_task(cache.aget("k", source.later)) for _ in range(5)]
    assert await asyncio.gather(*tasks) == ["v1"] * 5
    assert (world.now(), source.calls) == (3, 1), "one of them, and the others wait for it"
    assert await cache.aget("k") == "v1"
    stuck.cancel()


@in_virtual_time
async def test_who_was_overtaken_stores_nothing(world: VirtualRuntime) -> None:
    cache = made(wait="3s")
    old = asyncio.create_task(cache.aget("k", Source("old", takes=10).later))
    await colours.loop.sleep(0)
    assert await cache.aget("k", Source("new").later) == "new"
    assert await old == "old"
    assert await cache.aget("k") == "new"
    nothing_is_left(cache)


@levels
@in_virtual_time
async def test_impatient_callers_take_the_stale_value_and_miss_no_news(
    world: VirtualRuntime, two: bool
) -> None:
    cache = made(two=two, stale_if_error="1h", soft_timeout="100ms")
    source = Source("old", "new", takes=1)
    await cache.aget("k", source.later)
    await colours.loop.sleep(61)
    began = world.now()
    tasks = [asyncio.create_task(cache.aget("k", source.later)) for _ in range(3)]
    assert await asyncio.gather(*tasks) == ["old"] * 3
    assert world.now() - began == pytest.approx(0.1)
    await colours.loop.sleep(1)
    assert (await cache.aget("k"), source.calls) == ("new", 2)
    nothing_is_left(cache)


@in_virtual_time
async def test_an_impatient_caller_whose_stale_value_is_deleted_waits_on(
    world: VirtualRuntime,
) -> None:
    """And is woken: it has kept its seat."""
    cache = made(stale_if_error="1h", soft_timeout="100ms")
    source = Source("old", "new", takes=1)
    await cache.aget("k", source.later, tags=["t"])
    await colours.loop.sleep(61)
    began = world.now()
    task = asyncio.create_task(cache.aget("k", source.later, tags=["t"]))
    await colours.loop.sleep(0.05)
    await cache.adelete(tag="t")
    assert await task == "new"
    assert world.now() - began == pytest.approx(1)
    nothing_is_left(cache)


@in_virtual_time
async def test_a_batch_that_fails_leaves_the_flights_of_others_alone(
    world: VirtualRuntime,
) -> None:
    cache, source = made(), Source(takes=1)
    single = asyncio.create_task(cache.aget("k", source.later))
    await colours.loop.sleep(0)
    many = asyncio.create_task(_squares(cache, Source(ValueError("no"), takes=0.1))(["a", "k"]))
    await colours.loop.sleep(0.5)
    [flight] = cache._levels.first._flights.values()
    assert len(flight) == 2
    many.cancel()
    await asyncio.wait({many})
    assert len(flight) == 1, "only the one who wants it"
    assert await single == "v1"
    nothing_is_left(cache)


# Threads, one step at a time


@pytest.mark.parametrize("what", ["key", "tag", "clear"])
def test_what_slips_in_before_the_second_level_is_told_is_not_kept(
    world: VirtualRuntime, what: str
) -> None:
    cache, source = made(two=True), Source("old", "new")
    cache.get("k", source.now, tags=["t"])
    second, seen = cache._levels.second, []
    assert second is not None
    owe = second.owe

    def interrupted(*args: Any) -> None:
        seen.append(cache.get("k", source.now, tags=["t"]))
        owe(*args)

    second.owe = interrupted  # type: ignore[assignment]
    match what:
        case "key":
            cache.delete("k")
        case "tag":
            cache.delete(tag="t")
        case _:
            cache.clear()
    assert seen == ["old"], "it asked before"
    assert cache.get("k", source.now, tags=["t"]) == "new"


seeds = pytest.mark.parametrize("seed", range(20))


@seeds
def test_a_leader_that_is_interrupted_is_followed_by_another(seed: int) -> None:
    stage = SteppedThreads(seed)
    answers: list[str] = []
    calls: list[int] = []
    with stage.on():
        cache = made(two=bool(seed % 2))

        def load() -> str:
            calls.append(1)
            stage.wait(None, 1)
            if len(calls) == 1:
                raise KeyboardInterrupt
            return "fine"

        def ask() -> None:
            try:
                answers.append(cache.get("k", load))
            except KeyboardInterrupt:
                answers.append("interrupted")

        for _ in range(5):
            stage.spawn(ask)
        stage.run()
    assert sorted(answers) == ["fine"] * 4 + ["interrupted"]
    assert len(calls) == 2
    assert stage.now() == 2, "and no one waits for its lease"
    assert not cache._levels.first._flights


@seeds
def test_a_leader_whose_own_time_is_up_is_followed_by_another(seed: int) -> None:
    stage = SteppedThreads(seed)
    answers: list[str] = []
    with stage.on():
        cache, source = made(two=bool(seed % 2)), Source(takes=3)

        def hurried() -> None:
            deadline_variable.set(2)
            try:
                cache.get("k", source.now)
            except DeadlineExceeded:
                answers.append("late")

        def ask() -> None:
            stage.wait(None, 1)
            answers.append(cache.get("k", source.now))

        stage.spawn(hurried)
        for _ in range(3):
            stage.spawn(ask)
        stage.run()
    assert sorted(answers) == ["late", "v2", "v2", "v2"]
    assert stage.now() == 5, "and no one waits for its lease"


@pytest.mark.parametrize("behind", [False, True])
def test_sys_exit_in_a_load_ends_those_who_asked_and_not_the_cache(behind: bool) -> None:
    stage = SteppedThreads(1)
    exits: list[object] = []
    options: dict[str, Any] = {"stale_while_revalidate": "1s"} if behind else {}
    with stage.on():
        cache = made(**options)

        def load() -> str:
            stage.wait(None, 1)
            raise SystemExit(3)

        def ask() -> None:
            try:
                cache.get("k", load)
            except SystemExit as error:
                exits.append(error.code)

        for _ in range(3):
            stage.spawn(ask)
        stage.run()
        assert exits == [3, 3, 3]
        assert stage.now() == 1, "one load"
        stage.spawn(lambda: exits.append(cache.get("k", lambda: "fine")))
        stage.run()
    assert exits[-1] == "fine"


# What no one expects


@in_virtual_time
async def test_a_fault_of_the_store_reaches_every_caller_and_is_over_then(
    world: VirtualRuntime,
) -> None:
    cache = made(two=True)
    second = cache._levels.second
    assert second is not None
    store: Any = second.store

    async def broken(*_: object, **__: object) -> None:
        await colours.loop.sleep(1)
        raise ZeroDivisionError

    whole, store.read = store.read, broken
    tasks = [asyncio.create_task(cache.aget("k", Source().later)) for _ in range(3)]
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ZeroDivisionError] * 3
    assert world.now() == 1
    store.read = whole
    assert await cache.aget("k", Source().later) == "v1"
    nothing_is_left(cache)


@in_virtual_time
async def test_a_weight_that_cannot_be_told_fails_the_call_and_leaves_no_flight(
    world: VirtualRuntime,
) -> None:
    place = shared()
    heavy = Cache("c", l2=place, l1=L1(max_weight="1MB", weigh=len))
    light = Cache("c", l2=place)
    await light.aset("k", 7)
    with pytest.raises(TypeError):
        await heavy.aget("k", Source().later)
    nothing_is_left(heavy)


@in_virtual_time
async def test_a_second_level_that_is_away_keeps_no_one_from_loading_once(
    world: VirtualRuntime,
) -> None:
    cache, source = made(two=True), Source(takes=1)
    second = cache._levels.second
    assert second is not None
    store: Any = second.store

    async def away(*_: object, **__: object) -> None:
        await colours.loop.sleep(0.1)
        raise StoreUnavailable("away")

    store.read = store.store = store.invalidate = store.claim = store.release = away
    tasks = [asyncio.create_task(cache.aget("k", source.later)) for _ in range(50)]
    assert await asyncio.gather(*tasks) == ["v1"] * 50
    assert source.calls == 1
    assert await cache.adelete("k") is False
    assert await cache.aget("k", source.later) == "v2"


@in_virtual_time
async def test_what_the_second_level_refuses_is_not_kept_here_either(world: VirtualRuntime) -> None:
    """Something happened to it of which this process may not have heard yet."""
    place = shared()
    cache, other = Cache("c", l2=place), Cache("c", l2=place)
    await cache.aget("warm", Source().later)
    assert cache._levels.second is not None
    cache._levels.second.store.close()  # it hears nothing
    for what in ({"namespace": "k"}, {"tag": "t"}):
        task = asyncio.create_task(cache.aget("k", Source(takes=1).later, tags=["t"]))
        await colours.loop.sleep(0.5)
        await other.adelete(**what)
        assert await task == "v1"
        await colours.loop.sleep(0)
        assert await cache.aget("k") is None
        nothing_is_left(cache)


@in_virtual_time
async def test_a_load_that_outlives_its_lease_is_kept_here_and_the_next_one_everywhere(
    world: VirtualRuntime,
) -> None:
    place = shared()
    cache, other = Cache("c", l2=place, wait="1h"), Cache("c", l2=place, wait="1h")
    assert await cache.aget("slow", Source(takes=25).later) == "v1"
    await colours.loop.sleep(0)
    assert await cache.aget("slow") == "v1"
    assert await other.aget("slow") is None
    await cache.adelete("slow")
    mine = asyncio.create_task(cache.aget("slow", Source("mine", takes=25).later))
    await colours.loop.sleep(1)
    assert await other.aget("slow", Source("other").later) == "mine"
    assert await mine == "mine"
    await cache.aget("long", Source(takes=1000).later)
    began = world.now()
    lost = asyncio.create_task(cache.aget("lost", Source(takes=1000).later))
    await colours.loop.sleep(1)
    assert await other.aget("lost", Source("other").later) == "other"
    assert world.now() - began == pytest.approx(60, abs=0.2), "no lease is longer than a minute"
    assert await lost == "v1"


# A load that asks the cache


@levels
@in_virtual_time
async def test_a_load_that_asks_for_its_own_key_is_told(world: VirtualRuntime, two: bool) -> None:
    cache = made(two=two)

    async def load() -> Any:
        return await cache.aget("k", load)

    with pytest.raises(RecursionError, match=r"test: the load of 'k' asks this cache for 'k'"):
        await cache.aget("k", load)
    assert world.now() < 1
    nothing_is_left(cache)

    def sync_load() -> Any:
        return cache.get("k", sync_load)

    with pytest.raises(RecursionError):
        cache.get("k", sync_load)
    nothing_is_left(cache)


@in_virtual_time
async def test_so_is_one_that_does_so_by_way_of_another(world: VirtualRuntime) -> None:
    cache = made()

    @cache.memo("a")
    async def a() -> Any:
        return await b()

    @cache.memo("b")
    async def b() -> Any:
        await colours.loop.sleep(1)
        return await a()

    for fn in (a, b):
        with pytest.raises(RecursionError):
            await fn()
    many = _squares(cache, Source())

    @cache.memo("k")
    async def k() -> Any:
        return (await many(["x", "k"]))["k"]

    with pytest.raises(RecursionError):
        await k()
    nothing_is_left(cache)
    assert await many(["x", "k"]) == {"x": "v1", "k": "v1"}


@in_virtual_time
async def test_two_loads_that_wait_for_each_other_are_told_after_their_wait(
    world: VirtualRuntime,
) -> None:
    cache = made(wait="2s")

    async def load(mine: str, other: str) -> Any:
        await colours.loop.sleep(1)
        return await cache.aget(other, partial(load, other, mine))

    asks = [cache.aget(mine, partial(load, mine, other)) for mine, other in ("ab", "ba")]
    answers = await asyncio.gather(*asks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [RecursionError] * 2
    assert world.now() < 10
    nothing_is_left(cache)


@in_virtual_time
async def test_a_load_may_refresh_what_it_deletes_and_ask_for_anything_else(
    world: VirtualRuntime,
) -> None:
    cache, source = made(), Source(takes=1)

    async def load() -> Any:
        first = await cache.aget("other", source.later)
        await cache.adelete("k")
        with pytest.raises(RecursionError):
            await cache.aget("k", load)
        return [first, await cache.aget("third", source.later)]

    assert await cache.aget("k", load) == ["v1", "v2"]
    assert await cache.aget("k") is None, "it was deleted while it was loaded"
    elsewhere = Cache("elsewhere")
    assert await elsewhere.aget("k", lambda: cache.aget("k", source.later)) == "v3"


@in_virtual_time
async def test_what_a_load_has_started_may_ask_for_its_key_when_the_load_is_over(
    world: VirtualRuntime,
) -> None:
    cache, started = made(), []

    async def later() -> Any:
        await colours.loop.sleep(5)
        await cache.adelete("k")
        return await cache.aget("k", Source("again").later)

    async def load() -> str:
        started.append(asyncio.create_task(later()))
        return "first"

    assert await cache.aget("k", load) == "first"
    assert await started[0] == "again"


@in_virtual_time
async def test_a_refresh_behind_a_load_s_back_waits_for_no_one(world: VirtualRuntime) -> None:
    """A load of `a` is given a stale `b`, whose news need `a`: no one waits in a ring."""
    cache = made(stale_while_revalidate="1h")
    source = Source(takes=1)

    async def load_b() -> Any:
        return f"b of {await cache.aget('a', load_a)}"

    async def load_a() -> Any:
        stale = await cache.aget("b", load_b)
        await source.later()
        return f"a of {stale}"

    await cache.aset("b", "old")
    await colours.loop.sleep(61)
    assert await cache.aget("a", load_a) == "a of old"
    await colours.loop.sleep(5)
    assert await cache.aget("b") == "b of a of old"
    nothing_is_left(cache)


@in_virtual_time
async def test_a_thousand_keys_at_once(world: VirtualRuntime) -> None:
    cache, source = made(two=True), Source(takes=1)
    keys = [f"k:{number % 1000}" for number in range(3000)]
    tasks = [asyncio.create_task(cache.aget(key, source.later)) for key in keys]
    answers = await asyncio.gather(*tasks)
    assert answers[:1000] == answers[1000:2000] == answers[2000:]
    assert len(set(answers)) == source.calls == source.most == 1000
    nothing_is_left(cache)
