"""`race`: a call against the clock, in every order in which expiry and cancellation can come."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import math
from collections.abc import Awaitable, Callable, Generator

import pytest
from tests.kernel.race_cases import CASES, World, cancelling

from escala.errors import DeadlineExceeded
from escala.kernel.context import deadline
from escala.kernel.runtime import LoopRuntime
from escala.testing import VirtualRuntime


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_race(case: Callable[[World], Awaitable[None]], seed: int) -> None:
    virtual = VirtualRuntime(seed)

    async def main() -> None:
        await case(World(virtual, tick=1.0, stall=virtual.advance))

    virtual.run(main())


async def _answer() -> str:
    return "answer"


def test_a_call_that_does_not_suspend_arms_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    world = VirtualRuntime()

    def armed(*_: object) -> None:
        pytest.fail("a timer was armed")

    async def main() -> str:
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", armed)
        await world.race(lambda: asyncio.create_task(_answer()), math.inf)
        return await world.race(_answer, world.now() + 1)

    assert world.run(main()) == "answer"


def test_it_needs_no_task_unless_the_call_suspends() -> None:
    async def suspend() -> None:
        await asyncio.Future[None]()

    async def fail() -> None:
        raise ValueError

    runtime = LoopRuntime()
    with pytest.raises(StopIteration) as caught:
        runtime.race(_answer, math.inf).send(None)
    assert caught.value.value == "answer"
    with pytest.raises(StopIteration):
        runtime.race(_answer, runtime.now() + 60).send(None)
    with pytest.raises(ValueError):
        runtime.race(fail, runtime.now() + 60).send(None)

    async def later() -> None:
        await _Yield()

    with pytest.raises(RuntimeError, match=r"a running asyncio task|no running event loop"):
        runtime.race(later, runtime.now() + 60).send(None)


class _Yield:
    """An awaitable of someone else's making."""

    def __await__(self) -> Generator[None, None, str]:
        yield
        yield
        return "mine"


class _Plain:
    """The least that `await` accepts: an iterator with neither `send` nor `throw`."""

    def __await__(self) -> Generator[None, None, None]:
        return iter([None, None])  # type: ignore[return-value]


def test_it_runs_every_kind_of_awaitable() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()
        loop.call_later(1, future.set_result, "future")
        task = asyncio.create_task(_answer())
        until = world.now() + 5
        assert await world.race(_Yield, until) == "mine"
        await world.race(_Plain, until)
        assert await world.race(lambda: future, until) == "future"
        assert await world.race(lambda: task, until) == "answer"

    world.run(main())


def test_a_moment_that_has_passed_refuses_before_the_call() -> None:
    world = VirtualRuntime()
    world.advance(10)

    async def main() -> None:
        for until in (10.0, 9.0, -math.inf):
            with pytest.raises(DeadlineExceeded, match="before the call began"):
                await world.race(lambda: pytest.fail("was called"), until)

    world.run(main())


def test_never_is_a_moment_too() -> None:
    world = VirtualRuntime()

    async def main() -> float:
        await world.race(lambda: world.sleep(1e9), math.inf)
        return deadline()

    assert world.run(main()) == math.inf
    assert world.now() == 1e9


def test_it_is_exact() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        for until in (0.1, 0.3, 86_400.7, 1e9 + 0.1):
            with pytest.raises(DeadlineExceeded):
                await world.race(lambda: world.sleep(1e10), until)
            assert world.now() == until

    world.run(main())


def test_time_spent_before_the_first_suspension_counts() -> None:
    world = VirtualRuntime()

    async def slow_start() -> None:
        world.advance(3)
        await world.sleep(100)

    async def main() -> None:
        with pytest.raises(DeadlineExceeded):
            await world.race(slow_start, 5)
        assert world.now() == 5
        with pytest.raises(DeadlineExceeded):  # over before it first suspends: at once
            await world.race(slow_start, 6)
        assert world.now() == 8

    world.run(main())


def test_the_shorter_of_nested_deadlines_is_in_force() -> None:
    world = VirtualRuntime()

    async def look() -> float:
        return deadline()

    async def main() -> None:
        assert await world.race(lambda: world.race(look, 7), 5) == 5
        assert await world.race(lambda: world.race(look, 5), 7) == 5
        assert await world.race(lambda: world.race(look, math.inf), 7) == 7
        assert deadline() == math.inf

    world.run(main())


def test_context_variables_set_inside_are_seen_outside_as_after_any_await() -> None:
    world = VirtualRuntime()
    variable = contextvars.ContextVar("variable", default="before")

    async def change() -> None:
        variable.set("first step")
        await world.sleep(1)
        assert variable.get() == "first step"
        variable.set("second step")

    async def main() -> str:
        await world.race(change, 5)
        return variable.get()

    assert world.run(main()) == "second step"


def test_an_abandoned_race_closes_its_call_and_its_timer() -> None:
    world = VirtualRuntime()
    ended: list[str] = []

    async def work() -> None:
        try:
            await world.sleep(100)
        finally:
            ended.append("call")

    async def main() -> None:
        race = world.race(work, 5)
        race.send(None)
        race.close()
        assert ended == ["call"]
        await world.sleep(50)
        assert cancelling() == 0
        assert deadline() == math.inf

    world.run(main())


def test_one_that_ignores_its_closing_is_told_so() -> None:
    world = VirtualRuntime()

    async def stubborn() -> None:
        try:
            await world.sleep(100)
        except GeneratorExit:
            await world.sleep(1)

    async def main() -> None:
        race = world.race(stubborn, 5)
        race.send(None)
        with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
            race.close()
        await world.sleep(50)
        assert cancelling() == 0

    world.run(main())


def test_one_that_is_collected_in_another_context_stays_quiet() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        race = world.race(lambda: world.sleep(100), 5)
        contextvars.copy_context().run(race.send, None)
        race.close()

    world.run(main())
    gc.collect()


def test_an_error_of_the_caller_reaches_the_call_unchanged() -> None:
    world = VirtualRuntime()
    thrown = KeyError("thrown in")
    seen: list[BaseException] = []

    async def work() -> str:
        for _ in range(2):
            try:
                await world.sleep(100)
            except KeyError as error:
                seen.append(error)
        return "went on"

    async def main() -> None:
        race = world.race(work, 5)
        race.send(None)
        race.throw(thrown)
        with pytest.raises(StopIteration) as end:
            race.throw(thrown)
        assert end.value.value == "went on"

    world.run(main())
    assert seen == [thrown, thrown]
