"""The sync colour: it blocks, it looks at the deadline, and it never blocks a running loop."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterator
from typing import NoReturn

import pytest

from escala.errors import DeadlineExceeded, WouldBlock
from escala.kernel.context import deadline
from escala.kernel.runtime import LoopRuntime, ThreadRuntime, colours, drive
from escala.testing import VirtualRuntime


def in_virtual_time(seed: int = 0) -> tuple[VirtualRuntime, ThreadRuntime]:
    """A world, and its sync colour as `run` installs it."""
    world = VirtualRuntime(seed)

    async def look() -> object:
        return colours.thread

    thread = world.run(look())
    assert isinstance(thread, ThreadRuntime)
    return world, thread


def test_drive_returns_what_the_coroutine_returns_and_raises_what_it_raises() -> None:
    async def answer() -> str:
        return "answer"

    async def fail() -> NoReturn:
        raise KeyError("key")

    assert drive(answer()) == "answer"
    with pytest.raises(KeyError, match="key"):
        drive(fail())


def test_drive_closes_a_coroutine_that_suspends() -> None:
    ended: list[str] = []

    async def suspend() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("closed")

    async def main() -> None:
        with pytest.raises(WouldBlock, match="call the `a` twin") as caught:
            drive(suspend())
        assert ended == ["closed"]  # at once, though the traceback still holds it
        assert caught.tb is not None

    VirtualRuntime().run(main())


def test_drive_closes_one_that_sleeps_on_the_loop() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        with pytest.raises(WouldBlock):
            drive(LoopRuntime().sleep(5))
        with pytest.raises(WouldBlock):
            drive(world.race(lambda: world.sleep(5), 3))
        await world.sleep(10)  # neither timer is left to cancel this task

    world.run(main())


def test_drive_lets_an_iteration_end() -> None:
    async def end() -> NoReturn:
        raise StopIteration("last")

    with pytest.raises(StopIteration) as caught:
        drive(end())
    assert caught.value.value == "last"
    assert caught.value.__suppress_context__


def test_drive_leaves_a_faulty_generator_its_error() -> None:
    def faulty() -> Iterator[object]:
        yield next(iter(()))

    async def use() -> object:
        return next(faulty())

    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        drive(use())


def test_a_sleep_blocks_for_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    runtime = ThreadRuntime(lambda: 50.0)
    for seconds in (2.5, 0, -1):
        drive(runtime.sleep(seconds))
    assert slept == [2.5]


def test_a_sleep_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    runtime = ThreadRuntime(lambda: 50.0)

    with pytest.raises(DeadlineExceeded):
        drive(runtime.race(lambda: runtime.sleep(10), 53))
    assert slept == [3]
    drive(runtime.race(lambda: runtime.sleep(3), 53))
    assert slept == [3, 3]


def test_a_sleep_after_the_deadline_does_not_begin() -> None:
    world, thread = in_virtual_time()

    async def late() -> None:
        world.advance(100)
        await thread.sleep(10)

    with pytest.raises(DeadlineExceeded):
        drive(thread.race(late, 5))
    assert world.now() == 100


def test_a_sleep_inside_a_loop_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(WouldBlock, match="have to sleep"):
            drive(ThreadRuntime().sleep(5))
        drive(ThreadRuntime().sleep(0))

    VirtualRuntime().run(main())


def test_a_race_refuses_what_is_too_late() -> None:
    runtime = ThreadRuntime(lambda: 50.0)

    async def unreached() -> None:
        pytest.fail("was called")

    for until in (50.0, 49.0, -math.inf):
        with pytest.raises(DeadlineExceeded, match="before the call began"):
            drive(runtime.race(unreached, until))


def test_a_race_lets_a_call_run_to_its_end_and_sets_its_deadline() -> None:
    world, thread = in_virtual_time()
    seen: list[float] = []

    async def compute() -> str:
        seen.append(deadline())
        world.advance(100)
        return "late, but here"

    assert drive(thread.race(lambda: thread.race(compute, 7), 5)) == "late, but here"
    assert seen == [5]
    assert deadline() == math.inf


def test_the_deadline_ends_with_the_race_that_failed() -> None:
    _, thread = in_virtual_time()

    async def fail() -> NoReturn:
        raise KeyError

    with pytest.raises(KeyError):
        drive(thread.race(fail, 5))
    assert deadline() == math.inf


def test_threads_have_deadlines_of_their_own() -> None:
    _, thread = in_virtual_time()
    seen: list[float] = []

    async def look() -> None:
        other = threading.Thread(target=lambda: seen.append(deadline()))
        other.start()
        other.join()
        seen.append(deadline())

    drive(thread.race(look, 5))
    assert seen == [math.inf, 5]


def test_a_sync_sleep_in_virtual_time_moves_the_clock_and_obeys_the_deadline() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        thread = colours.thread
        drive(thread.sleep(3))
        assert world.now() == thread.now() == 3
        with pytest.raises(DeadlineExceeded):
            drive(thread.race(lambda: thread.sleep(100), 10))
        assert world.now() == 10

    world.run(main())


def test_the_loop_colour_sleeps_by_suspending() -> None:
    world = VirtualRuntime()

    async def main() -> list[str]:
        order: list[str] = []

        async def other() -> None:
            await LoopRuntime().sleep(1)
            order.append("other")

        task = asyncio.create_task(other())
        await LoopRuntime().sleep(2)
        order.append("main")
        await task
        return order

    assert world.run(main()) == ["other", "main"]
