"""Writes that are saved later, and the cache in front of them: who sees which value when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.caching.asking import Ask, Async, both_colours, in_virtual_time, levels, made
from tests.caching.scene import Rough
from tests.caching.test_write_through import NAPS, Away, Chance, Table, nodes, rough

from escala.caching import Cache, Write, WriteBehind
from escala.errors import CannotEncode, Undecodable
from escala.kernel.runtime import colours
from escala.testing import VirtualRuntime

both_savers = pytest.mark.parametrize("saver", ["save_many", "asave_many"])


class Rows:
    """A source that saves batches."""

    def __init__(self, **rows: Any) -> None:
        self.rows = dict(rows)
        self.poison: set[str] = set()
        self.batches: list[list[Write]] = []
        self.away = False
        self.during: Callable[[], None] = lambda: None

    def save_many(self, writes: list[Write]) -> None:
        self.batches.append(writes)
        if self.away or any(write.key in self.poison for write in writes):
            raise OSError("cannot save that")
        for write in writes:
            if write.deleted:
                self.rows.pop(write.key, None)
            else:
                self.rows[write.key] = write.value
        self.during()

    async def asave_many(self, writes: list[Write]) -> None:
        await colours.loop.sleep(0.01)
        self.save_many(writes)

    def add_many(self, writes: list[Write]) -> None:
        for write in writes:
            self.rows[write.key] = self.rows.get(write.key, 0) + write.value


def behind(cache: Cache, save: Callable[[list[Write]], Any], **how: Any) -> WriteBehind:
    durability = "journal" if "journal" in how else "memory"
    return cache.write_behind(save, **{"durability": durability, "flush": "200ms"} | how)


async def put(ask: Ask, writes: WriteBehind, key: str, value: Any) -> None:
    await ask.verb(writes, "set", key, value)


@both_colours
@both_savers
@pytest.mark.parametrize("place", ["l1", "l1+l2", "two nodes"])
@in_virtual_time
async def test_this_process_reads_its_writes_at_once_and_others_when_they_are_saved(
    world: VirtualRuntime, ask: Ask, saver: str, place: str
) -> None:
    rows = Rows(k="old")
    caches, table = nodes(place), Table(ask)
    table.rows = rows.rows
    for each in caches:
        await table.get(each, "k")
    async with behind(caches[0], getattr(rows, saver)) as writes:
        await put(ask, writes, "k", "new")
        assert await ask.get(caches[0], "k") == "new"
        assert await table.get(caches[0], "k") == "new"
        assert (await ask.entry(caches[0], "k")).source == "pending"
        assert (await ask.entry(caches[0], "k")).value == "new"
        if place == "two nodes":
            assert await table.get(caches[1], "k") == "old"
        assert rows.rows["k"] == "old"
        await writes.aflush()
        assert rows.rows["k"] == "new"
        assert [await table.get(each, "k") for each in caches] == ["new"] * len(caches)
        assert (await ask.entry(caches[0], "k")).source == "l1"
        await ask.verb(writes, "delete", "k")
        assert await ask.get(caches[0], "k", default="none") == "none"
        assert await table.get(caches[0], "k") is None, "it is not loaded while it is to go"
        if place == "two nodes":
            assert await table.get(caches[1], "k") == "new"
        await writes.aflush()
        assert [await table.get(each, "k") for each in caches] == [None] * len(caches)
        assert caches[0]._levels.first.ahead == {}


@both_colours
@in_virtual_time
async def test_memos_and_batches_see_it_too(world: VirtualRuntime, ask: Ask) -> None:
    cache, rows = made(l1=None), Rows(**{"u:1": "old", "u:2": "two"})

    @cache.memo("u:{id}")
    @ask.coloured
    def user(id: int) -> str | None:  # noqa: A002
        return rows.rows.get(f"u:{id}")

    @cache.batch("u:{id}")
    @ask.coloured
    def users(ids: list[int]) -> dict[int, str]:
        return {id: rows.rows[f"u:{id}"] for id in ids}  # noqa: A001

    async with behind(cache, rows.save_many) as writes:
        await put(ask, writes, "u:1", "new")
        assert await ask.call(user, 1) == "new"
        assert await ask.verb(user, "peek", 1) == "new"
        assert await ask.verb(user, "refresh", 1) == "new"
        assert await ask.call(users, [1, 2]) == {1: "new", 2: "two"}
        await ask.verb(writes, "delete", "u:1")
        assert await ask.call(user, 1) is None
        assert await ask.call(users, [1, 2]) == {2: "two"}


@both_colours
@levels
@in_virtual_time
async def test_after_a_restart_what_the_journal_has_is_read(
    world: VirtualRuntime, ask: Ask, two: bool, tmp_path: Path
) -> None:
    rows, journal = Rows(a="old", b="old"), f"sqlite:///{tmp_path}/wb.db"
    rows.away = True
    async with behind(made(two=two), rows.save_many, journal=journal, drain="1s") as writes:
        await put(ask, writes, "a", "new")
        await ask.verb(writes, "delete", "b")
    rows.away = False
    cache, table = made(two=two), Table(ask)
    table.rows = rows.rows
    async with behind(cache, rows.save_many, journal=journal) as writes:
        assert (await ask.entry(cache, "a")).source == "pending"
        assert await table.get(cache, "a") == "new"
        assert await table.get(cache, "b") is None
        assert rows.rows == {"a": "old", "b": "old"}
        await writes.aflush()
    assert rows.rows == {"a": "new"}
    assert [await table.get(cache, key) for key in "ab"] == ["new", None]


@both_colours
@both_savers
@in_virtual_time
async def test_changes_are_read_when_they_are_saved(
    world: VirtualRuntime, ask: Ask, saver: str
) -> None:
    rows, caches, table = Rows(k=5), nodes("two nodes"), Table(ask)
    table.rows = rows.rows

    async def add(writes: list[Write]) -> None:
        rows.add_many(writes)

    saving = rows.add_many if saver == "save_many" else add
    async with behind(caches[0], saving, merge=lambda old, new: old + new) as views:
        assert [await table.get(each, "k") for each in caches] == [5, 5]
        for _ in range(3):
            await put(ask, views, "k", 1)
        assert [await table.get(each, "k") for each in caches] == [5, 5]
        await views.aflush()
        assert [await table.get(each, "k") for each in caches] == [8, 8]


@both_colours
@in_virtual_time
async def test_of_a_batch_that_partly_fails_each_key_is_as_the_source_has_it(
    world: VirtualRuntime, ask: Ask
) -> None:
    rows, caches, table = Rows(a="old", b="old"), nodes("two nodes", ttl="1h±0%"), Table(ask)
    table.rows, rows.poison = rows.rows, {"b"}
    for each in caches:
        for key in "ab":
            await table.get(each, key)
    async with behind(caches[0], rows.save_many, park_after=2, drain="1s") as writes:
        await put(ask, writes, "a", "new")
        await put(ask, writes, "b", "bad")
        await world.sleep(0.3)
        assert [await table.get(each, "a") for each in caches] == ["new", "new"]
        assert await table.get(caches[0], "b") == "bad"
        assert await table.get(caches[1], "b") == "old"
        for _ in range(50):
            await put(ask, writes, "c", "fine")
            await world.sleep(0.3)
        assert [each.key for each in writes.parked()] == ["b"]
        assert (await ask.entry(caches[0], "b")).source == "pending"
        await put(ask, writes, "b", "newer")
        rows.poison = set()
        await writes.aflush()
        assert [await table.get(each, "b") for each in caches] == ["newer", "newer"]
        assert caches[0]._levels.first.ahead == {}


@both_colours
@both_savers
@in_virtual_time
async def test_a_second_level_that_is_away_at_the_flush_hears_of_it_later(
    world: VirtualRuntime, ask: Ask, saver: str
) -> None:
    rows, caches, table = Rows(k="old"), nodes("two nodes", ttl="1h±0%"), Table(ask)
    table.rows = rows.rows
    way = Away(caches[0])
    for each in caches:
        await table.get(each, "k")
    async with behind(caches[0], getattr(rows, saver)) as writes:
        await put(ask, writes, "k", "new")
        way.away = True
        await writes.aflush()
        assert rows.rows["k"] == "new"
        assert len(rows.batches) == 1, "that is no reason to save it again"
        assert await table.get(caches[0], "k") == "new"
        caches[0]._levels.first.forget("k")
        assert await table.get(caches[0], "k") == "new", "not what the second level has"
        way.away = False
        await world.sleep(5)
        await ask.get(caches[0], "other")
        assert [await table.get(each, "k") for each in caches] == ["new", "new"]


class Refusing:
    """A codec that carries nothing but one value."""

    def dumps(self, value: object, kind: Any, key: str) -> bytes:
        if value != "old":
            raise CannotEncode("it is not old")
        return b"old"

    def loads(self, payload: bytes, kind: Any, key: str) -> object:
        if payload != b"old":
            raise Undecodable("it is not old")
        return "old"


@both_colours
@in_virtual_time
async def test_a_value_that_the_second_level_cannot_carry_takes_the_old_one_away(
    world: VirtualRuntime, ask: Ask
) -> None:
    rows, caches = Rows(k="old"), nodes("two nodes", codec=Refusing(), wait="1s")
    table = Table(ask)
    table.rows = rows.rows
    for each in caches:
        await table.get(each, "k")
    async with behind(caches[0], rows.save_many) as writes:
        await put(ask, writes, "k", "new")
        await writes.aflush()
        assert len(rows.batches) == 1
        assert [await ask.get(each, "k") for each in caches] == ["new", None]
        began = world.now()
        with pytest.raises(CannotEncode):
            await table.get(caches[1], "k")
        assert world.now() == began, "no lease is left to wait for"


@both_colours
@levels
@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("verb", ["get", "refresh"])
@in_virtual_time
async def test_a_load_that_began_before_a_write_is_not_kept(
    world: VirtualRuntime, ask: Ask, two: bool, deleted: bool, verb: str
) -> None:
    cache, rows, table = made(two=two), Rows(k="old"), Table(ask)
    table.rows = rows.rows
    async with behind(cache, rows.save_many) as writes:

        async def load() -> Any:
            found = rows.rows.get("k")
            await change(ask, writes, deleted)
            return found

        memo = cache.memo("k")(table._coloured(load))
        assert await ask.call(memo) == "old" if verb == "get" else await ask.verb(memo, verb)
        now = None if deleted else "new"
        assert await ask.get(cache, "k") == now
        await writes.aflush()
        assert await ask.get(cache, "k") == now
        assert rows.rows.get("k") == now


async def change(ask: Ask, writes: WriteBehind, deleted: bool) -> None:
    if deleted:
        await ask.verb(writes, "delete", "k")
    else:
        await put(ask, writes, "k", "new")


@both_colours
@levels
@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("verb", ["serve", "renew", "look"])
@pytest.mark.parametrize("evicted", [False, True])
@in_virtual_time
async def test_a_write_between_the_look_at_the_journal_and_the_load_is_not_overwritten(
    world: VirtualRuntime, ask: Ask, *, two: bool, deleted: bool, verb: str, evicted: bool
) -> None:
    """As it may happen between two threads."""
    cache, rows, table = made(two=two), Rows(k="old"), Table(ask)
    table.rows = rows.rows
    async with behind(cache, rows.save_many) as writes:
        memo = cache.memo("k")(table.load("k"))
        await ask.call(memo)  # so that the second level has the old value
        cache._levels.first.forget("k")
        reader: Any = cache._desk._reader
        original = getattr(reader, verb)

        async def late(*args: Any) -> Any:
            await change(ask, writes, deleted)
            if evicted:
                cache._levels.first.forget("k")
            return await original(*args)

        setattr(reader, verb, late)
        if verb == "serve":
            await ask.call(memo)
        else:
            await ask.verb(memo, "refresh" if verb == "renew" else "peek")
        setattr(reader, verb, original)
        now = None if deleted else "new"
        assert await ask.get(cache, "k") == now
        assert rows.rows == {"k": "old"}
        await writes.aflush()
        assert await ask.call(memo) == rows.rows.get("k") == now


@both_colours
@levels
@in_virtual_time
async def test_a_load_across_the_flush_is_not_kept(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    rows, cache = Rows(k=5), made(two=two)
    async with behind(cache, rows.add_many, merge=lambda old, new: old + new) as views:
        await put(ask, views, "k", 1)

        async def slow() -> int:
            found: int = rows.rows["k"]
            await views.aflush()
            return found

        if ask.name == "async":
            assert await cache.aget("k", slow) == 5
            assert await cache.aget("k", Table(ask, k=6).load("k")) == 6


@both_colours
@levels
@in_virtual_time
async def test_a_lifetime_that_fails_takes_the_old_value_away(
    world: VirtualRuntime, ask: Ask, two: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[BaseException] = []
    monkeypatch.setattr("sys.excepthook", lambda kind, error, trace: shown.append(error))
    rows, cache = Rows(k="old"), made(two=two)
    await ask.set(cache, "k", "old")

    def ttl(value: object) -> str:
        raise LookupError(value)

    async with behind(cache, rows.save_many, ttl=ttl) as writes:
        await put(ask, writes, "k", "new")
        assert await ask.get(cache, "k") == "new"
        await writes.aflush()
        assert await ask.get(cache, "k") is None
    assert [repr(error) for error in shown] == ["LookupError('new')"]
    assert len(rows.batches) == 1


@both_colours
@levels
@in_virtual_time
async def test_a_write_that_goes_through_is_not_ahead_of_the_source(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    rows, cache, table = Rows(k="old"), made(two=two), Table(ask)
    table.rows = rows.rows
    await table.get(cache, "k")
    how = {"max_pending": 1, "on_full": "write_through"}
    async with behind(cache, rows.save_many, **how) as writes:
        await writes.aset("other", 1)
        await writes.aset("k", "new")
        assert rows.rows["k"] == "new"
        assert "k" not in cache._levels.first.ahead
        assert await table.get(cache, "k") == "new"
        await ask.delete(cache, "k")
        rows.rows["k"] = "newer"
        assert await table.get(cache, "k") == "newer"
        assert await ask.get(cache, "k") == "newer"


@both_colours
@in_virtual_time
async def test_what_is_lost_is_loaded_and_kept_again(world: VirtualRuntime, ask: Ask) -> None:
    rows, cache, table = Rows(k="old"), made(), Table(ask)
    table.rows, rows.away = rows.rows, True
    writes = behind(cache, rows.save_many, drain=0)
    async with writes:
        await put(ask, writes, "k", "lost")
    assert await ask.get(cache, "k") == "lost", "for as long as a value is good"
    world.advance(60)
    for _ in range(2):
        assert await table.get(cache, "k") == "old"
    assert await ask.get(cache, "k") == "old"
    assert table.loads == 1
    assert cache._levels.first.ahead == {}


@both_colours
@in_virtual_time
async def test_a_journal_that_is_anothers_hides_no_source(
    world: VirtualRuntime, ask: Ask, tmp_path: Path
) -> None:
    rows, journal = Rows(k="old"), f"sqlite:///{tmp_path}/wb.db"
    one, other, table = made(), made(), Table(ask)
    table.rows = rows.rows
    async with behind(one, rows.save_many, journal=journal, flush="10s") as writes:
        behind(other, rows.save_many, journal=journal)
        await put(ask, writes, "k", "new")
        assert await table.get(one, "k") == "new"
        assert await table.get(other, "k") == "old"


@both_colours
@levels
@in_virtual_time
async def test_long_keys(world: VirtualRuntime, ask: Ask, two: bool) -> None:
    key, rows, cache = "k" * 2000, Rows(), made(two=two)
    async with behind(cache, rows.save_many) as writes:
        await put(ask, writes, key, "new")
        assert await ask.get(cache, key) == "new"
        assert (await ask.entry(cache, key)).source == "pending"
        await writes.aflush()
        assert rows.rows == {key: "new"}
        assert (await ask.entry(cache, key)).source == "l1"
        await ask.verb(writes, "delete", key)
        await writes.aflush()
        assert await ask.get(cache, key) is None
        told: Any = writes._given.told
        assert told.__self__._whole == {}


@in_virtual_time
async def test_a_delete_of_the_cache_does_not_undo_a_write(world: VirtualRuntime) -> None:
    rows, cache = Rows(k="old"), made()
    async with behind(cache, rows.save_many) as writes:
        await writes.aset("k", "new")
        await cache.adelete("k")
        assert await cache.aget("k") == "new"
        await writes.aflush()
        assert await cache.aget("k") is None


@in_virtual_time
async def test_a_look_across_the_flush_is_not_kept(world: VirtualRuntime) -> None:
    rows, cache = Rows(k=5), made(two=True)
    async with behind(cache, rows.add_many, merge=lambda old, new: old + new) as views:
        assert await cache.aget("k", Table(Async, k=5).load("k")) == 5
        await views.aset("k", 1)
        cache._levels.first.forget("k")
        second: Any = cache._levels.second
        naps = iter([0.0, 5.0])
        chance: Any = Away(cache)
        chance.nap = lambda: next(naps, 0.0)
        assert isinstance(second.store, Rough)
        looking = world.spawn(cache.aget("k"))
        await world.sleep(1)
        await views.aflush()
        assert await looking == 5, "it asked before"
        assert await cache.aget("k") is None


@in_virtual_time
async def test_a_write_during_the_flush_of_the_one_before(world: VirtualRuntime) -> None:
    rows, cache = Rows(k="old"), made()
    async with behind(cache, rows.asave_many) as writes:
        await writes.aset("k", 1)
        await world.sleep(0.205)
        await writes.aset("k", 2)
        await world.sleep(0.01)
        assert rows.rows["k"] == 1
        assert cache._levels.first.ahead == {"k": 2}
        assert await cache.aget("k") == 2
        await writes.aflush()
        assert await cache.aget("k") == 2
        assert cache._levels.first.ahead == {}


@both_colours
@in_virtual_time
async def test_a_lagging_source_is_not_believed_after_the_flush(
    world: VirtualRuntime, ask: Ask
) -> None:
    caches, rows, replica = nodes("two nodes", lag="2s"), Rows(), Table(ask, k="replica")
    async with behind(caches[0], rows.save_many) as writes:
        await put(ask, writes, "k", "new")
        await writes.aflush()
        assert await replica.get(caches[1], "k") == "replica", "given"
        assert await ask.get(caches[1], "k") is None, "and not kept"
        assert await ask.get(caches[0], "k") == "new"


@both_colours
@in_virtual_time
async def test_a_write_that_cannot_be_read_any_more_hides_no_source(
    world: VirtualRuntime, ask: Ask, tmp_path: Path
) -> None:
    rows, journal = Rows(k="old"), f"sqlite:///{tmp_path}/wb.db"
    rows.away = True
    async with behind(made(), rows.save_many, journal=journal, drain=0) as writes:
        await put(ask, writes, "k", "text")
    cache, table = made(), Table(ask, k="old")
    behind(cache, rows.save_many, journal=journal, kind=int)
    assert await table.get(cache, "k") == "old"


OPS = ("set", "set", "set", "delete", "get", "get", "other", "other", "look", "forget", "flush")
scripts = st.lists(
    st.tuples(st.sampled_from(OPS), st.sampled_from((0.0, 0.0, 0.01, 0.05, 0.2))),
    min_size=3,
    max_size=12,
)


@pytest.mark.parametrize("place", ["l1", "l1+l2", "two nodes"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    script=scripts,
    saver=st.sampled_from(["save_many", "asave_many"]),
    breaks=st.booleans(),
    seed=st.integers(1, 2**20),
)
def test_no_one_goes_back_in_time(
    place: str, script: list[tuple[str, float]], saver: str, breaks: bool, seed: int
) -> None:
    for each in range(seed, seed + 6):
        world = VirtualRuntime(each)
        try:
            world.run(Story(world, place, saver, breaks=breaks).run(script))
        finally:
            world.close()


class Story:
    """One key, one writer, and readers on all nodes."""

    def __init__(self, world: VirtualRuntime, place: str, saver: str, *, breaks: bool) -> None:
        self.world, self.breaks, self.rows, self.caches = world, breaks, Rows(k=0), nodes(place)
        self.chance = Chance(world.rng, NAPS, 0.15 if breaks else 0.0)
        for each in self.caches:
            rough(each, world, NAPS)
        second: Any = self.caches[0]._levels.second
        if second is not None:
            second.store._scene = self.chance
        self.writes = behind(self.caches[0], getattr(self.rows, saver))
        self.number = self.mine = self.flushed = 0  # the last write, acknowledged, saved
        self.log = [""]

    async def load(self) -> int:
        await self.world.sleep(self.world.rng.choice(NAPS))
        found: int = self.rows.rows.get("k", -1)
        await self.world.sleep(self.world.rng.choice(NAPS))
        return found

    async def run(self, script: list[tuple[str, float]]) -> None:
        async with self.writes:
            at, tasks = 0.0, []
            for op, pause in script:
                at += pause
                tasks.append(self.world.spawn(self.do(op, at)))
            for task in tasks:
                await task
            await self.end()

    async def do(self, op: str, at: float) -> None:
        await self.world.sleep(at)
        mine, flushed = self.mine, self.flushed
        self.log.append(f"{self.world.now():.3f} {op} begins, {mine=} {flushed=}")
        match op:
            case "set":
                self.number += 1
                value = self.number
                await self.writes.aset("k", value)
                self.mine = max(self.mine, value)
            case "delete":
                await self.writes.adelete("k")
            case "flush":
                await self.writes.aflush()
                if not self.breaks:
                    self.flushed = max(self.flushed, mine)
            case "forget":
                self.caches[0]._levels.first.forget("k")
            case "get" | "look":
                load = None if op == "look" else self.load
                self.judge(op, await self.caches[0].aget("k", load), mine)
            case "other":
                alone = len(self.caches) == 1
                found = await self.caches[-1].aget("k", self.load)
                self.judge(op, found, mine if alone else flushed)

    def judge(self, op: str, found: int | None, floor: int) -> None:
        self.log.append(f"{self.world.now():.3f} {op} got {found}, not below {floor}")
        if found is not None and found >= 0:
            assert found >= floor, "\n".join(self.log)

    async def end(self) -> None:
        """All is saved, and the second level is back: everyone has what the source has."""
        await self.writes.aflush()
        self.chance.share = 0.0
        await self.world.sleep(20)
        for each in self.caches:
            await each.aget("other")
        now = self.rows.rows.get("k", -1)
        for each in self.caches:
            found = await each.aget("k", self.load)
            assert found == now or (found is None and now < 0), "\n".join(self.log)
            assert each._levels.first.ahead == {}
