"""What users do that no one should: it is refused in plain words, or does no harm."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Any

import pytest
from tests.caching.asking import Ask, Source, both_colours, in_virtual_time, levels, made, shared

from escala import L1, Cache
from escala.errors import ConfigError
from escala.testing import VirtualRuntime

# What a cache shows of itself


@pytest.mark.parametrize(
    "url", ["redis://ann:sesame@localhost:1", "redis://localhost?password=sesame"]
)
def test_no_password_is_shown(url: str) -> None:
    cache = Cache("shop", l2=url)
    assert "sesame" not in repr(cache)
    assert "localhost" in repr(cache)
    cache.close()


@pytest.mark.parametrize("name", [5, None, b"shop", "redis://:sesame@localhost"])
def test_a_name_is_text_and_no_url(name: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"Cache: name: expected text.*a store is given as l2"
    ) as no:
        Cache(name)
    assert "sesame" not in str(no.value)


@pytest.mark.parametrize("codec", [json, pickle, type("Own", (), {"dumps": 1, "loads": 2})])
def test_a_module_or_a_class_is_no_codec(codec: Any) -> None:
    with pytest.raises(ConfigError, match="codec: expected a name or a codec, found <"):
        Cache("shop", codec=codec)


def test_weigh_is_a_function() -> None:
    weigh: Any = 3
    with pytest.raises(ConfigError, match="L1: weigh: expected a function of a value, found 3"):
        L1(weigh=weigh)


@pytest.mark.parametrize("second", [None, "memory://copied"])
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_cache_is_not_copied(second: str | None, way: Callable[[Cache], object]) -> None:
    cache = Cache("shop", l2=second)
    with pytest.raises(TypeError, match="shop: a cache cannot be copied or pickled: make one"):
        way(cache)


# What is not text, or no name


@both_colours
@pytest.mark.parametrize("tag", [5, ["a", "b"], ("a",), b"a"], ids=repr)
@in_virtual_time
async def test_a_tag_is_text(world: VirtualRuntime, ask: Ask, tag: Any) -> None:
    cache, source = made(), Source()
    with pytest.raises(TypeError, match=f"expected a tag of text, found {type(tag).__name__}"):
        await ask.delete(cache, tag=tag)
    with pytest.raises(TypeError, match="expected a tag of text"):
        await ask.get(cache, "k", source, tags=[tag])
    assert source.calls == 0


@both_colours
@in_virtual_time
async def test_a_namespace_that_no_key_has_is_refused(world: VirtualRuntime, ask: Ask) -> None:
    cache = made()
    for name in ("order:", "order:7", "x" * 480):
        with pytest.raises(ValueError, match="expected a namespace: at most 479 characters, what"):
            await ask.delete(cache, namespace=name)
    wrong: Any = 5
    with pytest.raises(TypeError, match="expected a namespace of text, found int"):
        await ask.expire(cache, namespace=wrong)
    longest = "x" * 479
    await ask.set(cache, f"{longest}:{'y' * 1000}", 1)
    await ask.delete(cache, namespace=longest)
    assert await ask.get(cache, f"{longest}:{'y' * 1000}") is None


@both_colours
@levels
@in_virtual_time
async def test_a_tag_of_a_megabyte_is_a_tag(world: VirtualRuntime, ask: Ask, two: bool) -> None:
    cache, tag = made(two=two), "t" * 1_000_000
    for own in (tag, tag + "u"):
        await ask.get(cache, own[-3:], Source(own), tags=[own])
    await ask.delete(cache, tag=tag)
    assert await ask.get(cache, "ttt") is None
    assert await ask.get(cache, "ttu") == tag + "u"


@both_colours
@in_virtual_time
async def test_no_key_can_be_made_that_is_another_ones_digest(
    world: VirtualRuntime, ask: Ask
) -> None:
    cache = made()
    await ask.set(cache, "k" * 513, "theirs")
    [kept] = cache._levels.first.store.table
    assert await ask.get(cache, str(kept)) is None
    assert await ask.get(cache, "k" * 513) == "theirs"


# What is no load, and what is no value


@both_colours
@pytest.mark.parametrize("load", [0, "abc"])
@in_virtual_time
async def test_a_default_in_the_place_of_a_load(world: VirtualRuntime, ask: Ask, load: Any) -> None:
    cache = made()
    with pytest.raises(TypeError, match=r"load: expected a function.* give .* as `default=`"):
        await cache.aget("k", load) if ask.name == "async" else cache.get("k", load)
    assert cache.snapshot()["load_errors"] == 0


def _generator() -> Iterator[int]:
    yield 1


async def _agenerator() -> AsyncIterator[int]:
    yield 1


@both_colours
@levels
@pytest.mark.parametrize("make", [_generator, _agenerator])
@in_virtual_time
async def test_what_can_be_read_only_once_is_not_kept(
    world: VirtualRuntime, ask: Ask, two: bool, make: Callable[[], object]
) -> None:
    cache = made(two=two)
    message = (
        "expected a value that can be given more than once, found a (async_)?generator for 'k'"
    )
    with pytest.raises(TypeError, match=message):
        await ask.get(cache, "k", Source(make()))
    with pytest.raises(TypeError, match=message):
        await ask.set(cache, "k", make())
    assert await ask.get(cache, "k") is None


def test_memo_without_its_parentheses_is_refused_where_it_stands() -> None:
    cache = made()
    fn: Any = len
    for decorator in (cache.memo, cache.batch):
        with pytest.raises(ConfigError, match=r"key: expected text such as 'user:\{id\}', found <"):
            decorator(fn)


# Errors


class Outcome(BaseException):
    """As test frameworks have them."""


@both_colours
@levels
@in_virtual_time
async def test_an_error_that_is_no_exception_is_everyones_and_ends_one_load(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache, source = made(two=two), Source(Outcome("failed"))
    with pytest.raises(Outcome, match="failed"):
        await ask.get(cache, "k", source)
    assert source.calls == 1
    assert await ask.get(cache, "k", Source(7)) == 7


@in_virtual_time
async def test_a_thousand_who_get_one_error_do_not_add_to_its_traceback(
    world: VirtualRuntime,
) -> None:
    cache, source = made(), Source(RuntimeError("down"), takes=1.0)
    asked = (cache.aget("k", source.later) for _ in range(1000))
    errors = await asyncio.gather(*asked, return_exceptions=True)
    assert len(set(map(id, errors))) == 1
    frames: list[str] = []
    trace: TracebackType | None = errors[0].__traceback__ if errors[0] else None
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert len(frames) < 20
    assert frames[-2:] == ["later", "_end"]  # and where it came from is still there


# Counting


@in_virtual_time
async def test_who_waits_for_another_ones_load_is_counted(world: VirtualRuntime) -> None:
    cache, source = made(), Source(takes=1.0)
    await asyncio.gather(*(cache.aget("k", source.later) for _ in range(5)))
    assert cache.snapshot()["coalesced"] == 4


# Ending


@in_virtual_time
async def test_a_block_in_async_code_closes(world: VirtualRuntime) -> None:
    url = shared()
    async with Cache("x", l2=url) as cache:
        assert await cache.aget("k", lambda: 1) == 1
    assert await cache.aget("k") == 1
    assert cache.snapshot()["l2_away"] == 0


@both_colours
@in_virtual_time
async def test_a_closed_cache_does_without_the_second_level_and_keeps_nothing_for_long(
    world: VirtualRuntime, ask: Ask
) -> None:
    url = shared()
    cache, other = Cache("c", l2=url, ttl="1h"), Cache("c", l2=url, ttl="1h")
    await ask.get(cache, "k", Source("old"))
    cache.close()
    cache.close()
    await ask.delete(other, "k")
    await ask.set(other, "j", "theirs")
    assert await ask.get(cache, "j") is None
    assert await ask.get(cache, "j", Source("own")) == "own"
    world.advance(1.0)  # half of max_stale
    assert await ask.get(cache, "k", Source("new")) == "new"
    assert await ask.get(other, "j") == "theirs"
    assert await ask.delete(cache, "k") is False
    other.close()


# A finalizer that comes back


class Returning:
    """A value whose end uses its cache."""

    def __init__(self, cache: Cache, number: int) -> None:
        self.cache, self.number = cache, number

    def __del__(self) -> None:
        cache, number = self.cache, self.number
        cache.set(f"k:{number % 37}", number)
        cache.get(f"k:{number % 41}")
        cache.delete(f"k:{number % 5}")
        assert cache.get(f"k:{number % 5}") is None


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("l1", [L1(7), L1(20, max_weight=2000, weigh=lambda _: 100)], ids=repr)
def test_a_value_may_use_its_cache_when_it_ends(l1: L1) -> None:
    cache = Cache("final", l1=l1)
    for number in range(3000):
        cache.set(f"k:{number % 50}", Returning(cache, number))
    store = cache._levels.first.store
    assert len(store.table) <= l1.max_entries
    places = [*store._small, *store._main]
    assert len(places) == len(set(places))
    assert set(store.table) <= set(places)


# Forks


def test_a_forked_child_does_not_wait_for_a_load_of_its_parent() -> None:
    cache = Cache("c", l2=shared())
    loading, go_on = threading.Event(), threading.Event()

    def load() -> int:
        loading.set()
        go_on.wait(10)
        return 1

    thread = threading.Thread(target=cache.get, args=("k", load))
    thread.start()
    loading.wait(10)
    child = os.fork()
    if not child:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(cache.get("k", lambda: 2)))
        thread.start()
        thread.join(3)
        os._exit(0 if found == [2] else 1)
    _, status = os.waitpid(child, 0)
    go_on.set()
    thread.join()
    assert status == 0
