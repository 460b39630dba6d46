"""What `race` promises, as scenarios that run on every loop: virtual here, real ones in `live`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple

import pytest

from escala.errors import DeadlineExceeded
from escala.kernel.context import deadline
from escala.kernel.runtime import LoopRuntime


class World(NamedTuple):
    """A running loop: `tick` is a short time on it, `stall` makes timers pile up in one tick."""

    runtime: LoopRuntime
    tick: float
    stall: Callable[[float], None]

    def after(self, ticks: float) -> float:
        return self.runtime.now() + ticks * self.tick

    async def sleep(self, ticks: float) -> None:
        await self.runtime.sleep(ticks * self.tick)

    async def forever(self) -> None:
        await self.sleep(1000)

    def pile_up(self) -> None:
        """Everything due from 1 to 4 ticks from here on becomes due in one tick."""
        asyncio.get_running_loop().call_later(self.tick, self.stall, 3 * self.tick)


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def settle(coroutine: Coroutine[Any, Any, object]) -> tuple[type[BaseException] | None, int]:
    """Run in a task of its own: the error it ended with, and the cancellations left on it."""
    task = asyncio.create_task(coroutine)
    await asyncio.wait([task])
    if task.cancelled():
        return asyncio.CancelledError, task.cancelling()
    error = task.exception()
    return type(error) if error else None, task.cancelling()


async def cancelled_at(world: World, ticks: float, call: Awaitable[object]) -> object:
    """Await `call` in this task, which is cancelled from outside after `ticks`."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(ticks * world.tick, task.cancel)
    return await call


async def it_expires(world: World) -> None:
    began = world.runtime.now()
    with pytest.raises(DeadlineExceeded) as caught:
        await world.runtime.race(world.forever, world.after(2))
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert world.runtime.now() - began >= 1.5 * world.tick
    assert cancelling() == 0


async def it_returns_in_time(world: World) -> None:
    async def answer() -> str:
        await world.sleep(1)
        return "answer"

    assert await world.runtime.race(answer, world.after(100)) == "answer"
    assert cancelling() == 0


async def it_raises_in_time(world: World) -> None:
    async def fail() -> None:
        await world.sleep(1)
        raise ValueError

    with pytest.raises(ValueError):
        await world.runtime.race(fail, world.after(100))
    assert cancelling() == 0


async def a_cancellation_from_outside_passes(world: World) -> None:
    race = world.runtime.race(world.forever, world.after(100))
    assert await settle(cancelled_at(world, 1, race)) == (asyncio.CancelledError, 1)


async def cancelled_then_expired_in_one_tick(world: World) -> None:
    world.pile_up()
    race = world.runtime.race(world.forever, world.after(2.5))
    assert await settle(cancelled_at(world, 1.5, race)) == (asyncio.CancelledError, 1)


async def expired_then_cancelled_in_one_tick(world: World) -> None:
    world.pile_up()
    race = world.runtime.race(world.forever, world.after(1.5))
    assert await settle(cancelled_at(world, 2.5, race)) == (asyncio.CancelledError, 1)


async def finished_and_expired_in_one_tick(world: World) -> None:
    world.pile_up()

    async def work() -> None:
        await world.sleep(1.5)

    with contextlib.suppress(DeadlineExceeded):  # either is right, but nothing may be left behind
        await world.runtime.race(work, world.after(2.5))
    assert cancelling() == 0
    await world.sleep(1)


async def inner_and_outer_expire_in_one_tick(world: World) -> None:
    world.pile_up()

    async def outer() -> None:
        with contextlib.suppress(DeadlineExceeded):
            await world.runtime.race(world.forever, world.after(1.5))
        await world.forever()

    with pytest.raises(DeadlineExceeded):
        await world.runtime.race(outer, world.after(2.5))
    assert cancelling() == 0


async def the_inner_one_expires_and_the_outer_goes_on(world: World) -> None:
    async def outer() -> str:
        with pytest.raises(DeadlineExceeded):
            await world.runtime.race(world.forever, world.after(1))
        assert cancelling() == 0
        await world.sleep(1)
        return "later"

    assert await world.runtime.race(outer, world.after(100)) == "later"


async def cleaning_up_has_a_race_of_its_own(world: World) -> None:
    async def stubborn() -> None:
        try:
            await world.forever()
        finally:
            assert cancelling() == 1
            with pytest.raises(DeadlineExceeded):
                await world.runtime.race(world.forever, world.after(1))
            assert cancelling() == 1

    with pytest.raises(DeadlineExceeded):
        await world.runtime.race(stubborn, world.after(1))
    assert cancelling() == 0


async def cancelled_while_cleaning_up_after_expiry(world: World) -> None:
    async def stubborn() -> None:
        try:
            await world.forever()
        finally:
            await world.sleep(3)

    race = world.runtime.race(stubborn, world.after(1))
    assert await settle(cancelled_at(world, 2, race)) == (asyncio.CancelledError, 1)


async def a_call_that_swallows_its_cancellation_answers(world: World) -> None:
    async def swallow() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await world.forever()
        await world.sleep(1)
        return "late, but here"

    assert await world.runtime.race(swallow, world.after(1)) == "late, but here"
    assert cancelling() == 0
    await world.sleep(1)


async def a_call_that_fails_when_cancelled_raises_its_own_error(world: World) -> None:
    async def fail() -> None:
        try:
            await world.forever()
        except asyncio.CancelledError:
            raise ValueError from None

    with pytest.raises(ValueError):
        await world.runtime.race(fail, world.after(1))
    assert cancelling() == 0


async def a_task_that_is_already_being_cancelled(world: World) -> None:
    async def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await cancelled_at(world, 1, world.forever())
        assert cancelling() == 1
        with pytest.raises(DeadlineExceeded):
            await world.runtime.race(world.forever, world.after(1))
        assert cancelling() == 1

    assert await settle(work()) == (None, 1)


async def inside_asyncio_timeout(world: World) -> None:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(world.tick):
            await world.runtime.race(world.forever, world.after(100))
    assert type(caught.value) is TimeoutError
    with pytest.raises(DeadlineExceeded):
        async with asyncio.timeout(100 * world.tick):
            await world.runtime.race(world.forever, world.after(1))
    assert cancelling() == 0


async def around_asyncio_timeout(world: World) -> None:
    async def limited(ticks: float) -> None:
        async with asyncio.timeout(ticks * world.tick):
            await world.forever()

    with pytest.raises(TimeoutError) as caught:
        await world.runtime.race(lambda: limited(1), world.after(100))
    assert type(caught.value) is TimeoutError
    with pytest.raises(DeadlineExceeded):
        await world.runtime.race(lambda: limited(100), world.after(1))
    assert cancelling() == 0


async def around_a_task_group(world: World) -> None:
    ended: list[str] = []

    async def child() -> None:
        try:
            await world.forever()
        finally:
            ended.append("child")

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(child())

    with pytest.raises(DeadlineExceeded):
        await world.runtime.race(group, world.after(1))
    assert (ended, cancelling()) == (["child"], 0)


async def inside_a_task_group_that_fails(world: World) -> None:
    async def fail() -> None:
        await world.sleep(1)
        raise ValueError

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())
            await world.runtime.race(world.forever, world.after(100))

    with pytest.raises(ExceptionGroup) as caught:
        await group()
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    assert cancelling() == 0


async def a_group_that_fails_as_the_race_expires(world: World) -> None:
    async def fail() -> None:
        try:
            await world.forever()
        except asyncio.CancelledError:
            raise ValueError from None

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())

    with pytest.raises(ExceptionGroup):
        await world.runtime.race(group, world.after(1))
    assert cancelling() == 0


async def the_deadline_is_in_force_inside_only(world: World) -> None:
    seen: list[float] = []

    async def look() -> None:
        seen.append(deadline())
        await world.sleep(1)
        seen.append(deadline())

    before, until = deadline(), world.after(100)
    await world.runtime.race(look, until)
    assert seen == [until, until]
    assert deadline() == before


CASES = [
    it_expires,
    it_returns_in_time,
    it_raises_in_time,
    a_cancellation_from_outside_passes,
    cancelled_then_expired_in_one_tick,
    expired_then_cancelled_in_one_tick,
    finished_and_expired_in_one_tick,
    inner_and_outer_expire_in_one_tick,
    the_inner_one_expires_and_the_outer_goes_on,
    cleaning_up_has_a_race_of_its_own,
    cancelled_while_cleaning_up_after_expiry,
    a_call_that_swallows_its_cancellation_answers,
    a_call_that_fails_when_cancelled_raises_its_own_error,
    a_task_that_is_already_being_cancelled,
    inside_asyncio_timeout,
    around_asyncio_timeout,
    around_a_task_group,
    inside_a_task_group_that_fails,
    a_group_that_fails_as_the_race_expires,
    the_deadline_is_in_force_inside_only,
]
