"""Results that are kept by key and version."""

from __future__ import annotations

import asyncio
from datetime import date
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from tests.caching.asking import Ask, both_colours, in_virtual_time, levels, made

from escala.caching import L1, Loaded
from escala.caching.events import CacheServed
from escala.errors import ConfigError
from escala.kernel.events import Event
from escala.testing import VirtualRuntime


class Labels:
    """Data with a version, and what was asked of it."""

    def __init__(self, ask: Ask, cache: Any, template: str = "label:{item}", **how: Any) -> None:
        self.version: dict[str, Any] = {}
        self.asked: list[tuple[str, Any]] = []

        def version_of(item: str) -> Any:
            return self.version[item]

        def label(item: str) -> str:
            self.asked.append((item, self.version[item]))
            return f"{item} {self.version[item]}"

        how = {"version": ask.coloured(version_of)} | how
        self.label = cache.versioned(template, **how)(ask.coloured(label))


@both_colours
@levels
@in_virtual_time
async def test_a_change_is_seen_at_once_and_old_versions_are_let_go(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache = made(two=two)
    labels = Labels(ask, cache, keep=1)
    for version in range(1, 30):
        labels.version["tea"] = version
        for _ in range(3):
            assert await ask.call(labels.label, "tea") == f"tea {version}"
        assert len(cache._levels.first.store.table) == min(version, 2)
    assert len(labels.asked) == 29
    labels.version["tea"] = 28
    assert await ask.call(labels.label, "tea") == "tea 28"
    assert len(labels.asked) == 29, "the one before is kept"
    labels.version["tea"] = 1
    assert await ask.call(labels.label, "tea") == "tea 1"
    assert len(labels.asked) == (29 if two else 30), "the second level has it till its time is up"
    assert cache.snapshot()["hits"] == 29 * 2 + 1


@both_colours
@in_virtual_time
async def test_none_before_it_is_kept_if_that_is_said(world: VirtualRuntime, ask: Ask) -> None:
    cache = made()
    labels = Labels(ask, cache, keep=0)
    for version in (1, 2, 3):
        labels.version["tea"] = version
        await ask.call(labels.label, "tea")
    assert len(cache._levels.first.store.table) == 1


@both_colours
@in_virtual_time
async def test_more_keys_than_are_known_by_version_keep_their_values(
    world: VirtualRuntime, ask: Ask
) -> None:
    cache = made(l1=L1(20_000))
    labels = Labels(ask, cache)
    for key in range(10_050):
        labels.version[f"{key}"] = 1
        await ask.call(labels.label, f"{key}")
    for key in range(0, 10_050, 50):
        await ask.call(labels.label, f"{key}")
    assert len(labels.asked) == 10_050


class Colour(Enum):
    RED = "red"


@both_colours
@pytest.mark.parametrize(
    "version", ["v1", 7, 1.5, True, date(2026, 1, 2), UUID(int=5), Colour.RED, b"x", "", "a@b:c%d"]
)
@in_virtual_time
async def test_versions_are_what_can_be_in_a_key(
    world: VirtualRuntime, ask: Ask, version: Any
) -> None:
    labels = Labels(ask, made())
    labels.version["tea"] = version
    if version == b"x":
        with pytest.raises(TypeError, match=r"expected text, a number, .* found bytes"):
            await ask.call(labels.label, "tea")
        return
    for _ in range(2):
        assert await ask.call(labels.label, "tea") == f"tea {version}"
    assert len(labels.asked) == 1


@both_colours
@pytest.mark.parametrize(
    ("version", "said"),
    [
        (None, "version_of: expected a version, found None: raise an error for what does not"),
        (object(), "version_of: expected text, a number, a UUID, an enum or a date in a key"),
        ([1], "version_of: expected text, .* found list"),
    ],
)
@in_virtual_time
async def test_what_is_no_version(world: VirtualRuntime, ask: Ask, version: Any, said: str) -> None:
    labels = Labels(ask, made())
    labels.version["tea"] = version
    with pytest.raises(TypeError, match=said):
        await ask.call(labels.label, "tea")
    assert labels.asked == []


@both_colours
@in_virtual_time
async def test_a_version_that_cannot_be_told_is_the_callers_error(
    world: VirtualRuntime, ask: Ask
) -> None:
    labels = Labels(ask, made())
    with pytest.raises(KeyError):
        await ask.call(labels.label, "tea")


@both_colours
@in_virtual_time
async def test_keys_and_versions_with_the_same_signs_are_kept_apart(
    world: VirtualRuntime, ask: Ask
) -> None:
    cache = made()
    labels = Labels(ask, cache)
    pairs = [("a@1", "2"), ("a", "1@2"), ("a:%@1", "2"), ("a", "1:%@2"), ("a%3A", ""), ("a:", "")]
    for key, version in pairs:
        labels.version = {key: version}
        assert await ask.call(labels.label, key) == f"{key} {version}"
    assert labels.asked == pairs


@both_colours
@pytest.mark.parametrize("template", ["label:{item}", "label"])
@in_virtual_time
async def test_a_namespace_has_all_its_versions(
    world: VirtualRuntime, ask: Ask, template: str
) -> None:
    cache = made()
    labels = Labels(ask, cache, template)
    for version in (1, 2):
        labels.version["tea"] = version
        await ask.call(labels.label, "tea")
    await ask.delete(cache, namespace="label")
    await ask.call(labels.label, "tea")
    assert len(labels.asked) == 3


@both_colours
@levels
@in_virtual_time
async def test_long_versions_are_short_keys(world: VirtualRuntime, ask: Ask, two: bool) -> None:
    cache = made(two=two)
    labels = Labels(ask, cache)
    for end in "ab":
        labels.version["tea"] = "v" * 100_000 + end
        for _ in range(2):
            assert (await ask.call(labels.label, "tea"))[-1] == end
    assert len(labels.asked) == 2
    assert all(len(str(key)) <= 513 for key in cache._levels.first.store.table)


@both_colours
@in_virtual_time
async def test_hits_are_told(world: VirtualRuntime, ask: Ask, events: list[Event]) -> None:
    labels = Labels(ask, made())
    labels.version["tea"] = 1
    for _ in range(2):
        await ask.call(labels.label, "tea")
    assert [each.source for each in events if isinstance(each, CacheServed)] == ["load", "l1"]


@in_virtual_time
async def test_of_many_callers_of_a_new_version_one_loads(world: VirtualRuntime) -> None:
    cache, loads = made(two=True), 0

    async def version(item: str) -> int:
        await world.sleep(0.01)
        return 1

    @cache.versioned("label:{item}", version=version)
    async def label(item: str) -> Loaded[str]:
        nonlocal loads
        loads += 1
        await world.sleep(0.1)
        return Loaded(item, ttl="10s±0%")

    assert await asyncio.gather(*(label("tea") for _ in range(5))) == ["tea"] * 5
    assert loads == 1
    world.advance(9.8)
    await label("tea")
    assert loads == 1
    world.advance(0.2)
    await label("tea")
    assert loads == 2


@in_virtual_time
async def test_a_sync_function_takes_no_async_version(world: VirtualRuntime) -> None:
    async def version(item: str) -> int:
        return 1

    label = made().versioned("label:{item}", version=version)(lambda item: item)
    with pytest.raises(TypeError, match="give a `def` to versioned, or decorate an `async def`"):
        label("tea")


@in_virtual_time
async def test_an_async_function_takes_a_sync_version(world: VirtualRuntime) -> None:
    @made().versioned("label:{item}", version=lambda item: 1)
    async def label(item: str) -> str:
        return item

    assert await label("tea") == "tea"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"keep": -1}, "versioned: keep: expected a number from 0 on, found -1"),
        ({"keep": True}, "versioned: keep: expected a number from 0 on, found true"),
        ({"keep": "2"}, "versioned: keep: expected a number from 0 on, found '2'"),
        ({"version": 3}, "versioned: version: expected a function of the same arguments, found 3"),
    ],
)
def test_wrong_arguments_are_refused(world: VirtualRuntime, how: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made().versioned("label:{item}", **({"version": str} | how))


def test_a_key_that_does_not_fit_is_refused(world: VirtualRuntime) -> None:
    with pytest.raises(ConfigError, match="found nothing_such"):
        made().versioned("label:{nothing_such}", version=str)(lambda item: item)
