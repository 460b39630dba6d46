"""A function that is asked for many things at once, in both colours."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from tests.caching.asking import Ask, Source, both_colours, in_virtual_time, levels, made, shared

from escala.caching.events import CacheLoaded, CacheServed
from escala.errors import CannotEncode, ConfigError
from escala.kernel.events import Event
from escala.testing import VirtualRuntime


@dataclass(frozen=True)
class Order:
    id: int


class Table:
    """A source of what is asked for at once; it notes what it was asked for."""

    def __init__(self, *absent: int, takes: float = 0.0) -> None:
        self.asked: list[list[int]] = []
        self.absent, self.takes = absent, takes

    def found(self, ids: Iterable[int]) -> dict[int, Any]:
        ids = list(ids)
        self.asked.append(ids)
        return {n: Order(n) for n in ids if n not in self.absent}

    def rows(self, ids: list[int]) -> dict[int, Order]:
        return self.found(ids)

    def all(self, ids: list[int], shop: str = "s", *, lang: str = "en") -> dict[int, Order]:
        return self.found(ids)

    def slowly(self, world: VirtualRuntime) -> Any:
        async def slowly(ids: list[int]) -> dict[int, Order]:
            found = self.found(ids)
            await world.sleep(self.takes)
            return found

        return slowly


def orders(*ids: int) -> dict[int, Order]:
    return {n: Order(n) for n in ids}


@both_colours
@levels
@in_virtual_time
async def test_it_is_asked_once_for_what_is_missing(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    table = Table()
    batch = made(two=two).batch("order:{id}")(ask.coloured(table.rows))
    assert await ask.call(batch, [1, 2, 3]) == orders(1, 2, 3)
    assert await ask.call(batch, [2, 3]) == orders(2, 3)
    assert await ask.call(batch, [3, 4, 1, 5]) == orders(1, 3, 4, 5)
    assert await ask.call(batch, []) == {}
    assert table.asked == [[1, 2, 3], [4, 5]]
    world.advance(60)
    assert await ask.call(batch, [1, 4]) == orders(1, 4)
    assert table.asked[2:] == [[1, 4]]


@both_colours
@in_virtual_time
async def test_the_answer_has_the_order_of_the_items_and_each_once(
    world: VirtualRuntime, ask: Ask
) -> None:
    table = Table(4)
    batch = made().batch("order:{id}")(ask.coloured(table.rows))
    await ask.call(batch, [2])
    answer = await ask.call(batch, [3, 2, 4, 1, 2, 3])
    assert list(answer) == [3, 2, 1]
    assert table.asked == [[2], [3, 4, 1]]


@both_colours
@in_virtual_time
async def test_any_iterable_is_a_list_of_items(world: VirtualRuntime, ask: Ask) -> None:
    table = Table()
    batch = made().batch("order:{id}")(ask.coloured(table.rows))
    assert await ask.call(batch, (n for n in (1, 2))) == orders(1, 2)
    assert await ask.call(batch, ids=(3, 2)) == orders(2, 3)
    assert await ask.call(batch, {1: "a"}) == orders(1)
    assert table.asked == [[1, 2], [3]], "the function itself gets lists"
    with pytest.raises(TypeError, match="ids: expected a list, found str"):
        await ask.call(batch, "12")
    with pytest.raises(TypeError, match="not iterable"):
        await ask.call(batch, 7)
    with pytest.raises(TypeError, match="id: expected text, a number"):
        await ask.call(batch, [[1]])


@both_colours
@in_virtual_time
async def test_items_whose_text_is_one_are_one(world: VirtualRuntime, ask: Ask) -> None:
    table = Table()
    batch = made().batch("order:{id}")(ask.coloured(table.rows))
    assert await ask.call(batch, [1, "1"]) == {1: Order(1), "1": Order(1)}
    assert table.asked == [[1]]


@both_colours
@in_virtual_time
async def test_other_arguments_are_passed_on_and_count_if_the_key_names_them(
    world: VirtualRuntime, ask: Ask
) -> None:
    table, seen = Table(), []

    def rows(shop: str, ids: list[int], *, lang: str = "en") -> dict[int, Order]:
        seen.append((shop, lang))
        return table.found(ids)

    batch = made().batch("order:{id}:{lang}")(ask.coloured(rows))
    await ask.call(batch, "corner", [1, 2])
    await ask.call(batch, "other", [2, 3], lang="en")
    await ask.call(batch, "other", ids=[2, 3], lang="de")
    assert table.asked == [[1, 2], [3], [2, 3]]
    assert seen == [("corner", "en"), ("other", "en"), ("other", "de")]


@both_colours
@in_virtual_time
async def test_items_may_have_attributes(world: VirtualRuntime, ask: Ask) -> None:
    asked = []

    def names(orders: list[Order]) -> dict[Order, str]:
        asked.append(orders)
        return {order: f"name {order.id}" for order in orders}

    batch = made().batch("name:{order.id}")(ask.coloured(names))
    assert await ask.call(batch, [Order(1), Order(2)]) == {Order(1): "name 1", Order(2): "name 2"}
    assert await ask.call(batch, [Order(2)]) == {Order(2): "name 2"}
    assert asked == [[Order(1), Order(2)]]


@both_colours
@levels
@in_virtual_time
async def test_a_batch_and_a_get_of_its_keys_are_one(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache, table = made(two=two), Table()
    batch = cache.batch("order:{id}")(ask.coloured(table.rows))
    await ask.call(batch, [1, 2, 3])
    assert await ask.get(cache, "order:2") is not None
    await ask.delete(cache, "order:2")
    await ask.set(cache, "order:3", None)
    assert await ask.call(batch, [1, 2, 3]) == orders(1, 2) | {3: None}, "None is a value, too"
    await ask.delete(cache, namespace="order")
    await ask.call(batch, [1])
    assert table.asked == [[1, 2, 3], [2], [1]]


# What is not there


@both_colours
@levels
@in_virtual_time
async def test_what_is_not_there_is_asked_for_again(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    odd: list[dict[str, Any]] = [{}, {"negative_ttl": 0}]
    for options in odd:
        table, cache = Table(2), made(two=two)
        batch = cache.batch("order:{id}", **options)(ask.coloured(table.rows))
        assert await ask.call(batch, [1, 2]) == orders(1)
        assert await ask.call(batch, [1, 2]) == orders(1)
        assert table.asked == [[1, 2], [2]]
        assert cache.snapshot()["entries"] == 1


@both_colours
@levels
@in_virtual_time
async def test_what_is_not_there_is_remembered_with_a_negative_ttl(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    table, cache = Table(2), made(two=two, negative_ttl="5s")
    batch = cache.batch("order:{id}")(ask.coloured(table.rows))
    for _ in range(2):
        assert await ask.call(batch, [1, 2]) == orders(1)
    assert await ask.get(cache, "order:2", default="none") == "none"
    cache._levels.first.store.clear()
    assert await ask.call(batch, [2]) == {}
    assert table.asked == [[1, 2]] if two else [[1, 2], [2]]
    world.advance(5)
    table.absent = ()
    assert await ask.call(batch, [1, 2]) == orders(1, 2)


@both_colours
@levels
@in_virtual_time
async def test_what_is_there_no_more_does_not_stand_in(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    table, cache = Table(), made(two=two, stale_if_error="1h")
    batch = cache.batch("order:{id}")(ask.coloured(table.rows))
    await ask.call(batch, [1])
    world.advance(60)
    table.absent = (1,)
    assert await ask.call(batch, [1]) == {}
    down = Source(ConnectionError("down"))
    with pytest.raises(ConnectionError):
        await ask.get(cache, "order:1", down)


# Loaders that do otherwise


@both_colours
@in_virtual_time
async def test_what_was_not_asked_for_is_left_out(world: VirtualRuntime, ask: Ask) -> None:
    def rows(ids: list[int]) -> dict[int, Order]:
        return orders(1, 2, 3, 99)

    cache = made()
    batch = cache.batch("order:{id}")(ask.coloured(rows))
    assert await ask.call(batch, [1, 2]) == orders(1, 2)
    assert cache.snapshot()["entries"] == 2


@both_colours
@pytest.mark.parametrize("found", [[1], None, "text", {1, 2}], ids=repr)
@in_virtual_time
async def test_what_is_no_dict_is_an_error(world: VirtualRuntime, ask: Ask, found: Any) -> None:
    def rows(ids: list[int]) -> Any:
        return found

    for fn in (ask.coloured(rows), partial(ask.coloured(rows))):
        batch = made().batch("order:{id}")(fn)
        with pytest.raises(TypeError, match=rf"expected a dict .*, found {type(found).__name__}"):
            await ask.call(batch, [1])


@both_colours
@levels
@in_virtual_time
async def test_an_error_of_the_load_is_that_of_the_call_and_what_is_kept_stays(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    error: list[Exception] = []

    def rows(ids: list[int]) -> dict[int, Order]:
        if error:
            raise error[0]
        return orders(*ids)

    cache = made(two=two)
    batch = cache.batch("order:{id}")(ask.coloured(rows))
    await ask.call(batch, [1])
    error.append(ConnectionError("down"))
    with pytest.raises(ConnectionError) as caught:
        await ask.call(batch, [1, 2, 3])
    assert caught.value is error[0]
    assert await ask.call(batch, [1]) == orders(1)
    error.clear()
    assert await ask.call(batch, [1, 2, 3]) == orders(1, 2, 3)


@both_colours
@levels
@in_virtual_time
async def test_stale_values_stand_in_for_those_that_have_one(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    error: list[Exception] = []

    def rows(ids: list[int]) -> dict[int, Order]:
        if error:
            raise error[0]
        return orders(*ids)

    batch = made(two=two, stale_if_error="1h").batch("order:{id}")(ask.coloured(rows))
    await ask.call(batch, [1, 2])
    world.advance(60)
    error.append(ConnectionError("down"))
    assert await ask.call(batch, [1, 2]) == orders(1, 2)
    with pytest.raises(ConnectionError):
        await ask.call(batch, [1, 2, 3])


@both_colours
@in_virtual_time
async def test_a_value_that_the_codec_cannot_carry_spoils_no_other(
    world: VirtualRuntime, ask: Ask
) -> None:
    def rows(ids: list[int]) -> dict[int, Any]:
        return {n: object() if n == 2 else n for n in ids}

    cache = made(two=True)
    batch = cache.batch("order:{id}")(ask.coloured(rows))
    with pytest.raises(CannotEncode):
        await ask.call(batch, [1, 2, 3])
    assert await ask.call(batch, [1, 3]) == {1: 1, 3: 3}
    assert await ask.get(cache, "order:1") == 1
    assert await ask.get(cache, "order:2") is None


# Many callers


@levels
@in_virtual_time
async def test_overlapping_callers_load_each_key_once(world: VirtualRuntime, two: bool) -> None:
    table = Table(takes=1)
    batch = made(two=two).batch("order:{id}")(table.slowly(world))
    first = asyncio.ensure_future(batch([1, 2]))
    await world.sleep(0.5)
    second = asyncio.ensure_future(batch([2, 3]))
    third = asyncio.ensure_future(batch([3, 1, 2]))
    assert await first == orders(1, 2)
    assert world.now() == 1
    assert list(await third) == [3, 1, 2]
    assert await second == orders(2, 3)
    assert world.now() == 1.5
    assert table.asked == [[1, 2], [3]]


@in_virtual_time
async def test_a_caller_who_is_cancelled_disturbs_no_other(world: VirtualRuntime) -> None:
    table = Table(takes=1)
    batch = made().batch("order:{id}")(table.slowly(world))
    first = asyncio.ensure_future(batch([1, 2]))
    await world.sleep(0.5)
    second = asyncio.ensure_future(batch([2]))
    await world.sleep(0)
    first.cancel()
    assert await second == orders(2)
    assert table.asked == [[1, 2]]
    assert await batch([1]) == orders(1), "the load went on"
    assert table.asked == [[1, 2]]


@in_virtual_time
async def test_who_waits_for_a_load_that_fails_gets_its_error(world: VirtualRuntime) -> None:
    async def rows(ids: list[int]) -> dict[int, int]:
        await world.sleep(1)
        if 1 in ids:
            raise ConnectionError
        return {n: n for n in ids}

    batch = made().batch("order:{id}")(rows)
    first = asyncio.ensure_future(batch([1, 2]))
    await world.sleep(0.5)
    with pytest.raises(ConnectionError):
        await batch([2, 3])
    with pytest.raises(ConnectionError):
        await first
    assert await batch([2, 3]) == {2: 2, 3: 3}


@levels
@in_virtual_time
async def test_what_is_deleted_during_a_load_is_not_kept(world: VirtualRuntime, two: bool) -> None:
    table = Table(takes=1)
    cache = made(two=two)
    batch = cache.batch("order:{id}")(table.slowly(world))
    asking = asyncio.ensure_future(batch([1, 2, 3]))
    await world.sleep(0.5)
    await cache.adelete("order:2")
    assert await asking == orders(1, 2, 3)
    assert await batch([1, 2, 3]) == orders(1, 2, 3)
    assert table.asked == [[1, 2, 3], [2]]


@both_colours
@in_virtual_time
async def test_a_thousand_items_are_one_load_and_one_look_into_the_second_level(
    world: VirtualRuntime, ask: Ask
) -> None:
    url, table, ids = shared(), Table(), list(range(1000))
    first, second = made(l2=url), made(l2=url)
    assert await ask.call(first.batch("order:{id}")(ask.coloured(table.rows)), ids) == orders(*ids)
    looks = []
    store = second._second.store  # type: ignore[union-attr]
    read = store.read

    async def looked(keys: Any, *args: Any, **kwargs: Any) -> Any:
        looks.append(len(keys))
        return await read(keys, *args, **kwargs)

    store.read = looked  # type: ignore[method-assign]
    batch = second.batch("order:{id}")(ask.coloured(table.rows))
    assert await ask.call(batch, ids) == orders(*ids)
    assert table.asked == [ids]
    assert looks == [1000]
    assert second.snapshot()["l2_hits"] == 1000
    assert await ask.call(batch, ids) == orders(*ids)
    assert second.snapshot()["hits"] == 1000


# How it is made


@both_colours
@levels
@in_virtual_time
async def test_tags_come_from_the_arguments_and_each_result(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    table = Table(4)
    cache = made(two=two, negative_ttl="1h")
    batch = cache.batch(
        "order:{id}", tags=("all", "shop:{shop}", "odd:{result.id.real}"), items="ids"
    )(ask.coloured(table.all))
    await ask.call(batch, [1, 2, 4], "corner")
    await ask.call(batch, [3, 4], "other")
    assert table.asked == [[1, 2, 4], [3]]
    await ask.delete(cache, tag="odd:1")
    await ask.call(batch, [1, 2, 3, 4], "corner")
    assert table.asked[2:] == [[1]]
    await ask.delete(cache, tag="shop:corner")
    await ask.call(batch, [1, 2, 3, 4], "corner")
    assert table.asked[3:] == [[1, 2, 4]], "also that there is none was a result for that shop"
    await ask.delete(cache, tag="all")
    await ask.call(batch, [1, 2, 3, 4])
    assert table.asked[4:] == [[1, 2, 3, 4]]


@both_colours
@in_virtual_time
async def test_tags_may_be_a_function_of_each_result(world: VirtualRuntime, ask: Ask) -> None:
    table, cache = Table(2), made(negative_ttl="1h")
    batch = cache.batch("order:{id}", tags=lambda order: [f"o{order.id}"])(ask.coloured(table.rows))
    await ask.call(batch, [1, 2, 3])
    await ask.delete(cache, tag="o3")
    await ask.call(batch, [1, 2, 3])
    assert table.asked == [[1, 2, 3], [3]]


@both_colours
@in_virtual_time
async def test_the_time_of_each_result_may_come_from_it(world: VirtualRuntime, ask: Ask) -> None:
    table = Table()
    batch = made().batch("order:{id}", ttl=lambda order: order.id)(ask.coloured(table.rows))
    await ask.call(batch, [0, 5, 50])
    world.advance(6)
    await ask.call(batch, [0, 5, 50])
    assert table.asked == [[0, 5, 50], [0, 5]]


@both_colours
@in_virtual_time
async def test_values_come_back_as_the_annotation_says(world: VirtualRuntime, ask: Ask) -> None:
    url = shared()
    table = Table()
    await ask.call(made(l2=url).batch("order:{id}")(ask.coloured(table.rows)), [1])
    back = await ask.call(made(l2=url).batch("order:{id}")(ask.coloured(table.rows)), [1])
    assert back == orders(1)
    assert table.asked == [[1]]


@both_colours
@in_virtual_time
async def test_counts_and_events_tell_of_each_item(
    world: VirtualRuntime, ask: Ask, events: list[Event]
) -> None:
    table, cache = Table(3), made()
    batch = cache.batch("order:{id}")(ask.coloured(table.rows))
    await ask.call(batch, [1, 2, 3])
    await ask.call(batch, [1])
    loaded = [event.key for event in events if isinstance(event, CacheLoaded)]
    served = [(e.key, e.source) for e in events if isinstance(e, CacheServed)]
    assert loaded == ["order:1", "order:2"]
    assert served == [("order:1", "load"), ("order:2", "load"), ("order:1", "l1")]
    counts = cache.snapshot()
    assert (counts["loads"], counts["misses"], counts["hits"]) == (1, 3, 1)


def test_a_decorator_serves_several_functions(world: VirtualRuntime) -> None:
    batch = made().batch("n:{id}")
    first = batch(lambda ids: dict.fromkeys(ids, "first"))
    second = batch(lambda ids: dict.fromkeys(ids, "second"))
    assert (first([1]), second([2]), second([1])) == ({1: "first"}, {2: "second"}, {1: "first"})


def test_the_function_looks_as_it_did() -> None:
    table = Table()
    batch = made().batch("order:{id}")(table.rows)
    assert batch.__name__ == "rows"
    assert inspect.signature(batch) == inspect.signature(table.rows)
    assert not inspect.iscoroutinefunction(batch)
    assert inspect.iscoroutinefunction(made().batch("o:{id}")(table.slowly(VirtualRuntime())))


def test_a_key_that_does_not_fit_the_function_is_refused_when_it_is_applied() -> None:
    def rows(ids: list[int], shop: str) -> dict[int, int]:
        return {}

    for key, items, message in (
        ("order:{shop}", None, "expected one field for an item of the list that rows takes"),
        ("order:{id}:{other}", None, "found id, other"),
        ("order:{n}", None, "expected an argument 'ns' of rows that is the list"),
        ("order:{id}", "rows", "expected an argument 'rows' of rows that is the list"),
    ):
        with pytest.raises(ConfigError, match=message):
            made().batch(key, items=items)(rows)
    with pytest.raises(ConfigError, match="which takes ids, shop, result; found id"):
        made().batch("order:{id}", tags=("{id}",))(rows)
    with pytest.raises(TypeError, match="expected several, such as"):
        made().batch("order:{id}", tags="t")(rows)


def test_a_def_that_returns_a_coroutine_is_told_what_to_decorate(world: VirtualRuntime) -> None:
    slowly = Table().slowly(world)
    batch = made().batch("order:{id}")(lambda ids: slowly(ids))  # noqa: PLW0108
    with pytest.raises(TypeError, match="decorate the `async def` itself"):
        batch([1])
