"""`call` and `acall`, and the wrong function given to either."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Generator
from typing import Any, NoReturn, TypeAlias
from unittest.mock import AsyncMock, Mock

import msgspec
import pytest
from tests.kernel.policies import Again, Slow, Told

from escala.errors import WouldBlock
from escala.kernel.policy import Policy, Scope
from escala.testing import VirtualRuntime

Function: TypeAlias = Callable[..., Any]


async def greet(name: str = "you") -> str:
    return f"hello {name}"


def run(
    world: VirtualRuntime, policy: Policy, fn: Function, *args: object, **kwargs: object
) -> object:
    async def main() -> object:
        return await policy.acall(fn, *args, **kwargs)

    return world.run(main())


def test_call_runs_a_sync_function() -> None:
    told = Told()
    assert told.call(str.replace, "abc", "b", "x") == "axc"
    assert told.call(int, "ff", base=16) == 255
    assert told.log == ["told begins", "told ends"] * 2


def test_acall_runs_an_async_function() -> None:
    told = Told()
    assert run(VirtualRuntime(), told, greet, name="all") == "hello all"
    assert told.log == ["told begins", "told ends"]


class _Promise:
    def __await__(self) -> Generator[None, None, str]:
        yield
        return "hello you"


def _future() -> Awaitable[str]:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.set_result("hello you")
    return future


@pytest.mark.parametrize(
    "fn",
    [
        greet,
        functools.partial(greet, "you"),
        lambda: greet("you"),
        lambda: asyncio.create_task(greet()),
        _Promise,
        _future,
        AsyncMock(return_value="hello you"),
    ],
    ids=range(7),
)
def test_acall_takes_whatever_returns_an_awaitable(fn: Function) -> None:
    told = Told()
    assert run(VirtualRuntime(), told, fn) == "hello you"
    assert told.log == ["told begins", "told ends"]


@pytest.mark.parametrize(
    "fn", [greet, functools.partial(greet, "all"), lambda: greet("you")], ids=range(3)
)
def test_call_refuses_an_async_function(fn: Function) -> None:
    with pytest.raises(TypeError, match=r"returned a coroutine.*give it to `acall`"):
        Told().call(fn)


def test_acall_refuses_a_sync_function() -> None:
    fn = Mock(return_value=3, spec_set=())
    with pytest.raises(TypeError, match=r"takes async functions; .* returned int.*to `call`"):
        run(VirtualRuntime(), Told(), fn)
    with pytest.raises(TypeError, match=r"; len returned int"):
        run(VirtualRuntime(), Told(), len, "abc")
    fn.assert_called_once_with()


def test_a_policy_may_call_more_than_once() -> None:
    fn, afn = Mock(return_value="answer"), AsyncMock(return_value="answer")
    assert Again(3).call(fn, 1, two=2) == "answer"
    assert run(VirtualRuntime(), Again(3), afn, 1, two=2) == "answer"
    assert fn.mock_calls == afn.mock_calls == [((1,), {"two": 2})] * 3


def test_call_that_would_wait_inside_a_loop_is_refused_and_cleaned_up() -> None:
    slow = Slow(before=5)

    async def main() -> None:
        with pytest.raises(WouldBlock):
            slow.call(len, "abc")

    asyncio.run(main())  # where the sync colour is the real one
    assert slow.log == ["WouldBlock"]


def test_call_inside_a_loop_is_fine_when_nothing_waits() -> None:
    async def main() -> int:
        return Told().call(len, "abc")

    assert asyncio.run(main()) == 3


def test_acall_can_be_cancelled_at_each_await() -> None:
    slow, world = Slow(before=5, after=5), VirtualRuntime()

    async def main() -> None:
        for moment in (1, 6, 12):
            task = asyncio.create_task(slow.acall(world.sleep, 5))
            await world.sleep(moment)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

    world.run(main())
    assert slow.log == ["CancelledError"] * 3


def test_a_policy_that_says_nothing_of_configuration_has_none() -> None:
    with pytest.raises(TypeError, match="Told cannot be built from configuration"):
        Told.build(msgspec.Struct(), Scope())


def test_a_policy_must_say_what_it_does() -> None:
    class Nothing(Policy):
        pass

    with pytest.raises(TypeError, match="around"):
        Nothing()  # type: ignore[abstract]


def test_a_scope_prefixes_names() -> None:
    assert Scope(name="shop").label("retry") == "shop.retry"
    assert Scope().label("retry") == "retry"


def test_an_error_that_looks_like_a_wrong_function_is_left_alone() -> None:
    async def fail() -> NoReturn:
        raise TypeError("object int can't be used in 'await' expression")

    with pytest.raises(TypeError, match=r"^object int can't"):
        run(VirtualRuntime(), Told(), fail)
