"""Parkers: one wait of one caller, ended once, from wherever."""

from __future__ import annotations

import asyncio
import threading

import pytest

from escala.errors import DeadlineExceeded, Deadlock, WouldBlock
from escala.kernel.runtime import LoopRuntime, Parker, ThreadRuntime, drive
from escala.testing import VirtualRuntime


@pytest.mark.parametrize("timeout", [None, 0, -1, 5])
def test_an_unpark_that_came_first_lets_a_thread_through(timeout: float | None) -> None:
    parker = ThreadRuntime().parker()
    parker.unpark()
    assert drive(parker.park(timeout)) is True


@pytest.mark.parametrize("timeout", [None, 0, -1, 5])
@pytest.mark.parametrize("seed", range(4))
def test_an_unpark_that_came_first_lets_a_task_through(timeout: float | None, seed: int) -> None:
    world = VirtualRuntime(seed)

    async def main() -> bool:
        parker = world.parker()
        parker.unpark()
        return await parker.park(timeout)

    assert world.run(main()) is True
    assert world.now() == 0


@pytest.mark.parametrize("timeout", [0, -1])
def test_no_time_is_a_look_that_does_not_wait(timeout: float) -> None:
    world = VirtualRuntime()

    async def main() -> None:
        assert await ThreadRuntime().parker().park(timeout) is False  # though a loop is running
        parker = world.parker()
        passed: list[str] = []
        asyncio.get_running_loop().call_soon(passed.append, "a tick")
        assert await parker.park(timeout) is False
        assert passed == []

    world.run(main())
    assert drive(ThreadRuntime().parker().park(timeout)) is False


def test_a_task_waits_for_unpark() -> None:
    world = VirtualRuntime()

    async def main() -> bool:
        parker = world.parker()
        asyncio.get_running_loop().call_later(7, parker.unpark)
        return await parker.park()

    assert world.run(main()) is True
    assert world.now() == 7


def test_a_wait_that_is_over_leaves_no_timer() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        parker = world.parker()
        asyncio.get_running_loop().call_later(7, parker.unpark)
        assert await parker.park(1000) is True
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match="at 7 s"):
        world.run(main())


def test_a_task_waits_no_longer_than_its_timeout() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        parker = world.parker()
        assert await parker.park(3) is False
        parker.unpark()  # too late, and harmless

    world.run(main())
    assert world.now() == 3


def test_unpark_and_timeout_in_one_tick_have_one_winner() -> None:
    outcomes = set()
    for seed in range(16):
        world = VirtualRuntime(seed)

        async def main(world: VirtualRuntime = world) -> bool:
            parker = world.parker()
            asyncio.get_running_loop().call_later(3, parker.unpark)
            return await parker.park(3)

        outcomes.add(world.run(main()))
        assert world.now() == 3
    assert outcomes == {True, False}


def test_a_cancelled_park_may_still_be_unparked() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        parkers = [world.parker(), world.parker()]
        tasks = [asyncio.create_task(parkers[0].park()), asyncio.create_task(parkers[1].park(9))]
        await world.sleep(1)
        for task in tasks:
            task.cancel()
        parkers[0].unpark()  # between the request and its delivery
        await asyncio.wait(tasks)
        parkers[1].unpark()
        assert [task.cancelled() for task in tasks] == [True, True]

    world.run(main())
    assert world.now() == 1


def test_cancelled_and_unparked_in_one_tick() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        parker = world.parker()
        task = asyncio.create_task(parker.park())
        await world.sleep(1)
        parker.unpark()
        task.cancel()  # asyncio: a cancellation that comes before the wake-up is delivered wins
        await asyncio.wait([task])
        assert task.cancelled()

    world.run(main())


def test_a_thread_that_must_wait_inside_a_loop_is_refused() -> None:
    async def main() -> None:
        parker = ThreadRuntime().parker()
        for timeout in (None, 5):
            with pytest.raises(WouldBlock, match="await the `a` twin"):
                await parker.park(timeout)
        parker.unpark()
        assert await parker.park()

    VirtualRuntime().run(main())


def test_unpark_says_when_no_one_is_left_to_wake() -> None:
    async def make() -> Parker:
        parker = LoopRuntime().parker()
        assert parker.unpark() is True
        return parker

    with asyncio.Runner() as runner:
        parker = runner.run(make())
        assert parker.unpark() is True
    assert parker.unpark() is False
    assert ThreadRuntime().parker().unpark() is True


def test_a_task_may_be_unparked_from_another_loop() -> None:
    world = VirtualRuntime()

    async def main() -> bool:
        parker = world.parker()

        async def elsewhere() -> None:
            parker.unpark()

        thread = threading.Thread(target=asyncio.run, args=[elsewhere()])
        thread.start()
        thread.join()
        return await parker.park(5)

    assert world.run(main()) is True
    assert world.now() == 0


def test_a_loop_parker_belongs_to_a_task() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        LoopRuntime().parker()


class _Clock:
    """Monotonic time that someone else moves."""

    moment = 100.0

    def __call__(self) -> float:
        return self.moment


@pytest.mark.parametrize("timeout", [None, 2**-7, 60])
def test_a_thread_does_not_wait_past_the_deadline(timeout: float | None) -> None:
    clock = _Clock()
    runtime = ThreadRuntime(clock)

    async def wait() -> bool:
        return await runtime.parker().park(timeout)

    async def outer() -> bool:
        return await runtime.race(wait, clock.moment + 2**-7)

    with pytest.raises(DeadlineExceeded, match="took longer"):
        drive(outer())


def test_a_timeout_before_the_deadline_is_only_a_timeout() -> None:
    runtime = ThreadRuntime(_Clock())

    async def wait() -> bool:
        return await runtime.parker().park(1e-3)

    assert drive(runtime.race(wait, 101)) is False


def test_a_deadline_that_has_passed_lets_an_unparked_thread_through() -> None:
    clock = _Clock()
    runtime = ThreadRuntime(clock)

    async def wait(*, unparked: bool) -> bool:
        clock.moment += 10
        parker = runtime.parker()
        if unparked:
            parker.unpark()
        return await parker.park()

    assert drive(runtime.race(lambda: wait(unparked=True), 101)) is True
    with pytest.raises(DeadlineExceeded):
        drive(runtime.race(lambda: wait(unparked=False), 111))


def test_no_timeout_is_too_long() -> None:
    def now() -> float:
        parker.unpark()  # `park` has found nothing yet, and is about to block
        return 0.0

    parker = ThreadRuntime(now).parker()
    assert drive(parker.park(1e300)) is True
