"""The second level that goes away: no call fails, and nothing deleted is seen again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from tests.caching.asking import Source, in_virtual_time, made, shared

from escala.caching import Cache
from escala.caching.events import CacheHearingChanged, CacheInvalidated, CacheStoreChanged
from escala.caching.second_level import SecondLevel
from escala.caching.value_store import Ear, Found, Mark, Put, Signal
from escala.errors import DeadlineExceeded, StoreUnavailable
from escala.kernel.context import deadline_variable
from escala.kernel.events import Event
from escala.kernel.runtime import colours
from escala.testing import VirtualRuntime

MARK = Mark(b"epoch---", 1, 0.0)
FOUND = Found(None, False, b"token", 0.0, MARK)


class Told:
    """A store that notes what reaches it, in order; while it is `away` nothing does."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.away = False
        self.takes = 0.0
        self.error: type[BaseException] = StoreUnavailable
        self.ears: list[Ear] = []
        self.closed = 0

    async def _come(self, what: Any) -> None:
        away = self.away
        if self.takes:
            await colours.loop.sleep(self.takes)
        if away:
            raise self.error("away")
        self.told.append(what)

    async def read(
        self, keys: Sequence[str], lease: float, runtime: object, *, early: bool = False
    ) -> list[Found]:
        await self._come(("read", *keys, early))
        return [FOUND for _ in keys]

    async def claim(self, keys: Sequence[str], lease: float, runtime: object) -> list[Found]:
        await self._come(("claim", *keys))
        return [FOUND for _ in keys]

    async def store(self, puts: Sequence[Put], runtime: object, **how: bool) -> list[bool]:
        await self._come(("store", *(put.key for put in puts), how))
        return [True for _ in puts]

    async def release(self, leases: Sequence[tuple[str, bytes]], runtime: object) -> None:
        await self._come(("release", *leases))

    async def invalidate(
        self, signals: Sequence[Signal], runtime: object, *, hold: float = 0.0
    ) -> None:
        await self._come(("invalidate", {signal.name for signal in signals}, hold))

    def listen(self, ear: Ear) -> None:
        self.ears.append(ear)

    def close(self) -> None:
        self.closed += 1


class Nobody:
    """An ear."""

    bound = 1.0

    def heard(self, signals: list[Signal]) -> None: ...

    def lost(self) -> None: ...

    def regained(self) -> None: ...


def pair() -> tuple[SecondLevel, Told]:
    store: Any = Told()
    return SecondLevel(store, name="test"), store


A, B = Signal("key", "a"), Signal("tag", "b")
PUT = Put("a", b"token", b"blob", 1.0)


@in_virtual_time
async def test_it_passes_on_what_it_is_asked(world: VirtualRuntime) -> None:
    second, store = pair()
    assert await second.read(["a"], 10.0, world, early=True) == [FOUND]
    assert await second.claim(["a"], 10.0, world) == [FOUND]
    assert await second.keep([PUT], world) == [True]
    assert await second.keep([PUT], world, tell=True) == [True]
    await second.release([("a", b"token")], world)
    assert await second.invalidate([A], world, hold=2.0) is True
    assert store.told == [
        ("read", "a", True),
        ("claim", "a"),
        ("store", "a", {"tell": False}),
        ("store", "a", {"tell": True}),
        ("release", ("a", b"token")),
        ("invalidate", {"a"}, 2.0),
    ]
    store.told.clear()
    assert await second.keep([], world) == []
    await second.release([], world)
    assert store.told == [], "of nothing there is nothing to tell"
    assert second.snapshot() == {"l2_away": 0.0, "l2_failed": 0, "l2_repairs": 0}


@in_virtual_time
async def test_while_it_is_away_answers_are_none_and_no_call_fails(
    world: VirtualRuntime, events: list[Event]
) -> None:
    second, store = pair()
    store.away = True
    assert await second.read(["a"], 10.0, world) is None
    assert await second.keep([PUT], world) is None
    await second.release([("a", b"token")], world)
    assert second.snapshot()["l2_away"] == 1.0
    turned = [each for each in events if isinstance(each, CacheStoreChanged)]
    assert [(each.away, each.name) for each in turned] == [(True, "test")]
    store.away = False
    assert await second.read(["a"], 10.0, world) is None, "the breaker is open"
    assert store.told == []
    await colours.loop.sleep(1.2)
    assert await second.read(["a"], 10.0, world) == [FOUND]
    turned = [each for each in events if isinstance(each, CacheStoreChanged)]
    assert [each.away for each in turned] == [True, False]
    assert second.snapshot() == {"l2_away": 0.0, "l2_failed": 4, "l2_repairs": 0}


@in_virtual_time
async def test_an_invalidation_that_did_not_arrive_is_sent_before_anything_is_read(
    world: VirtualRuntime,
) -> None:
    second, store = pair()
    store.away = True
    assert await second.invalidate([A], world, hold=3.0) is False
    assert await second.invalidate([B], world) is False
    assert second.snapshot()["l2_repairs"] == 2
    assert await second.read(["a"], 10.0, world) is None
    store.away = False
    await colours.loop.sleep(1.2)
    assert await second.read(["a"], 10.0, world) == [FOUND]
    assert store.told == [
        ("invalidate", {"b"}, 0.0),
        ("invalidate", {"a"}, 3.0),
        ("read", "a", False),
    ]
    assert second.snapshot()["l2_repairs"] == 0
    await second.read(["a"], 10.0, world)
    assert len(store.told) == 4, "once"


@pytest.mark.parametrize("verb", ["read", "claim", "keep", "release", "invalidate"])
@in_virtual_time
async def test_before_each_verb(world: VirtualRuntime, verb: str) -> None:
    second, store = pair()
    second.owe([A])
    match verb:
        case "read":
            await second.read(["x"], 1.0, world)
        case "claim":
            await second.claim(["x"], 1.0, world)
        case "keep":
            await second.keep([PUT], world)
        case "release":
            await second.release([("x", b"")], world)
        case _:
            assert await second.invalidate([B], world) is True
    assert "a" in store.told[0][1]
    assert store.told[0][0] == "invalidate"
    assert second.snapshot()["l2_repairs"] == 0


@in_virtual_time
async def test_one_that_is_repeated_is_sent_once_with_the_longer_hold(
    world: VirtualRuntime,
) -> None:
    second, store = pair()
    second.owe([A], 3.0)
    second.owe([A], 1.0)
    second.owe([A, B], 2.0)
    assert await second.repair(world)
    assert store.told == [("invalidate", {"b"}, 2.0), ("invalidate", {"a"}, 3.0)]


@in_virtual_time
async def test_more_than_ten_thousand_become_one_of_all(world: VirtualRuntime) -> None:
    second, store = pair()
    second.owe([Signal("key", f"k{number}") for number in range(9_999)], 1.0)
    second.owe([A], 5.0)
    assert second.snapshot()["l2_repairs"] == 10_000
    second.owe([B], 2.0)
    assert second.snapshot()["l2_repairs"] == 1
    second.owe([A], 1.0)
    assert await second.read(["a"], 10.0, world) == [FOUND]
    assert store.told == [
        ("invalidate", {"a"}, 1.0),
        ("invalidate", {""}, 5.0),
        ("read", "a", False),
    ]


@in_virtual_time
async def test_one_that_comes_while_the_same_is_on_its_way_is_sent_after_it(
    world: VirtualRuntime,
) -> None:
    """The first may have been read before the second's change, so it does not stand for it."""
    second, store = pair()
    store.takes = 1.0
    one = asyncio.create_task(second.invalidate([A], world))
    await colours.loop.sleep(0.5)
    second.owe([A])
    assert await one is True
    assert second.snapshot()["l2_repairs"] == 1
    await second.read(["a"], 10.0, world)
    assert store.told == [("invalidate", {"a"}, 0.0)] * 2 + [("read", "a", False)]


@in_virtual_time
async def test_concurrent_readers_read_after_a_repair_whoever_has_sent_it(
    world: VirtualRuntime,
) -> None:
    second, store = pair()
    store.takes = 1.0
    second.owe([A])
    first = asyncio.create_task(second.read(["x"], 10.0, world))
    await colours.loop.sleep(0.5)
    assert await second.read(["y"], 10.0, world) == [FOUND]
    await first
    verbs = [each[0] for each in store.told]
    assert verbs.index("invalidate") < verbs.index("read")
    order = [each[:2] for each in store.told if each[0] == "read"]
    assert order == [("read", "x"), ("read", "y")]
    assert verbs[0] == "invalidate"


@in_virtual_time
async def test_a_repair_that_gets_half_way_owes_the_rest(world: VirtualRuntime) -> None:
    second, store = pair()
    second.owe([A], 1.0)
    second.owe([B], 2.0)
    whole = store.invalidate

    async def once(signals: Any, runtime: object, *, hold: float = 0.0) -> None:
        await whole(signals, runtime, hold=hold)
        store.away = True

    store.invalidate = once  # type: ignore[method-assign]
    assert await second.read(["a"], 10.0, world) is None
    assert store.told == [("invalidate", {"a"}, 1.0)]
    assert second.snapshot()["l2_repairs"] == 1


@pytest.mark.parametrize("error", [DeadlineExceeded, asyncio.CancelledError, ZeroDivisionError])
@pytest.mark.parametrize("verb", ["invalidate", "claim"])
@in_virtual_time
async def test_one_that_was_cut_short_is_owed(
    world: VirtualRuntime, error: type[BaseException], verb: str
) -> None:
    second, store = pair()
    store.away, store.error = True, error
    ask = second.invalidate([A], world) if verb == "invalidate" else second.claim(["a"], 1.0, world)
    with pytest.raises(error):
        await ask
    assert second.snapshot()["l2_repairs"] == 1
    store.away = False
    await second.read(["a"], 10.0, world)
    assert store.told == [("invalidate", {"a"}, 0.0), ("read", "a", False)]


@in_virtual_time
async def test_a_claim_that_did_not_arrive_is_owed_as_a_deletion(world: VirtualRuntime) -> None:
    second, store = pair()
    store.away = True
    assert await second.claim(["a", "c"], 10.0, world) is None
    assert second.snapshot()["l2_repairs"] == 2
    store.away = False
    await second.repair(world)
    assert store.told == [("invalidate", {"a", "c"}, 0.0)]


@in_virtual_time
async def test_a_late_repair_goes_out_though_the_caller_s_time_is_up(
    world: VirtualRuntime,
) -> None:
    second, store = pair()
    seen = []
    second.owe([A])
    whole = store.invalidate

    async def invalidate(*args: Any, **kwargs: Any) -> None:
        seen.append(deadline_variable.get())
        await whole(*args, **kwargs)

    store.invalidate = invalidate  # type: ignore[method-assign]
    deadline_variable.set(-1.0)
    await second.repair_late(world)
    assert (seen, deadline_variable.get()) == ([float("inf")], -1.0)
    assert len(store.told) == 1


@in_virtual_time
async def test_it_listens_once_and_before_it_asks(world: VirtualRuntime) -> None:
    second, store = pair()
    second.listen()
    assert store.ears == [], "there is no one to tell"
    second.ear = Nobody()
    await second.read(["a"], 10.0, world)
    second.listen()
    await second.read(["a"], 10.0, world)
    assert store.ears == [second.ear]
    second.close()
    assert store.closed == 1


# In a cache


def broken(cache: Cache) -> Any:
    """Its second level, which can be made to fail: `away` before it does what it is asked."""
    second = cache._levels.second
    assert second is not None
    inner: Any = second.store

    class Failing(Told):
        def __getattribute__(self, name: str) -> Any:
            if name in ("read", "claim", "store", "release", "invalidate"):
                if object.__getattribute__(self, "away"):
                    return super().__getattribute__(name)
                return getattr(inner, name)
            return super().__getattribute__(name)

    second.store = failing = Failing()
    failing.listen = inner.listen  # type: ignore[method-assign]
    failing.close = inner.close  # type: ignore[method-assign]
    return failing


@in_virtual_time
async def test_what_was_deleted_while_the_store_was_away_is_not_seen_again(
    world: VirtualRuntime, events: list[Event]
) -> None:
    place, source = shared(), Source("old", "new", "newer")
    cache, other = Cache("c", l2=place), Cache("c", l2=place)
    store = broken(cache)
    assert await cache.aget("k", source.later, tags=["t"]) == "old"
    store.away = True
    assert await cache.adelete(tag="t") is False
    told = [each for each in events if isinstance(each, CacheInvalidated)]
    assert [(each.what, each.everywhere) for each in told] == [("tag t", False)]
    assert await other.aget("k") == "old", "as it is documented"
    assert await cache.aget("k") is None
    assert await cache.aget("k", source.later, tags=["t"]) == "new"
    store.away = False
    await colours.loop.sleep(1.5)
    assert await cache.aget("unrelated", Source().later) == "v1"
    assert await other.aget("k") is None, "with the first thing that reached the store"
    assert cache.snapshot()["l2_repairs"] == 0


@in_virtual_time
async def test_a_set_that_is_cut_short_leaves_nothing_of_what_was(world: VirtualRuntime) -> None:
    place = shared()
    cache, other = Cache("c", l2=place), Cache("c", l2=place)
    store = broken(cache)
    await cache.aset("k", "old")
    assert await other.aget("k") == "old"
    store.away, store.error, store.takes = True, DeadlineExceeded, 1.0
    with pytest.raises(DeadlineExceeded):
        await cache.aset("k", "new")
    store.away = False
    assert await cache.aget("k") is None
    assert await other.aget("k") is None


@in_virtual_time
async def test_a_cache_tells_whether_it_hears(world: VirtualRuntime, events: list[Event]) -> None:
    cache = made(two=True, max_stale="2s")
    second, first = cache._levels.second, cache._levels.first
    assert second is not None
    assert second.ear is not None
    assert first.bound == 1.0, "until it listens"
    await cache.aget("k", Source().later)
    assert first.bound is None
    assert await cache.aget("k", Source("other").later) == "v1", "the first load is kept"
    ear = second.ear
    ear.lost()
    ear.lost()
    assert first.bound == 1.0
    assert cache._levels.first.find("k", now=world.now() + 0.999) is not None
    assert cache._levels.first.find("k", now=world.now() + 1) is None
    ear.regained()
    changes = [each.heard for each in events if isinstance(each, CacheHearingChanged)]
    assert changes == [True, False, True]
    assert first.find("k", now=world.now()) is None
    assert await cache.aget("k", Source("other").later) == "v1", "the store still has it"


@in_virtual_time
async def test_while_it_does_not_hear_nothing_is_kept_for_longer_than_the_bound(
    world: VirtualRuntime,
) -> None:
    place, source = shared(), Source()
    cache, other = Cache("c", l2=place, max_stale="2s"), Cache("c", l2=place)
    await cache.aget("k", source.later)
    second = cache._levels.second
    assert second is not None
    assert second.ear is not None
    store: Any = second.store
    second.ear.lost()
    store.close()  # and indeed it hears nothing
    assert await cache.aget("k") == "v1"
    await colours.loop.sleep(0.5)
    assert await cache.aget("l", source.later) == "v2"
    await other.adelete("k", "l")
    assert await cache.aget("l") == "v2", "it cannot know"
    await colours.loop.sleep(0.5)
    assert await cache.aget("k") is None, "a second after it was lost"
    await colours.loop.sleep(0.5)
    assert await cache.aget("l") is None, "a second after it came"


@in_virtual_time
async def test_what_others_do_is_done_here(world: VirtualRuntime, events: list[Event]) -> None:
    place = shared()
    cache = Cache("c", l2=place, stale_while_revalidate="1h")
    other = Cache("c", l2=place)
    first = cache._levels.first

    async def fill() -> None:
        for key in ("user:1", "user:2", "item:1"):
            await cache.aget(key, Source().later, tags=["t"])
        assert first.find("user:1", now=world.now())

    def here(key: str) -> str:
        entry = first.find(key, now=world.now())
        return "gone" if entry is None else "fresh" if world.now() < entry.until else "stale"

    keys = ("user:1", "user:2", "item:1")
    for act, left in (
        (lambda: other.adelete("user:1"), ["gone", "fresh", "fresh"]),
        (lambda: other.aexpire("user:1"), ["stale", "fresh", "fresh"]),
        (lambda: other.adelete(namespace="user"), ["gone", "gone", "fresh"]),
        (lambda: other.aexpire(namespace="user"), ["stale", "stale", "fresh"]),
        (lambda: other.adelete(tag="t"), ["gone"] * 3),
        (lambda: other.aexpire(tag="t"), ["stale"] * 3),
        (lambda: other.aclear(soft=True), ["stale"] * 3),
        (other.aclear, ["gone"] * 3),
        (lambda: other.aset("user:2", "set"), ["fresh", "gone", "fresh"]),
    ):
        await cache.aclear()
        await fill()
        events.clear()
        assert await act() in (True, None)
        assert [here(key) for key in keys] == left
        remote = [each for each in events if isinstance(each, CacheInvalidated) and each.remote]
        assert len(remote) == 1
    assert cache.snapshot()["heard"] == 9


@in_virtual_time
async def test_while_replicas_may_be_behind_no_process_keeps_what_it_loads_or_sets(
    world: VirtualRuntime,
) -> None:
    place, source = shared(), Source()
    cache, other = Cache("c", l2=place), Cache("c", l2=place, lag="5s")
    await other.adelete("k")
    assert await cache.aget("k", source.later) == "v1"
    assert await cache.aget("k", source.later) == "v2"
    await cache.aset("k", "set")
    assert (await cache.aget("k"), await other.aget("k")) == (None, None)
    await colours.loop.sleep(5)
    assert await cache.aget("k", source.later) == "v3"
    assert (await cache.aget("k"), await other.aget("k")) == ("v3", "v3")


@in_virtual_time
async def test_what_cannot_be_decoded_is_replaced_by_the_first_who_loads_it(
    world: VirtualRuntime,
) -> None:
    place = shared()
    old, cache, other = (Cache("c", l2=place) for _ in range(3))
    calls: list[str] = []

    def numbers(of: Cache) -> Any:
        @of.memo("n:{key}")
        async def number(key: str) -> int:
            calls.append(key)
            await colours.loop.sleep(1)
            return 7

        return number

    await old.aset("n:a", "no number")
    assert [await numbers(cache)("a"), await numbers(other)("a")] == [7, 7]
    assert calls == ["a"]
    assert world.now() == 1, "nobody has waited for a lease"
    assert cache.snapshot()["undecodable"] == 2, "it was looked at again, for a lease"


@in_virtual_time
async def test_a_value_too_large_for_the_second_level_leaves_no_older_one_there(
    world: VirtualRuntime,
) -> None:
    place = shared()
    options: dict[str, Any] = {"l2": place, "stale_if_error": "1h", "ttl": "60s±0%"}
    cache, other = Cache("c", **options, l2_largest="1KiB"), Cache("c", **options)
    await other.aget("k", Source("small").later)
    await colours.loop.sleep(61)
    large = "x" * 3000
    assert await cache.aget("k", Source(large).later) == large
    await colours.loop.sleep(0)
    with pytest.raises(ConnectionError):
        await other.aget("k", Source(ConnectionError("down")).later)
    assert await cache.aget("k") == large


@pytest.mark.parametrize(("late", "gets"), [(0.9, "old"), (1.1, "new"), (4.0, "new")])
@in_virtual_time
async def test_who_may_have_missed_an_invalidation_joins_no_load_from_before_it(
    world: VirtualRuntime, late: float, gets: str
) -> None:
    place, source = shared(), ["old"]
    cache, other = Cache("c", l2=place, max_stale="2s"), Cache("c", l2=place)
    await cache.aget("another")
    second = cache._levels.second
    assert second is not None
    assert second.ear is not None
    second.ear.lost()
    second.store.close()
    broken(cache).away = True

    async def load() -> str:
        value = source[0]
        await colours.loop.sleep(5)
        return value

    before = asyncio.create_task(cache.aget("k", load))
    await colours.loop.sleep(0.5)
    source[0] = "new"
    assert await other.adelete("k")
    await colours.loop.sleep(late - 0.5)
    assert await cache.aget("k", load) == gets
    assert await before == "old"
