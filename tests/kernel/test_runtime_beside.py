"""`beside`: a call that runs beside its caller's, as a task or in another thread."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from escala.kernel.context import deadline, restore, shorten
from escala.kernel.runtime import LoopRuntime, ThreadRuntime, colours, drive
from escala.testing import VirtualRuntime

where: ContextVar[str] = ContextVar("where", default="outside")
Told = list[tuple[Any, BaseException | None]]


def refuse(_: Callable[[], None]) -> bool:
    return False


class InThread:
    """Hands over to a new thread, which is joined at the end of the test."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def __call__(self, run: Callable[[], None]) -> bool:
        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()
        return True

    def join(self) -> None:
        for thread in self.threads:
            thread.join()


async def answer() -> str:
    return f"{where.get()} until {deadline()}"


async def fail() -> None:
    raise ValueError("broken")


async def stop_iteration() -> None:
    def step() -> None:
        raise StopIteration(7)

    step()


# In a task


@pytest.mark.parametrize("seed", range(3))
def test_a_task_has_a_copy_of_the_context_and_tells_its_value(seed: int) -> None:
    world, told = VirtualRuntime(seed), Told()

    async def main() -> None:
        where.set("caller")
        before = shorten(9.0)
        assert world.beside(answer, lambda *end: told.append(end), refuse) is not None
        restore(before)
        where.set("caller, later")
        assert told == [], "not before its caller waits"
        await world.sleep(1)

    world.run(main())
    assert told == [("caller until 9.0", None)]


def test_a_task_tells_its_error() -> None:
    world, told = VirtualRuntime(), Told()

    async def main() -> None:
        world.beside(fail, lambda *end: told.append(end), refuse)
        await world.sleep(1)

    world.run(main())
    ((value, error),) = told
    assert value is None
    assert isinstance(error, ValueError)


@pytest.mark.parametrize("turns", [0, 3], ids=["before its first step", "while it waits"])
def test_a_task_that_is_cancelled_ends_and_tells_so(turns: int) -> None:
    world, told = VirtualRuntime(), Told()

    async def main() -> None:
        beside = world.beside(lambda: world.sleep(60), lambda *end: told.append(end), refuse)
        assert beside is not None
        for _ in range(turns):
            await world.sleep(0)
        assert beside.cancel() is True
        await world.sleep(1)
        assert beside.cancel() is False, "it has ended"

    world.run(main())
    assert world.now() == 1.0
    ((value, error),) = told
    assert value is None
    assert type(error) is asyncio.CancelledError


def test_a_task_that_no_one_holds_is_not_collected() -> None:
    told = Told()

    async def main() -> None:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        reference = weakref.ref(future)
        wait = functools.partial(asyncio.wait_for, future, None)
        assert LoopRuntime().beside(wait, lambda *end: told.append(end), refuse)
        await asyncio.sleep(0)  # noqa: TID251  one turn
        del wait, future
        gc.collect()
        kept = reference()
        assert kept is not None
        kept.set_result("answer")
        await asyncio.sleep(0.01)  # noqa: TID251  a few turns

    asyncio.run(main())
    assert told == [("answer", None)]


# In a thread


def test_a_thread_has_a_copy_of_the_context_and_tells_its_value() -> None:
    told, threads = Told(), InThread()
    before, token = shorten(9.0), where.set("caller")
    beside = ThreadRuntime().beside(answer, lambda *end: told.append(end), threads)
    where.reset(token)
    restore(before)
    threads.join()
    assert told == [("caller until 9.0", None)]
    assert beside is not None
    assert beside.cancel() is False, "no one can stop a thread"


@pytest.mark.parametrize(
    ("call", "kind"), [(fail, ValueError), (stop_iteration, StopIteration)], ids=["error", "stop"]
)
def test_a_thread_tells_its_error(call: Any, kind: type[BaseException]) -> None:
    told, threads = Told(), InThread()
    ThreadRuntime().beside(call, lambda *end: told.append(end), threads)
    threads.join()
    ((value, error),) = told
    assert value is None
    assert isinstance(error, kind)


def test_without_a_free_thread_nothing_is_run() -> None:
    told = Told()
    assert ThreadRuntime().beside(answer, lambda *end: told.append(end), refuse) is None
    assert told == []


def test_a_call_that_would_suspend_in_a_thread_is_told_as_an_error() -> None:
    told, threads = Told(), InThread()

    async def suspend() -> None:
        await asyncio.sleep(1)  # noqa: TID251  what does not belong there

    ThreadRuntime().beside(suspend, lambda *end: told.append(end), threads)
    threads.join()
    ((_, error),) = told
    assert isinstance(error, RuntimeError)


@pytest.mark.parametrize("virtual", [True, False], ids=["virtual", "asyncio"])
def test_in_a_running_loop_no_thread_is_asked_for(virtual: bool) -> None:
    """Waiting for it would stop the loop; in virtual time no thread would know the time."""
    asked = InThread()

    async def main() -> None:
        assert colours.thread.beside(answer, lambda *_: None, asked) is None

    if virtual:
        VirtualRuntime().run(main())
    else:
        asyncio.run(main())
    assert asked.threads == []


def test_drive_is_what_runs_it() -> None:
    assert drive(answer()) == "outside until inf"
