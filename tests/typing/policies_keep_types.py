"""What a type checker sees of policies; checked by `mypy`, never run.

An ignored error is a promise, too: where there is none, the unused ignore fails the check.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeVar, assert_type

from escala.kernel.policy import Next, Policy
from escala.kernel.runtime import Runtime, drive
from escala.kernel.stack import Stack
from escala.testing import VirtualRuntime

T = TypeVar("T")


class Plain(Policy):
    """A policy of a user's own."""

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        return await call()


plain = Plain()
stack = Stack(plain, Plain()) | plain


@plain
def price(item: str, *, count: int = 1) -> float:
    return len(item) * count


@stack
async def aprice(item: str, *, count: int = 1) -> float:
    return len(item) * count


class Shop:
    @plain
    def price(self, item: str) -> float:
        return len(item)

    @stack
    async def aprice(self, item: str) -> float:
        return len(item)

    @classmethod
    @plain
    def opened(cls, name: str) -> Shop:
        return cls()

    @staticmethod
    @plain
    def tax(amount: float) -> float:
        return amount

    @property
    @plain
    def name(self) -> str:
        return "shop"


def decorated_functions_keep_their_signature() -> None:
    assert_type(price("tea"), float)
    assert_type(price("tea", count=2), float)
    later = assert_type(aprice("tea", count=2), Coroutine[Any, Any, float])
    later.close()
    price(3)  # type: ignore[arg-type]
    price("tea", 2)  # type: ignore[call-arg]
    price("tea", counts=2)  # type: ignore[call-arg]
    as_callable: Callable[[str], float] = price
    as_async: Callable[[str], Awaitable[float]] = aprice
    as_sync: Callable[[str], float] = aprice  # type: ignore[assignment]
    assert_type((as_callable, as_async, as_sync)[0]("tea"), float)


async def decorated_functions_are_awaited_as_before() -> None:
    assert_type(await aprice("tea"), float)
    assert_type(await Shop().aprice("tea"), float)
    await aprice(3)  # type: ignore[arg-type]


def decorated_methods_stay_methods() -> None:
    shop = Shop()
    assert_type(shop.price("tea"), float)
    assert_type(Shop.price(shop, "tea"), float)
    later = assert_type(shop.aprice("tea"), Coroutine[Any, Any, float])
    later.close()
    assert_type(Shop.opened("corner"), Shop)
    assert_type(Shop.tax(1.0), float)
    assert_type(shop.name, str)
    shop.price()  # type: ignore[call-arg]
    shop.price("tea", "milk")  # type: ignore[call-arg]


async def calls_take_the_arguments_of_the_function() -> None:
    assert_type(plain.call(len, "abc"), int)
    assert_type(plain.call(price, "tea", count=2), float)
    assert_type(plain.call(Shop().price, "tea"), float)
    assert_type(await stack.acall(aprice, "tea", count=2), float)
    assert_type(await stack.acall(Shop().aprice, "tea"), float)
    plain.call(len)  # type: ignore[call-arg]
    plain.call(len, 3)  # type: ignore[arg-type]
    await plain.acall(aprice, 3)  # type: ignore[arg-type]
    await plain.acall(price, "tea")  # type: ignore[arg-type]


async def blocks_give_the_policy_itself() -> None:
    with plain as entered:
        assert_type(entered, Plain)
    async with stack as aentered:
        assert_type(aentered, Stack)
    manager: AbstractContextManager[Plain] = plain
    amanager: AbstractAsyncContextManager[Stack] = stack
    assert_type((manager, amanager)[0].__enter__(), Plain)


def stacks_take_policies_only() -> None:
    assert_type(stack | plain, Stack)
    Stack(price)  # type: ignore[arg-type]
    Stack([plain])  # type: ignore[arg-type]
    stack | 3  # type: ignore[operator]


async def runtimes_return_what_the_call_returns(runtime: Runtime) -> None:
    assert_type(await runtime.race(lambda: aprice("tea"), runtime.now() + 1), float)
    assert_type(await runtime.parker().park(1.0), bool)
    assert_type(drive(aprice("tea")), float)


def virtual_time_returns_what_main_returns() -> None:
    world = VirtualRuntime(seed=1)
    assert_type(world.run(aprice("tea")), float)
    assert_type(world.spawn(aprice("tea")).result(), float)
    runtime: Runtime = world
    assert_type(runtime.now(), float)
