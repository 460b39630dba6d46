"""Writes that go to the source first: what the cache has then, whoever else writes or fails."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from inspect import signature
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.caching.asking import Ask, both_colours, in_virtual_time, shared
from tests.caching.scene import Rough
from tests.caching.stepped_threads import SteppedThreads
from tests.caching.test_single_flight import nothing_is_left

from escala.caching import Cache
from escala.errors import CannotEncode
from escala.kernel.context import deadline_variable
from escala.kernel.runtime import Runtime, colours, drive
from escala.testing import Trial, VirtualRuntime, cancel_everywhere

PLACES = {"l1": (1, False), "l1+l2": (1, True), "two nodes": (2, True)}
places = pytest.mark.parametrize("place", list(PLACES))


def nodes(place: str, **options: Any) -> list[Cache]:
    count, second = PLACES[place]
    url = shared() if second else None
    return [Cache("c", l2=url, **({"ttl": "60s±0%"} | options)) for _ in range(count)]


class Table:
    """A source of rows; `before` and `after` are awaited around the moment in which it changes."""

    def __init__(self, ask: Ask, **rows: object) -> None:
        self.rows: dict[str, object] = dict(rows)
        self._ask = ask
        self.before: Callable[[], Awaitable[Any]] = nothing
        self.after: Callable[[], Awaitable[Any]] = nothing
        self.error: BaseException | None = None
        self.loads = 0

    async def _change(self, key: str, *value: object) -> str:
        await self.before()
        if value:
            self.rows[key] = value[0]
        else:
            self.rows.pop(key, None)
        await self.after()
        if self.error is not None:
            raise self.error
        return f"saved {key}"

    def _coloured(self, call: Callable[..., Any]) -> Callable[..., Any]:
        if self._ask.name == "async":
            return call

        @functools.wraps(call)
        def coloured(*args: Any) -> Any:
            return drive(call(*args))

        made: Any = coloured
        del made.__wrapped__  # its colour is another one
        made.__signature__ = signature(call)
        return coloured

    @property
    def save(self) -> Callable[[str, object], Any]:
        return self._coloured(self._change)

    @property
    def remove(self) -> Callable[[str], Any]:
        return self._coloured(self._change)

    def load(self, key: str) -> Any:
        """A load for `cache.get`."""

        async def load() -> object:
            self.loads += 1
            return self.rows.get(key)

        return self._coloured(load)

    async def get(self, cache: Cache, key: str, **how: Any) -> Any:
        """Read it through a cache."""
        if self._ask.name == "async":
            return await cache.aget(key, self.load(key), **how)
        return cache.get(key, self.load(key), **how)


async def nothing() -> None: ...


@both_colours
@places
@in_virtual_time
async def test_readers_get_the_value_before_it_and_then_the_new_one(
    world: VirtualRuntime, ask: Ask, place: str
) -> None:
    caches, table = nodes(place), Table(ask, k="old")
    seen: list[Any] = []

    async def read() -> None:
        seen.extend([await ask.get(each, "k") for each in caches])

    for each in caches:
        await table.get(each, "k")
    table.before = table.after = read
    users = caches[0].write_through(table.save, table.remove)
    assert await ask.verb(users, "set", "k", "new") == "saved k"
    assert seen == ["old"] * 2 * len(caches)
    assert [await ask.get(each, "k") for each in caches] == ["new"] * len(caches)
    assert table.loads <= 1
    table.before = table.after = nothing
    assert await ask.verb(users, "delete", "k") == "saved k"
    assert [await ask.get(each, "k") for each in caches] == [None] * len(caches)
    assert [await table.get(each, "k") for each in caches] == [None] * len(caches)


@both_colours
@places
@in_virtual_time
async def test_a_key_that_no_one_had_is_kept(world: VirtualRuntime, ask: Ask, place: str) -> None:
    caches, table = nodes(place), Table(ask)
    for how in ({"ttl": "10s±0%", "tags": ["t"]}, {"ttl": "10s±0%", "tags": lambda row: [row[:1]]}):
        users = caches[0].write_through(table.save, **how)
        await ask.verb(users, "set", "k", "tea")
        for each in caches:
            assert await ask.get(each, "k") == "tea"
        world.advance(10)
        assert await ask.get(caches[-1], "k") is None
        await ask.verb(users, "set", "k", "tea")
        await ask.delete(caches[-1], tag="t")
        assert await ask.get(caches[0], "k") is None
    assert table.loads == 0


@both_colours
@places
@pytest.mark.parametrize("verb", ["set", "delete"])
@pytest.mark.parametrize("when", ["before", "after"])
@in_virtual_time
async def test_a_save_that_fails_leaves_nothing_behind(
    world: VirtualRuntime, ask: Ask, place: str, verb: str, when: str
) -> None:
    caches, table, error = nodes(place), Table(ask, k="old"), LookupError("no")

    async def fail() -> None:
        raise error

    for each in caches:
        await table.get(each, "k")
    setattr(table, when, fail)
    users = caches[0].write_through(table.save, table.remove)
    with pytest.raises(LookupError) as caught:
        await ask.verb(users, verb, "k", *(["new"] if verb == "set" else []))
    assert caught.value is error
    assert [await ask.get(each, "k") for each in caches] == [None] * len(caches)
    setattr(table, when, nothing)
    now = table.rows.get("k")
    assert now == ("old" if when == "before" else "new" if verb == "set" else None)
    assert [await table.get(each, "k") for each in caches] == [now] * len(caches)
    nothing_is_left(*caches)


@both_colours
@places
@in_virtual_time
async def test_what_the_codec_refuses_is_not_even_saved(
    world: VirtualRuntime, ask: Ask, place: str
) -> None:
    caches, table, value = nodes(place), Table(ask, k="old"), object()
    await table.get(caches[0], "k")
    users = caches[0].write_through(table.save)
    if place == "l1":
        await ask.verb(users, "set", "k", value)
        assert await ask.get(caches[0], "k") is value
        return
    with pytest.raises(CannotEncode):
        await ask.verb(users, "set", "k", value)
    assert table.rows == {"k": "old"}
    assert await ask.get(caches[0], "k") == "old"
    nothing_is_left(*caches)


@both_colours
@places
@pytest.mark.parametrize("what", ["key", "tag", "namespace", "clear", "soft key", "soft tag"])
@pytest.mark.parametrize("when", ["before", "after"])
@in_virtual_time
async def test_an_invalidation_during_the_save_wins(
    world: VirtualRuntime, ask: Ask, place: str, what: str, when: str
) -> None:
    caches, table = nodes(place), Table(ask, **{"u:k": "old"})

    async def invalidate() -> None:
        verb = ask.expire if what.startswith("soft") else ask.delete
        if what.endswith("key"):
            await verb(caches[-1], "u:k")
        elif what.endswith("tag"):
            await verb(caches[-1], tag="t")
        elif what == "namespace":
            await verb(caches[-1], namespace="u")
        else:
            await ask.clear(caches[-1])

    setattr(table, when, invalidate)
    await ask.verb(caches[0].write_through(table.save, tags=["t"]), "set", "u:k", "new")
    assert [await ask.get(each, "u:k") for each in caches] == [None] * len(caches)
    nothing_is_left(*caches)


@both_colours
@places
@in_virtual_time
async def test_a_set_during_the_save_leaves_none_of_the_two(
    world: VirtualRuntime, ask: Ask, place: str
) -> None:
    caches, table = nodes(place), Table(ask)

    async def other() -> None:
        await ask.set(caches[-1], "k", "other")

    table.after = other
    await ask.verb(caches[0].write_through(table.save), "set", "k", "new")
    assert [await ask.get(each, "k") for each in caches] == [None] * len(caches)
    nothing_is_left(*caches)


@both_colours
@places
@in_virtual_time
async def test_two_writers_of_one_cache_know_of_each_other(
    world: VirtualRuntime, ask: Ask, place: str
) -> None:
    caches, table = nodes(place), Table(ask)
    outer, inner = (caches[at].write_through(table.save) for at in (0, -1))

    async def second() -> None:
        table.after = nothing
        await ask.verb(inner, "set", "k", "second")

    table.after = second
    await ask.verb(outer, "set", "k", "first")
    assert table.rows == {"k": "second"}
    assert [await ask.get(each, "k") for each in caches] == [None] * len(caches)
    nothing_is_left(*caches)
    await ask.verb(outer, "set", "k", "third")
    assert [await ask.get(each, "k") for each in caches] == ["third"] * len(caches)


@both_colours
@pytest.mark.parametrize("there", [False, True])
@in_virtual_time
async def test_a_load_that_began_before_is_not_stored_over_it(
    world: VirtualRuntime, ask: Ask, there: bool
) -> None:
    for place in PLACES:
        caches, table = nodes(place), Table(ask, k="old")
        users = caches[0].write_through(table.save)
        if there:
            await ask.set(caches[0], "k", "older")
            await ask.expire(caches[0], "k")

        async def load() -> Any:
            found = table.rows["k"]  # noqa: B023  called in this round
            await ask.verb(users, "set", "k", "new")  # noqa: B023
            return found

        coloured = table._coloured(load)
        get = caches[-1].aget if ask.name == "async" else caches[-1].get
        found = get("k", coloured)
        assert (await found if ask.name == "async" else found) == "old"
        for each in caches:
            assert await ask.get(each, "k") in {None, "new"}
            assert await table.get(each, "k") == "new"
        nothing_is_left(*caches)


@both_colours
@pytest.mark.parametrize("when", ["before", "after"])
@in_virtual_time
async def test_the_second_level_goes_away_during_the_save(
    world: VirtualRuntime, ask: Ask, when: str
) -> None:
    caches, table = nodes("two nodes", ttl="1h±0%"), Table(ask, k="old")
    way = Away(caches[0])
    for each in caches:
        await table.get(each, "k")

    async def leave() -> None:
        way.away = True

    setattr(table, when, leave)
    assert await ask.verb(caches[0].write_through(table.save), "set", "k", "new") == "saved k"
    assert await ask.get(caches[0], "k") is None, "right at once"
    assert await table.get(caches[0], "k") == "new"
    assert caches[0].snapshot()["l2_repairs"] == 1
    way.away = False
    world.advance(5)
    await ask.get(caches[0], "other")
    assert caches[0].snapshot()["l2_repairs"] == 0
    assert await ask.get(caches[1], "k") is None, "before anything else is read"
    assert [await table.get(each, "k") for each in caches] == ["new", "new"]


@both_colours
@in_virtual_time
async def test_the_second_level_is_away_from_the_start(world: VirtualRuntime, ask: Ask) -> None:
    caches, table = nodes("two nodes"), Table(ask, k="old")
    way = Away(caches[0])
    await table.get(caches[0], "k")
    way.away = True
    await ask.verb(caches[0].write_through(table.save), "set", "k", "new")
    assert await ask.get(caches[0], "k") is None
    assert await table.get(caches[0], "k") == "new"
    way.away = False
    world.advance(5)
    await ask.get(caches[0], "other")
    assert await table.get(caches[1], "k") == "new"


class Away:
    """What `Rough` asks, for a store that does not answer while it is `away`."""

    def __init__(self, cache: Cache) -> None:
        self.away = False
        second: Any = cache._levels.second
        second.store = Rough(second.store, self)  # type: ignore[arg-type]

    def nap(self) -> float:
        return 0.0

    def broken(self) -> bool:
        return self.away

    def chance(self, share: float) -> bool:
        return True


@both_colours
@in_virtual_time
async def test_a_lagging_source_is_not_believed(world: VirtualRuntime, ask: Ask) -> None:
    for place in PLACES:
        caches, table = nodes(place, lag="2s"), Table(ask, k="replica")
        table.error = LookupError("no")
        with pytest.raises(LookupError):
            await ask.verb(caches[0].write_through(table.save), "set", "k", "new")
        table.rows["k"] = "replica"
        for each in caches:
            assert await table.get(each, "k") == "replica", "given"
            assert await ask.get(each, "k") is None, "and not kept"
        world.advance(2)
        table.rows["k"] = "new"
        assert [await table.get(each, "k") for each in caches] == ["new"] * len(caches)
        assert [await ask.get(each, "k") for each in caches] == ["new"] * len(caches)


@both_colours
@places
@in_virtual_time
async def test_a_deadline_that_passes_while_it_is_saved_is_no_error(
    world: VirtualRuntime, ask: Ask, place: str
) -> None:
    caches, table = nodes(place), Table(ask)

    async def long() -> None:
        world.advance(2)

    for each in caches:
        rough(each, world)
    table.before = long
    token = deadline_variable.set(world.now() + 1)
    try:
        assert await ask.verb(caches[0].write_through(table.save), "set", "k", "new") == "saved k"
        assert deadline_variable.get() < world.now()
    finally:
        deadline_variable.reset(token)
    assert [await ask.get(each, "k") for each in caches] == ["new"] * len(caches)


@both_colours
@places
@in_virtual_time
async def test_a_save_longer_than_its_lease_is_right_all_the_same(
    world: VirtualRuntime, ask: Ask, place: str
) -> None:
    caches, table = nodes(place, ttl="1h±0%"), Table(ask, k="old")

    async def long() -> None:
        world.advance(30)
        assert await table.get(caches[-1], "k") == "old"

    table.before = long
    await ask.verb(caches[0].write_through(table.save), "set", "k", "new")
    for each in caches:
        assert await ask.get(each, "k") in {None, "new"}
        assert await table.get(each, "k") == "new"


@both_colours
@places
@in_virtual_time
async def test_long_keys_and_values_that_are_not_to_be_kept(
    world: VirtualRuntime, ask: Ask, place: str
) -> None:
    caches, table, key = nodes(place), Table(ask), "k" * 2000
    users = caches[0].write_through(table.save)
    await ask.verb(users, "set", key, "new")
    assert list(table.rows) == [key], "the source gets the whole key"
    assert [await ask.get(each, key) for each in caches] == ["new"] * len(caches)
    await ask.verb(caches[0].write_through(table.save, ttl=lambda _: 0), "set", key, "newer")
    assert [await ask.get(each, key) for each in caches] == [None] * len(caches)
    nothing_is_left(*caches)


@both_colours
@in_virtual_time
async def test_wrong_use_is_refused(world: VirtualRuntime, ask: Ask) -> None:
    [cache], table = nodes("l1"), Table(ask)
    users = cache.write_through(table.save)
    with pytest.raises(TypeError, match="there is no `remove`: give it to `write_through`"):
        await ask.verb(users, "delete", "k")
    with pytest.raises(TypeError, match="expected a key of text"):
        await ask.verb(users, "set", 7, "new")
    assert table.rows == {}


@in_virtual_time
async def test_an_async_save_is_not_for_sync_code(world: VirtualRuntime) -> None:
    async def save(key: str, value: object) -> None: ...

    cache = Cache("c")
    cache.set("k", "old")
    with pytest.raises(TypeError, match="await the `a` twin"):
        cache.write_through(save).set("k", "new")
    assert cache.get("k") is None


@places
@pytest.mark.parametrize("verb", ["aset", "adelete"])
def test_a_write_that_is_cancelled_anywhere_leaves_nothing_older(place: str, verb: str) -> None:
    async def scenario(trial: Trial) -> None:
        caches, rows = nodes(place), {"k": "old"}
        for each in caches:
            rough(each, trial.world)

        async def save(key: str, *value: str) -> None:
            await asyncio.sleep(0.01)  # noqa: TID251  virtual
            rows[key] = value[0] if value else "none"
            await asyncio.sleep(0.01)  # noqa: TID251

        async def load() -> str:
            return rows["k"]

        for each in caches:
            await each.aget("k", load)
        await asyncio.sleep(1)  # noqa: TID251
        users = caches[0].write_through(save, save)
        victim = trial.victim(getattr(users, verb)("k", *(["new"] if verb == "aset" else [])))
        await asyncio.wait({victim})
        if victim.cancelled():
            found = [await each.aget("k") for each in caches]
            assert set(found) <= ({None, "old"} if trial.where.startswith("before") else {None})
        assert [await each.aget("k", load) for each in caches] == [rows["k"]] * len(caches)
        await asyncio.sleep(61)  # noqa: TID251
        nothing_is_left_rough(*caches)

    assert cancel_everywhere(scenario) >= 4


def nothing_is_left_rough(*caches: Cache) -> None:
    nothing_is_left(*caches)
    for each in caches:
        assert len(each._levels.first.overlap) == 0


class Chance:
    """What `Rough` asks."""

    def __init__(self, rng: random.Random, naps: tuple[float, ...], share: float) -> None:
        self._rng, self._naps, self.share = rng, naps, share

    def nap(self) -> float:
        return self._rng.choice(self._naps)

    def broken(self) -> bool:
        return self._rng.random() < self.share

    def chance(self, share: float) -> bool:
        return self._rng.random() < share


def rough(cache: Cache, world: Any, naps: tuple[float, ...] = (0.01,), share: float = 0.0) -> None:
    second: Any = cache._levels.second
    if second is not None:
        second.store = Rough(second.store, Chance(world.rng, naps, share))  # type: ignore[arg-type]


# Every interleaving

NAPS = (0.0, 0.0, 0.001, 0.01, 0.03)
OPS = ("set", "set", "set", "set", "remove", "read", "read", "look", "tag", "key", "fails")
scripts = st.lists(
    st.tuples(st.sampled_from(OPS), st.integers(0, 1), st.sampled_from((0.0, 0.0, 0.005, 0.02))),
    min_size=2,
    max_size=8,
)
thorough = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
SEEDS = 8


class Play:
    """Writers and readers of one key on one or two nodes; their waits are drawn."""

    def __init__(
        self, place: str, runtime: Runtime, rng: random.Random, *, sync: bool, breaks: bool
    ) -> None:
        self.caches = [Cache("c", l2=url) for url in [shared()] for _ in range(PLACES[place][0])]
        if place == "l1":
            self.caches = [Cache("c")]
        self.runtime, self.rng, self.sync, self.rows = runtime, rng, sync, {"k": 0}
        self.chances = [Chance(rng, NAPS, 0.15 if breaks else 0.0) for _ in self.caches]
        self.numbers, self.failing, self.log = iter(range(1, 1000)), False, [""]
        for cache, chance in zip(self.caches, self.chances, strict=True):
            second: Any = cache._levels.second
            if second is not None:
                second.store = Rough(second.store, chance)  # type: ignore[arg-type]
        save, remove, fail, self.load = (
            self.coloured(each) for each in (self._save, self._remove, self._fail, self._load)
        )
        self.users = [each.write_through(save, remove, tags=["t"]) for each in self.caches]
        self.broken = [each.write_through(fail, tags=["t"]) for each in self.caches]

    def coloured(self, call: Callable[..., Any]) -> Callable[..., Any]:
        return (lambda *args: drive(call(*args))) if self.sync else call

    async def nap(self) -> None:
        await self.runtime.sleep(self.rng.choice(NAPS))

    async def _save(self, key: str, value: int) -> None:
        await self.nap()
        self.rows[key] = value
        self.log.append(f"{self.runtime.now():.3f} the source has {value}")
        await self.nap()

    async def _remove(self, key: str) -> None:
        await self._save(key, 0)

    async def _fail(self, key: str, value: int) -> None:
        await self._save(key, value)
        raise LookupError("the answer was lost")

    async def _load(self) -> int:
        await self.nap()
        value = self.rows["k"]
        await self.nap()
        return value

    async def call(self, object_: Any, verb: str, *args: Any, **how: Any) -> Any:
        if self.sync:
            return getattr(object_, verb)(*args, **how)
        return await getattr(object_, "a" + verb)(*args, **how)

    async def do(self, op: str, at: int) -> None:
        at %= len(self.caches)
        cache, number = self.caches[at], next(self.numbers)
        self.log.append(f"{self.runtime.now():.3f} {op} {number} at {at} begins")
        match op:
            case "set":
                await self.call(self.users[at], "set", "k", number)
            case "fails":
                with suppress(LookupError):
                    await self.call(self.broken[at], "set", "k", number)
            case "remove":
                await self.call(self.users[at], "delete", "k")
            case "read":
                await self.call(cache, "get", "k", self.load, tags=["t"])
            case "look":
                await self.call(cache, "get", "k")
            case "tag":
                await self.call(cache, "delete", tag="t")
            case "key":
                await self.call(cache, "delete", "k")
        self.log.append(f"{self.runtime.now():.3f} {op} {number} at {at} has ended")

    async def judge(self, *, breaks: bool) -> None:
        """All is over: no node has anything but what the source has."""
        for chance in self.chances:
            chance.share = 0.0
        if breaks:
            await self.runtime.sleep(20)
            for cache in self.caches:  # what is owed is paid before anything is read
                await self.call(cache, "get", "other")
        for cache in self.caches:
            found = await self.call(cache, "get", "k")
            assert found in {None, self.rows["k"]}, "\n".join([*self.log, f"found {found}"])
        await self.runtime.sleep(20)
        for cache in self.caches:
            found = await self.call(cache, "get", "k", self.load)
            assert found == self.rows["k"], "\n".join([*self.log, f"loaded {found}"])
            assert len(cache._levels.first.overlap) == 0


@places
@thorough
@given(script=scripts, breaks=st.booleans(), seed=st.integers(1, 2**20))
def test_tasks_never_leave_what_the_source_does_not_have(
    place: str, script: list[tuple[str, int, float]], breaks: bool, seed: int
) -> None:
    async def later(play: Play, world: VirtualRuntime, op: str, at: int, pause: float) -> None:
        await world.sleep(pause)
        await play.do(op, at)

    async def main(world: VirtualRuntime) -> None:
        play = Play(place, colours.loop, world.rng, sync=False, breaks=breaks)
        tasks = [world.spawn(later(play, world, *step)) for step in script]
        for task in tasks:
            await task
        await play.judge(breaks=breaks)

    for each in range(seed, seed + SEEDS):
        world = VirtualRuntime(each)
        try:
            world.run(main(world))
        finally:
            world.close()


@places
@thorough
@given(script=scripts, breaks=st.booleans(), seed=st.integers(1, 2**20))
def test_threads_never_leave_what_the_source_does_not_have(
    place: str, script: list[tuple[str, int, float]], breaks: bool, seed: int
) -> None:
    for each in range(seed, seed + SEEDS):
        stage = SteppedThreads(each)
        with stage.on():
            play = Play(place, stage, random.Random(each), sync=True, breaks=breaks)

            def later(op: str, at: int, pause: float) -> None:
                stage.wait(None, pause)  # noqa: B023  run in this round
                drive(play.do(op, at))  # noqa: B023

            for step in script:
                stage.spawn(lambda step=step: later(*step), step[0])  # type: ignore[misc]
            stage.run()
            stage.spawn(lambda: drive(play.judge(breaks=breaks)), "judge")  # noqa: B023
            stage.run()
