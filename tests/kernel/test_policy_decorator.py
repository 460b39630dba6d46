"""A policy as a decorator: what it takes, what it refuses, and what stays as it was."""

from __future__ import annotations

import functools
import inspect
import operator
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeVar

import pytest
from tests.kernel.policies import Answer, Refuse, Slot, Told

from escala.kernel.policy import Next, Policy
from escala.kernel.runtime import Runtime, colours
from escala.testing import VirtualRuntime

T = TypeVar("T")


def add(a: int, b: int = 1, *, c: int = 0) -> int:
    """Add up."""
    return a + b + c


async def aadd(a: int, b: int = 1, *, c: int = 0) -> int:
    """Add up, later."""
    await colours.loop.sleep(1)
    return a + b + c


class Adder:
    """Adds in every way that a class can."""

    start = 10

    @Told()
    def method(self, a: int) -> int:
        return self.start + a

    @Told()
    async def amethod(self, a: int) -> int:
        return self.start + a

    @classmethod
    @Told()
    def on_class(cls, a: int) -> int:
        return cls.start + a

    @staticmethod
    @Told()
    def on_no_one(a: int) -> int:
        return a

    @property
    @Told()
    def value(self) -> int:
        return self.start

    def __call__(self, a: int) -> int:
        return self.start + a


class AsyncAdder(Adder):
    async def __call__(self, a: int) -> int:  # type: ignore[override]
        return self.start + a


class Lines:
    def __call__(self) -> Iterator[str]:
        yield "line"

    def lines(self) -> Iterator[str]:
        yield "line"

    async def alines(self) -> AsyncIterator[str]:
        yield "line"

    later = functools.partialmethod(lines)


def arun(fn: Callable[..., Awaitable[T]], *args: object, **kwargs: object) -> T:
    async def main() -> T:
        return await fn(*args, **kwargs)

    return VirtualRuntime().run(main())


def test_a_sync_function_stays_one() -> None:
    told = Told()
    guarded = told(add)
    assert guarded(1, 2, c=3) == 6
    assert told.log == ["told begins", "told ends"]
    assert not inspect.iscoroutinefunction(guarded)


def test_an_async_function_stays_one() -> None:
    told = Told()
    guarded = told(aadd)
    assert inspect.iscoroutinefunction(guarded)
    assert arun(guarded, 1, 2, c=3) == 6
    assert told.log == ["told begins", "told ends"]


@pytest.mark.parametrize("fn", [add, aadd])
def test_the_function_keeps_its_name_and_signature(fn: Callable[..., Any]) -> None:
    guarded = Told()(fn)
    assert guarded.__name__ == fn.__name__
    assert guarded.__qualname__ == fn.__qualname__
    assert guarded.__module__ == fn.__module__
    assert guarded.__doc__ == fn.__doc__
    assert inspect.unwrap(guarded) is fn
    assert inspect.signature(guarded) == inspect.signature(fn)


def test_methods_of_all_kinds() -> None:
    adder = Adder()
    assert adder.method(1) == Adder.method(adder, 1) == 11
    assert Adder.on_class(1) == adder.on_class(1) == 11
    assert Adder.on_no_one(1) == adder.on_no_one(1) == 1
    assert adder.value == 10
    assert arun(adder.amethod, 1) == arun(Told()(adder.amethod), 1) == 11
    assert Told()(adder.method)(1) == 11


@pytest.mark.parametrize(
    "fn",
    [
        Adder().method,
        Adder(),
        functools.partial(add, 10),
        functools.partial(functools.partial(add, 5), c=5),
        functools.partial(Adder()),
        lambda a: a + 10,
        operator.methodcaller("__add__", 10),
        (10).__add__,
        Told()(Adder()),
    ],
    ids=range(9),
)
def test_everything_that_can_be_called_in_sync_code(fn: Callable[[int], int]) -> None:
    told = Told()
    assert told(fn)(1) == 11
    assert told.log == ["told begins", "told ends"]


@pytest.mark.parametrize(
    "fn",
    [
        Adder().amethod,
        AsyncAdder(),
        functools.partial(aadd, 10),
        functools.partial(functools.partial(aadd, 5), c=5),
        functools.partial(AsyncAdder()),
        Told()(AsyncAdder()),
        AsyncAdder().__call__,
    ],
    ids=range(7),
)
def test_everything_that_can_be_called_in_async_code(fn: Callable[[int], Awaitable[int]]) -> None:
    told = Told()
    guarded = told(fn)
    assert inspect.iscoroutinefunction(guarded)
    assert arun(guarded, 1) == 11
    assert told.log == ["told begins", "told ends"]


@pytest.mark.parametrize(
    "fn",
    [
        Lines().lines,
        Lines().alines,
        Lines.lines,
        Lines.alines,
        Lines(),
        functools.partial(Lines.lines, Lines()),
        functools.partial(Lines()),
    ],
    ids=range(7),
)
def test_generators_are_refused(fn: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"is a generator: it has no single result .* Decorate"):
        Told()(fn)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (staticmethod(add), r"put the policy below @staticmethod, on the function itself"),
        (classmethod(lambda _: 1), r"put the policy below @classmethod"),
        (Adder, r"decorates functions and methods; Adder is type"),
        (Lines, r"Lines is type"),
        (property(lambda _: 1), r"is property"),
        (Lines.__dict__["later"], r"is partialmethod"),
        ("add", r"'add' is str"),
        (None, r"None is NoneType"),
    ],
    ids=range(8),
)
def test_what_is_no_function_is_refused(wrong: Callable[..., Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Told()(wrong)


def test_a_sync_function_that_returns_a_coroutine_is_refused() -> None:
    @functools.wraps(aadd)
    def wrapper(a: int) -> Awaitable[int]:
        return aadd(a)

    told = Told()
    with pytest.raises(TypeError, match=r"aadd returned a coroutine.*decorate the `async def`"):
        told(wrapper)(1)


def test_a_policy_may_answer_or_refuse_instead() -> None:
    assert str(Answer()(add)(1)) == "from the cache"
    assert str(arun(Answer()(aadd), 1)) == "from the cache"
    with pytest.raises(PermissionError):
        Refuse()(add)(1)
    with pytest.raises(PermissionError):
        arun(Refuse()(aadd), 1)


def test_an_error_comes_through_as_itself() -> None:
    error = ValueError("mine")

    def fail() -> NoReturn:
        raise error

    async def afail() -> NoReturn:
        raise error

    told = Told()
    with pytest.raises(ValueError) as caught:
        told(fail)()
    assert caught.value is error
    assert error.__cause__ is error.__context__ is None
    assert traceback.extract_tb(error.__traceback__)[-1].name == "fail"
    with pytest.raises(ValueError) as caught:
        arun(told(afail))
    assert caught.value is error
    assert told.log == ["told begins", "told saw ValueError"] * 2


def test_an_iterator_may_be_guarded() -> None:
    class Countdown:
        def __init__(self, left: int) -> None:
            self.left = left

        def __iter__(self) -> Countdown:
            return self

        @Told()
        def __next__(self) -> int:
            if not self.left:
                raise StopIteration("last words")
            self.left -= 1
            return self.left

    assert list(Countdown(3)) == [2, 1, 0]
    with pytest.raises(StopIteration, match="last words") as caught:
        next(Countdown(0))
    assert caught.value.__cause__ is None


def test_an_async_iterator_may_be_guarded() -> None:
    class Countdown:
        def __init__(self, left: int) -> None:
            self.left = left

        def __aiter__(self) -> Countdown:
            return self

        @Told()
        async def __anext__(self) -> int:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return self.left

    async def collect() -> list[int]:
        return [number async for number in Countdown(3)]

    assert arun(collect) == [2, 1, 0]


def test_the_runtime_is_looked_up_when_called_and_not_when_decorated() -> None:
    class Seen(Policy):
        runtimes: list[Runtime]

        async def around(self, call: Next[T], runtime: Runtime) -> T:
            self.runtimes.append(runtime)
            return await call()

    seen = Seen()
    seen.runtimes = []
    guarded, aguarded = seen(add), seen(aadd)
    guarded(1)
    world = VirtualRuntime()

    async def main() -> None:
        guarded(1)
        await aguarded(1)

    world.run(main())
    assert seen.runtimes[0] is colours.thread
    assert seen.runtimes[1] is not colours.thread
    assert seen.runtimes[1].now() == world.now()
    assert seen.runtimes[2] is world


def test_it_may_call_itself() -> None:
    slot = Slot()

    @slot
    def factorial(n: int) -> int:
        return n * factorial(n - 1) if n else 1

    assert factorial(5) == 120
    assert (slot.most, slot.taken) == (6, 0)


def test_arguments_may_have_any_name() -> None:
    def everything(self: int, fn: int, call: int, **kwargs: int) -> list[int]:
        return [self, fn, call, *kwargs.values()]

    assert Told()(everything)(self=1, fn=2, call=3, args=4, runtime=5) == [1, 2, 3, 4, 5]
    assert Told().call(everything, self=1, fn=2, call=3, args=4, runtime=5) == [1, 2, 3, 4, 5]


def test_many_threads_share_one_decorated_function() -> None:
    told = Told()
    guarded = told(add)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(guarded, range(500))) == list(range(1, 501))
    assert told.log.count("told ends") == 500
