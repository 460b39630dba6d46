"""Virtual time: nothing waits, every moment is exact."""

from __future__ import annotations

import asyncio
import math
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from escala import Bulkhead, Deadline, LeakyBucket, TokenBucket
from escala.errors import BulkheadFull, DeadlineExceeded, Deadlock
from escala.kernel.runtime import colours, drive
from escala.testing import VirtualRuntime


def test_a_year_costs_nothing() -> None:
    world = VirtualRuntime()

    async def main() -> str:
        await world.sleep(365 * 86_400)
        return "later"

    assert world.run(main()) == "later"
    assert world.now() == 365 * 86_400


def test_asyncio_itself_is_virtual() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        await asyncio.sleep(10)  # noqa: TID251  that this is virtual, too, is the point
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await world.sleep(60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(world.sleep(60), 5)
        assert asyncio.get_running_loop().time() == world.now() == 20

    world.run(main())


def test_the_clock_goes_on_in_the_next_run() -> None:
    world = VirtualRuntime()
    for run in range(1, 4):
        world.run(world.sleep(2.5))
        assert world.now() == 2.5 * run


def test_a_sync_call_waits_for_its_time() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        limiter = TokenBucket("1/s", burst=1, wait="1h")
        for second in range(5):
            assert limiter.acquire()
            assert world.now() == pytest.approx(second)
        queue = LeakyBucket("1/min", shape="queue", queue=5, wait="1h")
        assert [queue.call(world.now) for _ in range(3)] == pytest.approx([4, 64, 124])

    world.run(main())


def test_a_sync_call_waits_in_vain_for_another_task() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        bulkhead = Bulkhead(1, queue=1, wait="5s")
        async with bulkhead:
            with pytest.raises(BulkheadFull, match="came free within 5 s"):
                bulkhead.call(len, "tea")
            assert world.now() == 5
            with pytest.raises(DeadlineExceeded):
                Deadline("2s").call(bulkhead.call, len, "tea")
            assert world.now() == 7
        assert bulkhead.call(len, "tea") == 3
        assert (bulkhead.free, bulkhead.waiting) == (1, 0)

    world.run(main())


def test_a_sync_call_that_no_one_can_wake_is_told_what_to_do() -> None:
    world, bulkhead = VirtualRuntime(), Bulkhead(1, queue=1)

    async def main() -> None:
        async with bulkhead:
            await world.sleep(3)
            bulkhead.call(len, "tea")

    with pytest.raises(Deadlock, match=r"^at 3 s a sync call waits .* await the `a` twin"):
        world.run(main())
    assert world.now() == 3
    assert (bulkhead.free, bulkhead.waiting) == (1, 0)


def test_a_sync_wait_that_is_ended_before_it_began_returns_at_once() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        parker = colours.thread.parker()
        parker.unpark()
        assert await parker.park(5)
        assert not await colours.thread.parker().park(0)
        assert world.now() == 0

    world.run(main())


def test_both_colours_tell_the_same_time() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        await world.sleep(3)
        assert colours.loop is world
        assert colours.thread.now() == colours.loop.now() == 3

    world.run(main())


def test_a_sync_sleep_moves_the_clock_and_lets_no_one_run() -> None:
    world = VirtualRuntime()
    told: list[tuple[str, float]] = []

    async def other() -> None:
        await world.sleep(1)
        told.append(("other", world.now()))

    async def main() -> None:
        task = asyncio.create_task(other())
        await world.sleep(0.5)
        drive(colours.thread.sleep(5))
        told.append(("main", world.now()))
        await task

    world.run(main())
    assert told == [("main", 5.5), ("other", 5.5)]


def test_the_clock_may_be_moved_by_hand() -> None:
    world = VirtualRuntime()
    world.advance(0.25)

    async def main() -> None:
        world.advance(2)

    world.run(main())
    assert world.now() == 2.25


@pytest.mark.parametrize("seconds", [-1.0, -1e-300, math.nan])
def test_the_clock_never_goes_back(seconds: float) -> None:
    world = VirtualRuntime()
    with pytest.raises(ValueError, match="only goes forward"):
        world.advance(seconds)
    assert world.now() == 0


@given(
    st.floats(0, 1e15),
    st.lists(st.floats(0, 1e9), min_size=1, max_size=20),
    st.integers(0, 3),
)
@example(1e15, [1e-9, 1e-3, 0.1], 0)
@example(3e7, [1e-9, 0.1, 5e-324], 0)
@example(0.0, [0.1] * 20, 1)
def test_every_sleep_ends_at_its_moment_however_late_it_is(
    start: float, sleeps: list[float], seed: int
) -> None:
    world = VirtualRuntime(seed)
    world.advance(start)

    async def main() -> None:
        for seconds in sleeps:
            due = world.now() + seconds
            await world.sleep(seconds)
            assert world.now() == due

    world.run(main())


@given(st.lists(st.floats(0, 1e12), max_size=30), st.integers(0, 3))
def test_timers_run_in_order_each_at_its_moment(moments: list[float], seed: int) -> None:
    world = VirtualRuntime(seed)
    ran: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def due(moment: float) -> None:
            assert world.now() == moment
            ran.append(moment)

        for moment in moments:
            loop.call_at(moment, due, moment)
        await world.sleep(1e13)

    world.run(main())
    assert ran == sorted(moments)


def test_neighbouring_moments_are_two_moments() -> None:
    world = VirtualRuntime()
    ran: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for moment in (0.3, math.nextafter(0.3, 0), math.nextafter(0.3, 1)):
            loop.call_at(moment, lambda: ran.append(world.now()))
        await world.sleep(1)

    world.run(main())
    assert ran == [math.nextafter(0.3, 0), 0.3, math.nextafter(0.3, 1)]


def test_a_cancelled_timer_does_not_hold_the_clock() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for moment in range(1, 500):
            loop.call_at(moment, pytest.fail, "ran").cancel()
        await world.sleep(1000)
        with pytest.raises(Deadlock):
            world._loop._jump()

    world.run(main())
    assert world.now() == 1000


def test_what_never_comes_is_not_waited_for() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        asyncio.get_running_loop().call_later(math.inf, pytest.fail, "ran")
        await world.sleep(sys.float_info.max)
        await world.sleep(math.inf)

    with pytest.raises(Deadlock, match="nothing is due and these tasks wait: main"):
        world.run(main())


def test_many_sleep_at_once() -> None:
    world = VirtualRuntime()
    awake: list[int] = []

    async def sleeper(at: int) -> None:
        await world.sleep(1)
        awake.append(at)

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            for at in range(2000):
                tasks.create_task(sleeper(at))

    world.run(main())
    assert awake == list(range(2000))
    assert world.now() == 1
