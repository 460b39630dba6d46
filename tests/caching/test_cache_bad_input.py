"""What makes no sense is refused at once, with what was found and what was expected."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tests.caching.asking import Ask, Source, both_colours, in_virtual_time, levels, made

from escala import L1, Cache, codec_of
from escala.caching.events import CacheUndecodable
from escala.errors import CannotEncode, ConfigError
from escala.kernel.events import subscribe
from escala.testing import VirtualRuntime


@both_colours
@pytest.mark.parametrize("key", [7, None, b"k", ("a", 1), 1.5], ids=repr)
@in_virtual_time
async def test_a_key_is_text(world: VirtualRuntime, ask: Ask, key: Any) -> None:
    cache = made()
    message = f"expected a key of text, found {type(key).__name__}"
    with pytest.raises(TypeError, match=message):
        await ask.get(cache, key, Source())
    with pytest.raises(TypeError, match=message):
        await ask.get(cache, key)
    with pytest.raises(TypeError, match=message):
        await ask.entry(cache, key)
    with pytest.raises(TypeError, match=message):
        await ask.set(cache, key, 1)
    with pytest.raises(TypeError, match=message):
        await ask.delete(cache, "k", key)
    with pytest.raises(TypeError, match=message):
        await ask.expire(cache, key)


@both_colours
@pytest.mark.parametrize("key", [["a"], {}, set()], ids=repr)
@in_virtual_time
async def test_a_key_that_cannot_be_hashed_is_refused(
    world: VirtualRuntime, ask: Ask, key: Any
) -> None:
    cache = made()
    for call in (
        lambda: ask.get(cache, key, Source()),
        lambda: ask.set(cache, key, 1),
        lambda: ask.delete(cache, key),
    ):
        with pytest.raises(TypeError, match=r"unhashable type|expected a key of text"):
            await call()


@both_colours
@levels
@in_virtual_time
async def test_text_of_a_kind_of_its_own_is_text(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    class Key(str):
        __slots__ = ()

    cache = made(two=two)
    await ask.set(cache, Key("k"), 1)
    assert await ask.get(cache, "k") == 1
    assert await ask.get(cache, Key("k")) == 1


@both_colours
@levels
@in_virtual_time
async def test_text_that_is_no_unicode_is_a_key_all_the_same(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache = made(two=two)
    for key in ("\ud800", "a\0b", "x" * 600 + "\udfff"):
        assert await ask.get(cache, key, Source()) == "v1"
        await ask.delete(cache, key)
        assert await ask.get(cache, key) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ttl": -1}, "ttl: expected a duration above zero"),
        ({"ttl": 0}, "ttl: expected a duration above zero"),
        ({"ttl": math.nan}, "ttl: expected a duration above zero"),
        ({"ttl": math.inf}, "ttl: expected a duration above zero"),
        ({"ttl": "5m±"}, "ttl: expected a duration above zero"),
        ({"ttl": "5m±100%"}, "ttl: expected a duration above zero"),
        ({"ttl": "-5m±10%"}, "ttl: expected a duration above zero"),
        ({"ttl": len}, "ttl: expected a duration above zero"),
        ({"negative_ttl": -1}, "negative_ttl: expected a duration"),
        ({"stale_while_revalidate": "-1s"}, "stale_while_revalidate: expected a duration"),
        ({"stale_if_error": math.nan}, "stale_if_error: expected a duration"),
        ({"refresh_early": 1}, "refresh_early: expected"),
        ({"soft_timeout": 0}, "soft_timeout: expected a duration above zero"),
        ({"hard_timeout": 0}, "hard_timeout: expected a duration above zero"),
        ({"wait": 0}, "wait: expected a duration above zero"),
        ({"l1_ttl": 0}, "l1_ttl: expected a duration above zero"),
        ({"l2_largest": 0}, "l2_largest: expected a size above zero"),
        ({"lag": -1}, "lag: expected a duration"),
        ({"max_stale": 0}, "max_stale: expected a duration above zero"),
        ({"codec": "yaml"}, "codec: expected"),
        ({"codec": 7}, "codec: expected a name or a codec"),
        ({"codec": "pickle"}, "secret: expected one"),
        ({"l2": 7}, "l2: expected"),
        ({"l2": "localhost"}, "l2: expected a URL such as"),
        ({"l2": "mongo://x"}, "mongo"),
        ({"l2": "memory://"}, "l2: expected a name such as 'memory://shared'"),
        ({"l2": "memory://a?b"}, "l2: expected a name such as 'memory://shared'"),
        ({"l1": 0}, "L1: max_entries: expected"),
        ({"l1": -1}, "L1: max_entries: expected"),
        ({"l1": True}, "L1: max_entries: expected"),
        ({"l1": "10"}, "L1: max_entries: expected"),
        ({"l1": 10.5}, "L1: max_entries: expected"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Cache("test", **options)


def test_a_name_that_is_no_option_is_refused() -> None:
    with pytest.raises(TypeError, match="ttll"):
        Cache("test", ttll="5m")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Cache("test", 100)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Cache("test").get("k", default=1, ttt=1)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "given",
    [
        {"max_entries": 0},
        {"max_entries": 1.5},
        {"max_entries": 10**10},
        {"max_weight": 0},
        {"max_weight": "lots"},
        {"max_weight": -5},
    ],
    ids=str,
)
def test_a_first_level_of_no_size_is_refused(given: dict[str, Any]) -> None:
    [name] = given
    with pytest.raises(ConfigError, match=f"L1: {name}: expected"):
        L1(**given)


@both_colours
@levels
@pytest.mark.parametrize("ttl", [-1, 0, math.nan, "soon", "1s±200%"], ids=repr)
@in_virtual_time
async def test_a_lifetime_of_a_call_that_is_none_is_refused_and_nothing_is_loaded(
    world: VirtualRuntime, ask: Ask, two: bool, ttl: Any
) -> None:
    cache, source = made(two=two), Source()
    message = "ttl: expected a duration above zero"
    with pytest.raises(ConfigError, match=message):
        await ask.get(cache, "k", source, ttl=ttl)
    with pytest.raises(ConfigError, match=message):
        await ask.entry(cache, "k", source, ttl=ttl)
    with pytest.raises(ConfigError, match=message):
        await ask.set(cache, "k", 1, ttl=ttl)
    assert source.calls == 0


@both_colours
@in_virtual_time
async def test_one_text_as_tags_is_refused(world: VirtualRuntime, ask: Ask) -> None:
    with pytest.raises(TypeError, match=r"expected several tags, such as \('t',\), found one text"):
        await ask.get(made(), "k", Source(), tags="t")


@levels
@in_virtual_time
async def test_an_async_load_is_not_for_a_sync_get(world: VirtualRuntime, two: bool) -> None:
    cache, source = made(two=two), Source()
    for ask in (cache.get, cache.entry):
        with pytest.raises(TypeError, match="await `aget` instead of `get`"):
            ask("k", source.later)
    assert cache.get("k") is None
    assert source.calls == 0, "it was closed before its first step"


@both_colours
@levels
@in_virtual_time
async def test_what_is_no_function_is_an_error_of_the_call(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache = made(two=two)
    for odd in (7, "value"):
        with pytest.raises(TypeError, match="load: expected a function without arg"):
            await cache.aget("k", odd) if ask.name == "async" else cache.get("k", odd)  # type: ignore[call-overload]


@both_colours
@in_virtual_time
async def test_a_value_that_the_codec_cannot_carry_is_an_error_of_the_call(
    world: VirtualRuntime, ask: Ask
) -> None:
    for codec in ("msgpack", "json"):
        cache = made(two=True, codec=codec)
        await ask.set(cache, "k", "before")
        for value in ((1, 2), {1: "a", "1": "b"}, object(), float("nan"), "\ud800"):
            if codec == "msgpack" and isinstance(value, (dict, float)):
                continue  # which msgpack has
            with pytest.raises(CannotEncode, match=f"{codec} cannot carry this"):
                await ask.get(cache, "other", Source(value))
            with pytest.raises(CannotEncode):
                await ask.set(cache, "k", value)
            assert await ask.get(cache, "other") is None
        assert await ask.get(cache, "k") == "before"
        alone = made(codec=codec)
        assert await ask.get(alone, "k", Source((1, 2))) == (1, 2)


@both_colours
@in_virtual_time
async def test_a_codec_of_ones_own_whose_reading_fails_makes_misses(
    world: VirtualRuntime, ask: Ask
) -> None:
    class Odd:
        def dumps(self, value: object, kind: Any, key: str) -> bytes:
            return codec_of("json").dumps(value, kind, key)

        def loads(self, payload: bytes, kind: Any, key: str) -> object:
            raise KeyError(key)

    cache, told = made(two=True, codec=Odd(), l1=None), list[CacheUndecodable]()
    source, stop = Source(), subscribe(CacheUndecodable, told.append)
    assert [await ask.get(cache, "k", source) for _ in range(3)] == ["v1", "v2", "v3"]
    stop()
    assert {each.cause for each in told} == {"KeyError('k')"}
    assert cache.snapshot()["undecodable"] == len(told) > 0


@both_colours
@pytest.mark.parametrize("weight", [math.nan, "heavy", None], ids=repr)
@in_virtual_time
async def test_a_weight_that_is_none_is_an_error_of_the_call(
    world: VirtualRuntime, ask: Ask, weight: Any
) -> None:
    cache = made(l1=L1(10, max_weight=100, weigh=lambda _: weight))
    with pytest.raises((TypeError, ValueError)):
        await ask.get(cache, "k", Source())
    assert await ask.get(cache, "k") is None


@both_colours
@in_virtual_time
async def test_a_weight_below_one_is_one(world: VirtualRuntime, ask: Ask) -> None:
    cache = made(l1=L1(10, max_weight=100, weigh=lambda _: -5))
    await ask.set(cache, "k", 1)
    assert cache.snapshot()["weight"] == 1
