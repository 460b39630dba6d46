"""No error is lost in a virtual world: deadlocks, spawned tasks, what will not end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import NoReturn

import pytest

from escala.errors import Deadlock
from escala.kernel.runtime import colours
from escala.testing import VirtualRuntime


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def fail(error: BaseException, world: VirtualRuntime, after: float = 0) -> NoReturn:
    await world.sleep(after)
    raise error


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> object:
    before = colours.thread, colours.loop
    with caplog.at_level(logging.DEBUG + 1):
        yield
    assert caplog.records == []
    assert (colours.thread, colours.loop) == before


def test_a_deadlock_names_who_waits() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        world.spawn(forever(), name="worker")
        world.spawn(forever())
        await world.sleep(2.5)
        await forever()

    with pytest.raises(Deadlock) as caught:
        world.run(main())
    text = "at 2.5 s nothing is due and these tasks wait: main, worker, task-3"
    assert str(caught.value) == text


def test_after_a_deadlock_everything_has_cleaned_up() -> None:
    world, ended = VirtualRuntime(), list[str]()

    async def wait(name: str) -> None:
        try:
            await forever()
        finally:
            await world.sleep(3)
            ended.append(name)

    async def main() -> None:
        world.spawn(wait("spawned"))
        await wait("main")

    with pytest.raises(Deadlock):
        world.run(main())
    assert ended == ["main", "spawned"]
    assert world.run(world.sleep(1)) is None


def test_the_error_of_main_comes_as_it_is() -> None:
    world, error = VirtualRuntime(), ValueError("mine")
    with pytest.raises(ValueError) as caught:
        world.run(fail(error, world))
    assert caught.value is error
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_is_no_ordinary_error_comes_alone(kind: type[BaseException]) -> None:
    world, ended = VirtualRuntime(), list[str]()

    async def child() -> None:
        try:
            await forever()
        finally:
            ended.append("child")

    async def main() -> None:
        world.spawn(child())
        await world.sleep(1)
        raise kind

    with pytest.raises(kind):
        world.run(main())
    assert ended == ["child"]


def test_an_error_of_a_spawned_task_is_raised() -> None:
    world, error = VirtualRuntime(), ValueError("mine")

    async def main() -> str:
        world.spawn(fail(error, world, after=1), name="worker")
        await world.sleep(2)
        return "fine"

    with pytest.raises(ValueError) as caught:
        world.run(main())
    assert caught.value is error
    assert error.__notes__ == ["raised in the task 'worker', which no one awaited"]


def test_an_error_that_someone_has_got_is_not_raised_again() -> None:
    world = VirtualRuntime()

    async def main() -> str:
        with suppress(ValueError):
            await world.spawn(fail(ValueError(), world))
        task = world.spawn(fail(ValueError(), world))
        await asyncio.wait([task])
        assert isinstance(task.exception(), ValueError)
        await asyncio.gather(world.spawn(fail(KeyError(), world)), return_exceptions=True)
        return "fine"

    assert world.run(main()) == "fine"


def test_several_errors_come_in_a_group() -> None:
    world = VirtualRuntime()
    errors = [ValueError("main"), KeyError("first"), OSError("second")]

    async def main() -> None:
        world.spawn(fail(errors[1], world))
        world.spawn(fail(errors[2], world, after=1))
        await fail(errors[0], world, after=2)

    with pytest.raises(ExceptionGroup, match="main and the tasks beside it failed") as caught:
        world.run(main())
    assert list(caught.value.exceptions) == errors


def test_why_a_deadlock_came_is_told_too() -> None:
    world, done = VirtualRuntime(), asyncio.Event()

    async def main() -> None:
        world.spawn(fail(ValueError("the cause"), world))
        await done.wait()

    with pytest.raises(ExceptionGroup) as caught:
        world.run(main())
    assert [type(error) for error in caught.value.exceptions] == [Deadlock, ValueError]


def test_an_error_while_cleaning_up_is_raised() -> None:
    world = VirtualRuntime()

    async def child() -> None:
        try:
            await forever()
        finally:
            raise ValueError("cannot clean up")

    async def main() -> str:
        world.spawn(child())
        await world.sleep(1)
        return "fine"

    with pytest.raises(ValueError, match="cannot clean up"):
        world.run(main())


def test_an_error_of_main_while_cleaning_up_is_raised() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        try:
            await forever()
        finally:
            raise ValueError("cannot clean up")

    with pytest.raises(ExceptionGroup) as caught:
        world.run(main())
    assert [type(error) for error in caught.value.exceptions] == [Deadlock, ValueError]


def test_a_cancelled_task_is_no_error() -> None:
    world = VirtualRuntime()

    async def main() -> str:
        task = world.spawn(forever())
        await world.sleep(1)
        task.cancel()
        await world.sleep(1)
        return "fine"

    assert world.run(main()) == "fine"


async def stubborn(release: asyncio.Event, world: VirtualRuntime, every: float | None) -> None:
    while not release.is_set():
        with suppress(asyncio.CancelledError):
            await (world.sleep(every) if every else release.wait())


@pytest.mark.parametrize("every", [None, 1.0], ids=["waits", "works"])
def test_a_task_that_will_not_end_is_named(every: float | None) -> None:
    world, release = VirtualRuntime(), asyncio.Event()

    async def main() -> str:
        world.spawn(stubborn(release, world, every), name="mule")
        world.spawn(forever(), name="lamb")
        await world.sleep(1)
        return "fine"

    with pytest.raises(Deadlock, match=r"^3600 s after they were cancelled these go on: mule$"):
        world.run(main())
    assert world.now() == 3601
    release.set()
    world.run(world.sleep(10))


def test_a_deadlock_in_an_async_generator_that_is_closed() -> None:
    world, release = VirtualRuntime(), asyncio.Event()

    async def lines() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await release.wait()

    async def main() -> AsyncIterator[int]:
        reading = lines()
        await anext(reading)
        return reading

    with pytest.raises(Deadlock):
        world.run(main())

    async def fails() -> None:
        reading.append(lines())
        await anext(reading[0])
        raise ValueError

    reading: list[AsyncIterator[int]] = []
    with pytest.raises(ExceptionGroup) as caught:
        world.run(fails())
    assert [type(error) for error in caught.value.exceptions] == [ValueError, Deadlock]
    release.set()
    world.run(world.sleep(10))


def test_a_spawned_task_that_failed_in_an_earlier_run_is_not_told_again() -> None:
    world = VirtualRuntime()
    world.spawn(fail(ValueError(), world))
    with pytest.raises(ValueError):
        world.run(world.sleep(1))
    assert world._watched == {}
    world.run(world.sleep(1))
