"""Functions whose results are kept, in both colours."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
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

from escala import Cache
from escala.errors import CannotEncode, ConfigError
from escala.testing import VirtualRuntime

if TYPE_CHECKING:
    from elsewhere import Unknown  # type: ignore[import-not-found]


@dataclass
class Order:
    id: int
    customer: str = "c"


class Item(msgspec.Struct):
    name: str


# Keys and arguments


@both_colours
@levels
@in_virtual_time
async def test_results_are_kept_by_the_arguments_that_the_key_names(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    calls: list[Any] = []

    def price(item: str, count: int = 1, *, currency: str = "EUR") -> str:
        calls.append((item, count, currency))
        return f"{item} {count} {currency}"

    memoized = made(two=two).memo("price:{item}:{currency}")(ask.coloured(price))
    assert await ask.call(memoized, "tea") == "tea 1 EUR"
    assert await ask.call(memoized, "tea", 5) == "tea 1 EUR", "no field names the count"
    assert await ask.call(memoized, item="tea", currency="EUR") == "tea 1 EUR"
    assert await ask.call(memoized, "tea", currency="USD") == "tea 1 USD"
    assert await ask.call(memoized, "milk") == "milk 1 EUR"
    assert len(calls) == 3
    assert memoized.key("tea", currency="USD") == "price:tea:USD"
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'item'"):
        await ask.call(memoized)
    with pytest.raises(TypeError, match="unexpected keyword argument 'money'"):
        await ask.call(memoized, "tea", money="EUR")


@both_colours
@in_virtual_time
async def test_a_memo_and_a_get_of_its_key_are_one(world: VirtualRuntime, ask: Ask) -> None:
    cache, source = made(), Source()
    memoized = cache.memo("user:{n}")(ask.coloured(lambda n: source.now()))
    assert await ask.call(memoized, 7) == "v1"
    assert await ask.get(cache, "user:7") == "v1"
    await ask.delete(cache, namespace="user")
    assert await ask.call(memoized, UUID(int=7)) == "v2"
    assert await ask.call(memoized, 7) == "v3"


@both_colours
@in_virtual_time
async def test_an_argument_that_has_no_text_is_refused(world: VirtualRuntime, ask: Ask) -> None:
    memoized = made().memo("user:{n}")(ask.coloured(lambda n: n))
    for odd in (object(), [7], {"n": 7}, b"7"):
        with pytest.raises(TypeError, match=r"n: expected text, a number, .*; found"):
            await ask.call(memoized, odd)


def test_a_key_that_does_not_fit_the_function_is_refused_when_it_is_applied() -> None:
    def user(n: int) -> int:
        return n

    for key, message in (
        ("user:{ids}", "expected arguments of user, which takes n; found ids"),
        ("user:{n}{x}", "expected ':' between"),
        ("user:{n!r}", "expected an argument such as"),
        ("user:{", "double a brace"),
        (7, "key: expected text"),
    ):
        with pytest.raises(ConfigError, match=message):
            made().memo(key)(user)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"found \*\*more"):
        made().memo("user:{n}")(lambda n, **more: n)


@both_colours
@in_virtual_time
async def test_methods_are_told_apart_only_by_what_the_key_names(
    world: VirtualRuntime, ask: Ask
) -> None:
    cache = made()
    source = Source()

    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        @cache.memo("price:{self.name}:{item}")
        @ask.coloured
        def price(self, item: str, currency: str = "EUR") -> Any:
            return f"{self.name} {item} {source.now()}"

        @classmethod
        @cache.memo("tax:{cls.__name__}:{item}")
        @ask.coloured
        def tax(cls, item: str) -> Any:
            return f"{cls.__name__} {item}"

        @staticmethod
        @cache.memo("fee:{item}")
        @ask.coloured
        def fee(item: str) -> Any:
            return f"fee {item}"

    one, two = Shop("one"), Shop("two")
    assert await ask.call(one.price, "tea") == "one tea v1"
    assert await ask.call(two.price, "tea") == "two tea v2"
    assert await ask.call(one.price, "tea") == "one tea v1"
    assert await ask.call(Shop.tax, "tea") == "Shop tea"
    assert await ask.call(one.tax, "tea") == "Shop tea"
    assert await ask.call(Shop.fee, "tea") == "fee tea"
    assert await ask.verb(Shop.fee, "peek", "tea") == "fee tea"
    assert await ask.verb(Shop.price, "peek", one, "tea") == "one tea v1"
    assert await ask.verb(Shop.price, "invalidate", one, "tea")
    assert await ask.verb(Shop.price, "peek", one, "tea") is None
    assert await ask.verb(Shop.price, "peek", two, "tea") == "two tea v2"


def test_a_verb_of_a_method_that_is_called_without_the_object_says_so(
    world: VirtualRuntime,
) -> None:
    shop = Shop()
    assert shop.price("tea") == "tea EUR"
    for verb in ("key", "peek", "refresh", "invalidate"):
        with pytest.raises(TypeError, match=r"Shop\.price\.peek\(self, …\); found str"):
            getattr(shop.price, verb)("tea", "EUR")  # else "EUR" would be the item
    assert Shop.price.key(shop, "tea") == "price:tea:EUR"
    assert Shop.price.peek(shop, "tea") == "tea EUR"


class Shop:
    @Cache("test").memo("price:{item}:{currency}")
    def price(self, item: str, currency: str = "EUR") -> str:
        return f"{item} {currency}"


@both_colours
@in_virtual_time
async def test_a_partial_has_the_arguments_that_are_left(world: VirtualRuntime, ask: Ask) -> None:
    cache, source = made(two=True), Source()

    def price(shop: str, item: str) -> Order:
        return Order(source.calls, source.now())

    memoized = cache.memo("price:{item}")(functools.partial(ask.coloured(price), "corner"))
    assert await ask.call(memoized, "tea") == Order(0, "v1")
    assert await ask.call(memoized, "tea") == Order(0, "v1")
    cache._levels.first.store.clear()
    assert await ask.call(memoized, "tea") == Order(0, "v1"), "its annotation is that of the whole"
    assert source.calls == 1


@both_colours
@in_virtual_time
async def test_an_object_that_can_be_called_has_the_colour_of_its_call(
    world: VirtualRuntime, ask: Ask
) -> None:
    class Sync:
        def __call__(self, n: int) -> Order:
            return Order(n)

    class Async:
        async def __call__(self, n: int) -> Order:
            return Order(n)

    fn: Any = Sync() if ask.name == "sync" else Async()
    cache = made(two=True)
    memoized = cache.memo("order:{n}")(fn)
    assert await ask.call(memoized, 7) == Order(7)
    cache._levels.first.store.clear()
    assert await ask.verb(memoized, "peek", 7) == Order(7)


def test_the_function_looks_as_it_did() -> None:
    def price(item: str, count: int = 1) -> float:
        """What it costs."""
        return 1.0

    async def aprice(item: str) -> float:
        return 1.0

    memoized, amemoized = made().memo("p:{item}")(price), made().memo("p:{item}")(aprice)
    assert (memoized.__name__, memoized.__doc__) == ("price", "What it costs.")  # type: ignore[attr-defined]
    assert inspect.signature(memoized) == inspect.signature(price)
    assert memoized.__wrapped__ is price  # type: ignore[attr-defined]
    assert not inspect.iscoroutinefunction(memoized)
    assert inspect.iscoroutinefunction(amemoized)


def test_a_decorator_serves_several_functions(world: VirtualRuntime) -> None:
    cache = made()
    memo = cache.memo("n:{n}", tags=(tag for tag in ("t",)))

    @memo
    def first(n: int) -> str:
        return "first"

    @memo
    def second(n: int) -> str:
        return "second"

    assert (first(1), second(2)) == ("first", "second")
    assert second(1) == "first", "they share the keys, as they were told"
    cache.delete(tag="t")
    assert (first.peek(1), second.peek(2)) == (None, None)


# What cannot be decorated


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (Order, "Order is type"),
        (7, "7 is int"),
        (classmethod(lambda cls: 1), "put the cache below @classmethod"),
        (staticmethod(lambda: 1), "put the cache below @staticmethod"),
    ],
    ids=["class", "number", "classmethod", "staticmethod"],
)
def test_what_has_no_results_is_refused(odd: Any, message: str) -> None:
    for decorate in (made().memo("k:{n}"), made().batch("k:{n}")):
        with pytest.raises(TypeError, match=message):
            decorate(odd)


def test_generators_are_refused() -> None:
    def numbers(n: int) -> Any:
        yield n

    async def anumbers(n: int) -> Any:
        yield n

    for fn in (numbers, anumbers, functools.partial(numbers)):
        for decorate in (made().memo("k:{n}"), made().batch("k:{n}", items="n")):
            with pytest.raises(TypeError, match="is a generator, which could be read only once"):
                decorate(fn)


def test_a_def_that_returns_a_coroutine_is_told_what_to_decorate(world: VirtualRuntime) -> None:
    async def user(n: int) -> int:
        return n

    hidden: Any = lambda n: user(n)  # noqa: E731, PLW0108
    memoized = made().memo("user:{n}")(hidden)
    with pytest.raises(TypeError, match="decorate the `async def` itself"):
        memoized(7)


# Options


@both_colours
@in_virtual_time
async def test_a_memo_has_its_own_times(world: VirtualRuntime, ask: Ask) -> None:
    cache, source = made(ttl="1h±0%"), Source("v1", ConnectionError("down"))
    memoized = cache.memo("k", ttl="5s±0%", stale_if_error="5s", negative_ttl="1s")(
        ask.coloured(source.now)
    )
    await ask.call(memoized)
    world.advance(5)
    assert await ask.call(memoized) == "v1"
    world.advance(5)
    with pytest.raises(ConnectionError):
        await ask.call(memoized)


@both_colours
@in_virtual_time
async def test_the_time_of_a_result_may_come_from_it(world: VirtualRuntime, ask: Ask) -> None:
    cache = made()
    memoized = cache.memo("k:{n}", ttl=lambda result: result)(ask.coloured(lambda n: n))
    assert await ask.call(memoized, 5) == 5
    for not_kept in (0, -5):
        assert await ask.call(memoized, not_kept) == not_kept
        assert await ask.verb(memoized, "peek", not_kept) is None
    assert await ask.verb(memoized, "peek", 5) == 5
    world.advance(5.6)
    assert await ask.verb(memoized, "peek", 5) is None


@both_colours
@levels
@pytest.mark.parametrize("ttl", [math.nan, math.inf, "soon", True, b"5s"], ids=repr)
@in_virtual_time
async def test_a_time_of_a_result_that_is_none_is_an_error(
    world: VirtualRuntime, ask: Ask, two: bool, ttl: Any
) -> None:
    memoized = made(two=two).memo("k", ttl=lambda _: ttl)(ask.coloured(lambda: 1))
    with pytest.raises(
        (ValueError, TypeError), match=r"test: ttl of the result: expected a duration above zero"
    ):
        await ask.call(memoized)
    assert await ask.verb(memoized, "peek") is None


@both_colours
@in_virtual_time
async def test_an_error_of_the_functions_of_a_result_goes_to_the_caller(
    world: VirtualRuntime, ask: Ask
) -> None:
    ttl: dict[str, Any] = {"ttl": lambda result: result.ttl}
    for how in (ttl, {"tags": lambda result: result.tags}):
        memoized = made().memo("k", **how)(ask.coloured(lambda: 1))
        with pytest.raises(AttributeError, match="'int' object has no attribute"):
            await ask.call(memoized)


@both_colours
@levels
@in_virtual_time
async def test_tags_come_from_the_arguments_and_the_result(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache, source = made(two=two), Source()

    def order(n: int, shop: str = "corner") -> Order:
        source.now()
        return Order(n, f"c{n % 2}")

    memoized = cache.memo(
        "order:{n}", tags=("all", "shop:{shop}", "customer:{result.customer}", "{result.id}:{n}")
    )(ask.coloured(order))
    fill = [ask.call(memoized, n, "corner" if n < 3 else "other") for n in (1, 2, 3)]
    for each in fill:
        await each

    async def gone() -> list[int]:
        kept = [await ask.verb(memoized, "peek", n) for n in (1, 2, 3)]
        for n in (1, 2, 3):
            await ask.call(memoized, n, "corner" if n < 3 else "other")
        return [n for n, value in zip((1, 2, 3), kept, strict=True) if value is None]

    await ask.delete(cache, tag="customer:c1")
    assert await gone() == [1, 3]
    await ask.delete(cache, tag="shop:corner")
    assert await gone() == [1, 2]
    await ask.delete(cache, tag="2:2")
    assert await gone() == [2]
    await ask.expire(cache, tag="all")
    assert await gone() == [1, 2, 3]
    await ask.delete(cache, tag="none")
    assert await gone() == []


@both_colours
@in_virtual_time
async def test_none_has_the_tags_that_do_not_name_the_result(
    world: VirtualRuntime, ask: Ask
) -> None:
    cache = made()
    memoized = cache.memo("k:{n}", tags=("all", "x:{result.id}"))(ask.coloured(lambda n: None))
    await ask.call(memoized, 1)
    assert cache.snapshot()["entries"] == 1
    await ask.delete(cache, tag="all")
    assert await ask.get(cache, "k:1", default="gone") == "gone"


@both_colours
@in_virtual_time
async def test_tags_may_be_a_function_of_the_result(world: VirtualRuntime, ask: Ask) -> None:
    cache = made()
    memoized = cache.memo("k:{n}", tags=lambda order: [order.customer])(
        ask.coloured(lambda n: Order(n))  # noqa: PLW0108
    )
    await ask.call(memoized, 1)
    await ask.delete(cache, tag="c")
    assert await ask.verb(memoized, "peek", 1) is None


def test_tags_that_fit_nothing_are_refused() -> None:
    def order(n: int) -> int:
        return n

    with pytest.raises(TypeError, match=r"expected several, such as \('t',\), found one text"):
        made().memo("k", tags="t")(order)
    with pytest.raises(ConfigError, match="which takes n, result; found shop"):
        made().memo("k", tags=("{shop}",))(order)
    with pytest.raises(ConfigError, match=r"expected \{result\} to be what <lambda> returns"):
        made().memo("k", tags=("{result.x}",))(lambda result: result)
    with pytest.raises(ConfigError, match="expected"):
        made().memo("k", tags=(7,))(order)  # type: ignore[arg-type]


@both_colours
@in_virtual_time
async def test_one_text_as_the_tags_of_a_result_is_an_error(
    world: VirtualRuntime, ask: Ask
) -> None:
    memoized = made().memo("k", tags=lambda _: "text")(ask.coloured(lambda: 1))
    with pytest.raises(TypeError, match="expected several tags"):
        await ask.call(memoized)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ttl": -1}, "ttl: expected a duration above zero"),
        ({"ttl": 0}, "ttl: expected a duration above zero"),
        ({"ttl": math.nan}, "ttl: expected a duration above zero"),
        ({"ttl": "5 minutes"}, "ttl: expected a duration above zero"),
        ({"ttl": "5m±110%"}, "ttl: expected a duration above zero"),
        ({"negative_ttl": -1}, "negative_ttl: expected a duration"),
        ({"stale_if_error": math.nan}, "stale_if_error: expected a duration"),
        ({"soft_timeout": 0}, "soft_timeout: expected a duration above zero"),
        ({"hard_timeout": "-1s"}, "hard_timeout: expected a duration above zero"),
        ({"refresh_early": "xfetch"}, "refresh_early: expected"),
        ({"stale": "1h"}, "stale: expected one of the fields"),
        ({"l2": "memory://x"}, "l2: expected one of the fields"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    for decorate in (made().memo, made().batch):
        with pytest.raises(ConfigError, match=message):
            decorate("k", **options)


# Verbs


@both_colours
@levels
@in_virtual_time
async def test_peek_loads_nothing_refresh_loads_anyway_and_invalidate_forgets(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    cache, source = made(two=two), Source()
    memoized = cache.memo("k:{n}")(ask.coloured(lambda n: source.now()))
    assert await ask.verb(memoized, "peek", 7) is None
    assert await ask.verb(memoized, "refresh", 7) == "v1"
    assert await ask.call(memoized, 7) == "v1"
    assert await ask.verb(memoized, "refresh", 7) == "v2"
    assert await ask.verb(memoized, "peek", 7) == "v2"
    assert await ask.call(memoized, n=7) == "v2"
    assert await ask.verb(memoized, "invalidate", 7) is True
    assert await ask.verb(memoized, "peek", 7) is None
    assert await ask.call(memoized, 7) == "v3"
    assert source.calls == 3


@both_colours
@levels
@in_virtual_time
async def test_a_refresh_that_fails_raises_and_leaves_what_there_is(
    world: VirtualRuntime, ask: Ask, two: bool
) -> None:
    source = Source("v1", ConnectionError("down"))
    memoized = made(two=two).memo("k", stale_if_error="1h")(ask.coloured(source.now))
    await ask.call(memoized)
    with pytest.raises(ConnectionError):
        await ask.verb(memoized, "refresh")
    assert await ask.verb(memoized, "peek") == "v1"


@in_virtual_time
async def test_a_refresh_joins_no_load_that_began_before(world: VirtualRuntime) -> None:
    source = Source(takes=2)

    @made().memo("k")
    async def load() -> Any:
        return await source.later()

    first = asyncio.ensure_future(load())
    await world.sleep(1)
    assert await load.arefresh() == "v2"
    assert await first == "v1"
    assert await load.apeek() == "v2"


@in_virtual_time
async def test_sync_verbs_of_an_async_function(world: VirtualRuntime) -> None:
    @made().memo("k:{n}")
    async def load(n: int) -> int:
        return n

    assert await load(7) == 7
    assert load.peek(7) == 7
    assert load.invalidate(7) is True
    assert load.peek(7) is None
    with pytest.raises(TypeError, match="load is async: await `arefresh` instead of `refresh`"):
        load.refresh(7)


@in_virtual_time
async def test_async_verbs_of_a_sync_function(world: VirtualRuntime) -> None:
    @made().memo("k:{n}")
    def load(n: int) -> int:
        return n

    assert await load.arefresh(7) == 7
    assert await load.apeek(7) == 7
    assert await load.ainvalidate(7) is True
    assert await load.apeek(7) is None


@both_colours
@in_virtual_time
async def test_invalidate_holds_off_as_the_memo_says(world: VirtualRuntime, ask: Ask) -> None:
    source = Source()
    memoized = made().memo("k", lag="2s")(ask.coloured(source.now))
    await ask.verb(memoized, "invalidate")
    await ask.call(memoized)
    assert await ask.verb(memoized, "peek") is None
    world.advance(2)
    await ask.call(memoized)
    assert await ask.verb(memoized, "peek") == "v2"


# What comes back from the second level


async def there_and_back(ask: Ask, fn: Any) -> Any:
    """What a second process gets of what a function has returned."""
    url = shared()
    first, second = made(l2=url), made(l2=url)
    coloured = ask.coloured(fn)
    value = await ask.call(first.memo("k")(coloured))
    back = await ask.verb(second.memo("k")(coloured), "peek")
    assert type(back) is type(value)
    return back


def a_dataclass() -> Order:
    return Order(7)


def a_struct() -> Item:
    return Item("tea")


def structs() -> list[Item]:
    return [Item("tea"), Item("milk")]


def perhaps() -> Order | None:
    return Order(7)


def forward() -> Later:
    return Later(7)


def beside_an_unknown(other: Unknown = None) -> Order:
    return Order(7)


def by_key() -> dict[UUID, tuple[Order, ...]]:
    return {UUID(int=7): (Order(7), Order(8))}


def plain():  # noqa: ANN201
    return {"a": [1, 2.5, None, "x", True]}


def anything() -> Any:
    return [1]


def nothing() -> None:
    return None


@dataclass
class Later:
    id: int


@both_colours
@pytest.mark.parametrize(
    "fn",
    [
        a_dataclass,
        a_struct,
        structs,
        perhaps,
        forward,
        beside_an_unknown,
        by_key,
        plain,
        anything,
        nothing,
    ],
    ids=lambda fn: fn.__name__,
)
@in_virtual_time
async def test_values_come_back_as_the_annotation_says(
    world: VirtualRuntime, ask: Ask, fn: Any
) -> None:
    assert await there_and_back(ask, fn) == fn()


def test_a_method_may_return_its_own_class(world: VirtualRuntime) -> None:
    async def main() -> None:
        url = shared()
        assert made(l2=url).memo("k")(Node.root)() == Node(1)
        assert made(l2=url).memo("k")(Node.root).peek() == Node(1)

    world.run(main())


@dataclass
class Node:
    id: int

    @staticmethod
    def root() -> Node:
        return Node(1)


@both_colours
@in_virtual_time
async def test_what_the_codec_cannot_carry_is_an_error_of_the_call(
    world: VirtualRuntime, ask: Ask
) -> None:
    def unnamed():  # noqa: ANN202
        return Order(7)

    def wrong() -> Item:
        return Order(7)  # type: ignore[return-value]

    def odd() -> object:
        return object()

    for fn in (unnamed, wrong, odd):
        cache = made(two=True)
        memoized = cache.memo("k")(ask.coloured(fn))
        with pytest.raises(CannotEncode, match="msgpack cannot carry this"):
            await ask.call(memoized)
        assert await ask.verb(memoized, "peek") is None
        with pytest.raises(CannotEncode):
            await ask.set(cache, "k", object())
        assert await ask.call(made().memo("k")(ask.coloured(fn))) is not None, "alone l1 takes it"


@both_colours
@in_virtual_time
async def test_a_duration_is_no_text_of_a_key_but_may_be_a_value(
    world: VirtualRuntime, ask: Ask
) -> None:
    def delta() -> timedelta:
        return timedelta(1)

    assert await there_and_back(ask, delta) == timedelta(1)


def test_one_load_for_many_tasks(world: VirtualRuntime) -> None:
    source = Source(takes=1)

    async def main() -> None:
        @made().memo("k:{n}")
        async def load(n: int) -> Any:
            return await source.later()

        assert await asyncio.gather(*[load(7) for _ in range(50)]) == ["v1"] * 50

    world.run(main())
    assert source.calls == 1


def test_the_colour_is_read_once() -> None:
    assert Async.name == "async"
    fn = made().memo("k")(functools.partial(Source().later))
    assert inspect.iscoroutinefunction(fn)
