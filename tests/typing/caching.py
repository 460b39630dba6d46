"""What a type checker sees of caches; checked by `mypy`, never run.

An ignored error is a promise, too: where there is none, the unused ignore fails the check.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, assert_type

from escala import L1, Answer, Cache, Codec, Lifetime, codec_of

cache = Cache("shop", l1=L1(100), l2="redis://localhost", ttl="5m±10%", codec=codec_of("json"))


@dataclass
class Order:
    id: int


def load() -> Order:
    return Order(7)


async def aload() -> Order:
    return Order(7)


@cache.memo("order:{number}", tags=("shop:{shop}",), ttl=lambda order: 5, refresh_early=True)
def order(number: int, *, shop: str = "corner") -> Order:
    return Order(number)


@cache.memo("order:{number}", ttl=Lifetime("5m"), tags=lambda order: [f"o:{order.id}"])
async def aorder(number: int) -> Order:
    return Order(number)


@cache.batch("order:{id}")
def orders(ids: list[int]) -> dict[int, Order]:
    return {}


@cache.batch("order:{id}", items="ids", negative_ttl="5s")
async def aorders(ids: list[int]) -> dict[int, Order]:
    return {}


class Shop:
    @cache.memo("price:{item}")
    def price(self, item: str) -> float:
        return 1.0

    @cache.memo("price:{item}")
    async def aprice(self, item: str) -> float:
        return 1.0


def get_gives_what_the_load_gives() -> None:
    assert_type(cache.get("k", load), Order)
    assert_type(cache.get("k", lambda: 7, ttl="5s", tags=["t"]), int)
    assert_type(cache.get("k"), Any)
    cache.get(7, load)  # type: ignore[call-overload]
    cache.get("k", load, default=7)  # type: ignore[call-overload]
    cache.get("k", 7)  # type: ignore[call-overload]
    assert_type(cache.entry("k", load), Answer)
    assert_type(cache.entry("k").source == "l1", bool)
    assert cache.entry("k").source != "l3"  # type: ignore[comparison-overlap]


async def aget_takes_either_colour() -> None:
    assert_type(await cache.aget("k", aload), Order)
    assert_type(await cache.aget("k", load, ttl=lambda order: "5s"), Order)
    assert_type(await cache.aget("k"), Any)
    assert_type(await cache.aentry("k", aload), Answer)
    await cache.aget(7, aload)  # type: ignore[call-overload]


def a_memo_keeps_the_signature() -> None:
    assert_type(order(7), Order)
    assert_type(order(7, shop="other"), Order)
    order("7")  # type: ignore[arg-type]
    order(7, "other")  # type: ignore[call-arg]
    order()  # type: ignore[call-arg]
    later = assert_type(aorder(7), Coroutine[Any, Any, Order])
    later.close()
    as_callable: Callable[[int], Order] = order
    as_async: Callable[[int], Awaitable[Order]] = aorder
    assert_type((as_callable, as_async)[0](7), Order)


async def the_verbs_take_the_same_arguments() -> None:
    assert_type(order.key(7, shop="other"), str)
    assert_type(order.peek(7), Order | None)
    assert_type(order.refresh(7), Order)
    assert_type(order.invalidate(7), bool)
    assert_type(aorder.peek(7), Order | None)
    assert_type(await aorder(7), Order)
    assert_type(await aorder.apeek(7), Order | None)
    assert_type(await aorder.arefresh(7), Order)
    assert_type(await aorder.ainvalidate(7), bool)
    order.peek("7")  # type: ignore[arg-type]
    order.invalidate(7, "other")  # type: ignore[call-arg]
    await aorder.arefresh()  # type: ignore[call-arg]


async def methods_stay_methods() -> None:
    shop = Shop()
    assert_type(shop.price("tea"), float)
    assert_type(await shop.aprice("tea"), float)
    assert_type(Shop.price(shop, "tea"), float)
    assert_type(Shop.price.peek(shop, "tea"), float | None)
    shop.price(7)  # type: ignore[arg-type]
    shop.price()  # type: ignore[call-arg]
    shop.price.peek("tea")  # type: ignore[attr-defined]


async def a_batch_keeps_the_signature() -> None:
    assert_type(orders([1, 2]), dict[int, Order])
    assert_type(await aorders([1, 2]), dict[int, Order])
    orders(["1"])  # type: ignore[list-item]


def options_are_checked() -> None:
    cache.memo("k", stale_if_error="1h", wait="3s", lag=2)
    cache.memo("k", stale="1h")  # type: ignore[call-arg]
    cache.batch("k", ttl=[1])  # type: ignore[arg-type]
    Cache("shop", l1="many")  # type: ignore[arg-type]
    Cache("shop", ttls="5m")  # type: ignore[call-arg]


def a_codec_of_ones_own_is_one(codec: Codec) -> None:
    Cache("shop", codec=codec)
    Cache("shop", codec=7)  # type: ignore[arg-type]


async def changes_tell_whether_all_have_heard() -> None:
    assert_type(cache.delete("a", "b", tag="t", namespace="n"), bool)
    assert_type(await cache.aexpire("a"), bool)
    assert_type(cache.clear(soft=True), bool)
    assert_type(cache.snapshot(), dict[str, float])
    with cache as entered:
        assert_type(entered, Cache)
