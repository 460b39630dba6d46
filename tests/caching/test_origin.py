"""A third level: asked last, told first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from tests.caching.asking import Ask, both_colours, in_virtual_time, levels, made
from tests.caching.test_write_through import Table

from escala.caching import Cache, HttpOrigin, Loaded, Purge
from escala.errors import ConfigError, OriginFailed
from escala.kernel.runtime import Runtime
from escala.testing import VirtualRuntime


class Edge:
    """An origin that keeps what it has fetched of `rows` until it is purged, as a CDN does."""

    def __init__(self, **rows: Any) -> None:
        self.rows, self.kept = rows, dict(rows)
        self.asked: list[str] = []
        self.told: list[Purge] = []
        self.takes = 0.0
        self.error: BaseException | None = None
        self.seen: list[Any] = []
        self.cache: Cache | None = None

    async def fetch(self, key: str, runtime: Runtime) -> Loaded[Any] | None:
        self.asked.append(key)
        await runtime.sleep(self.takes)
        if self.error is not None:
            raise self.error
        found = self.kept.get(key)
        return found if found is None or isinstance(found, Loaded) else Loaded(found)

    async def purge(self, purges: Sequence[Purge], runtime: Runtime) -> None:
        if self.cache is not None:
            entry = self.cache._levels.first.find("k", now=runtime.now())
            self.seen.append(entry and entry.value)
        await runtime.sleep(self.takes)
        if self.error is not None:
            raise self.error
        self.told += purges
        self.kept = dict(self.rows)


@both_colours
@levels
@in_virtual_time
async def test_it_is_asked_for_what_the_others_do_not_have(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    edge = Edge(k=Loaded("tea", ttl="10s±0%", tags=["t"]), other="milk")
    cache = made(two=two, l3=edge, negative_ttl="5s")
    for _ in range(2):
        assert await ask.get(cache, "k") == "tea"
        assert await ask.get(cache, "none") is None
        assert await ask.get(cache, "none", default=7) == 7
    assert (await ask.entry(cache, "other")).source == "load"
    assert (await ask.entry(cache, "other")).source == "l1"
    assert not await ask.entry(cache, "none")
    assert edge.asked == ["k", "none", "other"]
    world.advance(5)
    await ask.get(cache, "none")
    world.advance(5)
    await ask.get(cache, "k")
    assert edge.asked == ["k", "none", "other", "none", "k"]
    await ask.delete(cache, tag="t")
    await ask.get(cache, "k")
    assert edge.asked[-2:] == ["k", "k"]


@both_colours
@in_virtual_time
async def test_it_is_not_asked_by_those_who_have_a_load_or_only_look(
    world: VirtualRuntime, ask: Ask
) -> None:
    edge = Edge(k="edge")
    cache, table = made(l3=edge), Table(ask, k="table")
    memo = cache.memo("m")(table.load("k"))
    assert await ask.verb(memo, "peek") is None
    assert await table.get(cache, "k") == "table"
    assert edge.asked == []


@both_colours
@levels
@in_virtual_time
async def test_what_is_stale_stands_in_for_one_that_fails(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    edge = Edge(k="tea")
    cache = made(two=two, l3=edge, stale_if_error="1h")
    await ask.get(cache, "k")
    edge.error = OriginFailed("503")
    world.advance(61)
    assert await ask.get(cache, "k") == "tea"
    assert (await ask.entry(cache, "k")).source == "stale"
    with pytest.raises(OriginFailed):
        await ask.get(cache, "other")


@in_virtual_time
async def test_many_ask_it_once(world: VirtualRuntime) -> None:
    edge = Edge(k="tea")
    edge.takes = 0.1
    one, two = (Cache("c", l2="memory://edge", l3=edge) for _ in range(2))
    assert await asyncio.gather(*(each.aget("k") for each in (one, two) * 5)) == ["tea"] * 10
    assert edge.asked == ["k"]


@both_colours
@levels
@in_virtual_time
async def test_it_forgets_first_and_then_the_others(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    edge = Edge(k="old")
    cache = edge.cache = made(two=two, l3=edge)
    await ask.get(cache, "k")
    edge.rows["k"] = "new"
    await ask.delete(cache, "k")
    assert edge.seen == ["old"], "the first level still had it then"
    assert await ask.get(cache, "k") == "new"
    await ask.expire(cache, "k", tag="t", namespace="n")
    await ask.clear(cache)
    await ask.clear(cache, soft=True)
    assert edge.told == [
        Purge("key", "k"),
        Purge("key", "k", soft=True),
        Purge("tag", "t", soft=True),
        Purge("namespace", "n", soft=True),
        Purge("all", ""),
        Purge("all", "", soft=True),
    ]


@both_colours
@levels
@in_virtual_time
async def test_one_that_does_not_forget_is_an_error_when_the_others_have(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    edge = Edge(k="old")
    cache = made(two=two, l3=edge)
    for call in (
        lambda: ask.delete(cache, "k"),
        lambda: ask.delete(cache, tag="t"),
        lambda: ask.delete(cache, namespace="k"),
        lambda: ask.clear(cache),
    ):
        await ask.set(cache, "k", "old", tags=["t"])
        edge.error = OriginFailed("503")
        with pytest.raises(OriginFailed, match="503"):
            await call()
        edge.error, edge.kept = None, {}
        assert await ask.get(cache, "k") is None, "neither level has it"


@in_virtual_time
async def test_a_caller_who_does_not_wait_for_it_has_deleted_all_the_same(
    world: VirtualRuntime,
) -> None:
    for two in (False, True):
        edge = Edge(k="old")
        cache = made(two=two, l3=edge)
        await cache.aget("k")
        edge.takes, edge.kept = 10, {}
        deleting = asyncio.create_task(cache.adelete("k"))
        await world.sleep(1)
        deleting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deleting
        edge.takes = 0
        assert await cache.aget("k") is None


@both_colours
@levels
@in_virtual_time
async def test_writes_purge_it_before_anyone_can_have_the_old_value_from_it(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    edge = Edge(k="old")
    cache, table = made(two=two, l3=edge), Table(ask)
    table.rows = edge.rows
    await ask.get(cache, "k")
    users = cache.write_through(table.save, table.remove)
    await ask.verb(users, "set", "k", "new")
    assert edge.kept["k"] == "new"
    assert await ask.get(cache, "k") == "new"
    assert edge.asked == ["k"]
    edge.error = OriginFailed("503")
    with pytest.raises(OriginFailed):
        await ask.verb(users, "set", "k", "newer")
    edge.error, edge.kept = None, {"k": "new"}
    assert await ask.get(cache, "k") == "new", "it is not kept here"
    await ask.verb(users, "delete", "k")
    assert await ask.get(cache, "k") is None

    def save_many(writes: Any) -> None:
        edge.rows["k"] = writes[-1].value

    async with cache.write_behind(save_many, durability="memory") as writes:
        await ask.verb(writes, "set", "k", "last")
        await writes.aflush()
    assert edge.kept["k"] == "last"


@both_colours
@in_virtual_time
async def test_one_that_does_not_forget_does_not_have_a_batch_saved_again(
    world: VirtualRuntime, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[BaseException] = []
    monkeypatch.setattr("sys.excepthook", lambda kind, error, trace: shown.append(error))
    edge = Edge(k="old")
    batches: list[Any] = []
    cache = made(l3=edge)
    edge.error = OriginFailed("503")
    async with cache.write_behind(batches.append, durability="memory") as writes:
        await ask.verb(writes, "set", "k", "new")
        await writes.aflush()
    assert len(batches) == 1
    assert shown == [edge.error]


@both_colours
@in_virtual_time
async def test_a_key_too_long_to_be_asked_for(world: VirtualRuntime, ask: Ask) -> None:
    cache = made(l3=Edge())
    await ask.get(cache, "k" * 512)
    with pytest.raises(ValueError, match=r"at most 512 characters, for the third level .* 513"):
        await ask.get(cache, "k" * 513)


def test_what_is_no_origin(world: VirtualRuntime) -> None:
    wrong: Any = "https://origin.example/{key}"
    with pytest.raises(ConfigError, match="Cache: l3: expected an Origin, with fetch and purge"):
        Cache(l3=wrong)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"url": "https://o.example/"}, "HttpOrigin: url: expected an http URL with one {key}"),
        ({"decode": "yaml"}, "HttpOrigin: decode: expected 'json', 'bytes' or a function"),
        ({"timeout": 0}, "HttpOrigin: timeout: expected a duration above zero"),
        ({"max_size": "0"}, "HttpOrigin: max_size: expected"),
        ({"purge": "PURGE IT"}, "HttpOrigin: purge: expected an HTTP method"),
        ({"purge": ""}, "HttpOrigin: purge: expected an HTTP method"),
        ({"tags": "a:b"}, "HttpOrigin: tags: expected the name of a header"),
        ({"tags": 3}, "HttpOrigin: tags: expected the name of a header"),
    ],
    ids=repr,
)
def test_wrong_arguments_of_an_http_origin(how: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("{", r"\{")):
        HttpOrigin(**({"url": "https://o.example/{key}"} | how))


def test_without_httpx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    with pytest.raises(ConfigError, match=r"needs httpx: pip install 'escala\[http\]'"):
        HttpOrigin("https://o.example/{key}")


def test_it_shows_where_it_is_and_no_secret() -> None:
    assert (
        repr(HttpOrigin("https://o.example/{key}?s=x")) == "HttpOrigin('https://o.example/{key}')"
    )
