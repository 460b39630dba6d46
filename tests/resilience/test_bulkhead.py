"""`Bulkhead` around calls: slots, the queue, and a slot that is never lost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import Flaky

from escala.errors import BulkheadFull, ConfigError, DeadlineExceeded, WouldBlock
from escala.kernel.runtime import LoopRuntime, Parker, ThreadRuntime, drive
from escala.kernel.stack import Stack
from escala.resilience import Bulkhead, Deadline
from escala.testing import Trial, VirtualRuntime, cancel_everywhere


async def work(seconds: float = 1.0) -> None:
    await asyncio.sleep(seconds)  # noqa: TID251  a user's own wait


async def turn() -> None:
    """Let every task that is ready run up to its next wait."""
    await asyncio.sleep(0)  # noqa: TID251  one turn of the loop


@both_colours
def test_gives_the_slot_back_however_the_call_ends(world: VirtualRuntime, call: Call[Any]) -> None:
    bulkhead = Bulkhead(slots=1)

    async def main() -> None:
        for _ in range(3):
            assert await call(bulkhead, lambda: bulkhead.free) == 0
            with pytest.raises(ValueError):
                await call(bulkhead, Flaky(ValueError()))
            with pytest.raises(KeyboardInterrupt):
                await call(bulkhead, Flaky(KeyboardInterrupt()))
        assert bulkhead.free == 1

    world.run(main())


@both_colours
def test_refuses_whom_it_cannot_hold(world: VirtualRuntime, call: Call[Any]) -> None:
    async def main() -> None:
        for bulkhead, reason in (
            (Bulkhead(slots=1), "the only slot is taken"),
            (Bulkhead(slots=1, queue=2), "the only slot and 2 places in the queue are taken"),
            (Bulkhead(slots=3), "all 3 slots are taken"),
        ):
            room = bulkhead.free + bulkhead.options.queue
            inside = [world.spawn(bulkhead.acall(work)) for _ in range(room)]
            await turn()
            with pytest.raises(BulkheadFull) as caught:
                await call(bulkhead, Flaky())
            assert str(caught.value) == f"bulkhead: {reason}"
            assert caught.value.retry_after is None
            await asyncio.gather(*inside)

    world.run(main())


@pytest.mark.parametrize("seed", range(5))
def test_first_come_first_served_and_never_more_than_the_slots(seed: int) -> None:
    world = VirtualRuntime(seed)
    bulkhead = Bulkhead(slots=2, queue=100)
    order: list[int] = []
    inside = most = 0

    async def one(number: int) -> None:
        nonlocal inside, most
        order.append(number)
        inside += 1
        most = max(most, inside)
        await work(1)
        inside -= 1

    async def main() -> None:
        tasks = []
        for number in range(20):
            tasks.append(world.spawn(bulkhead.acall(one, number)))
            await asyncio.sleep(0.001)  # noqa: TID251  so that the order is known
        await asyncio.gather(*tasks)

    world.run(main())
    assert order == list(range(20))
    assert most == 2
    assert (bulkhead.free, bulkhead.waiting) == (2, 0)
    assert world.now() == pytest.approx(10.0, abs=0.1)


def test_a_slot_is_handed_over_and_not_raced_for(world: VirtualRuntime) -> None:
    bulkhead = Bulkhead(slots=1, queue=1)
    served: list[str] = []

    async def one(name: str) -> None:
        served.append(name)

    async def main() -> None:
        async with bulkhead:
            patient = world.spawn(bulkhead.acall(one, "patient"))
            await turn()
        # The slot is back, the patient one not yet awake: a newcomer must not get in between.
        assert served == []
        assert bulkhead.free == 0
        await bulkhead.acall(one, "newcomer")
        await patient

    world.run(main())
    assert served == ["patient", "newcomer"]


def test_the_wait_in_the_queue_is_bounded(world: VirtualRuntime) -> None:
    bulkhead = Bulkhead(slots=1, queue=5, wait="300ms")

    async def main() -> None:
        inside = world.spawn(bulkhead.acall(work))
        await turn()
        with pytest.raises(BulkheadFull, match=r"none of 1 slots came free within 0\.3 s"):
            await bulkhead.acall(work)
        assert world.now() == pytest.approx(0.3)
        assert bulkhead.waiting == 0
        await inside
        assert bulkhead.free == 1

    world.run(main())


def test_the_deadline_ends_the_wait_in_the_queue(world: VirtualRuntime) -> None:
    bulkhead = Bulkhead(slots=1, queue=5, wait="30s")

    async def main() -> None:
        inside = world.spawn(bulkhead.acall(work))
        await turn()
        with pytest.raises(DeadlineExceeded, match=r"^deadline: "):
            await Stack(Deadline("300ms"), bulkhead).acall(work)
        assert world.now() == pytest.approx(0.3)
        async with Deadline("300ms"):
            heir = asyncio.ensure_future(bulkhead.acall(work))
        with pytest.raises(DeadlineExceeded, match="before one of 1 slots did"):
            await heir
        assert world.now() == pytest.approx(0.6)
        await inside
        assert (bulkhead.free, bulkhead.waiting) == (1, 0)

    world.run(main())


@pytest.mark.parametrize("seed", range(4))
def test_cancelled_anywhere_no_slot_is_lost(seed: int) -> None:
    async def scenario(trial: Trial) -> None:
        bulkhead = Bulkhead(slots=1, queue=3, wait="1500ms")
        before = trial.world.spawn(bulkhead.acall(work))
        await turn()
        victim = trial.victim(bulkhead.acall(work))
        await turn()
        after = trial.world.spawn(bulkhead.acall(work))
        await asyncio.wait({before, victim, after})
        await before
        with contextlib.suppress(BulkheadFull):
            await after
        assert victim.cancelled() is trial.reached
        assert (bulkhead.free, bulkhead.waiting) == (1, 0)
        await bulkhead.acall(work)

    assert cancel_everywhere(scenario, seed=seed) == 5


def test_a_slot_that_comes_as_the_wait_ends_is_kept(world: VirtualRuntime) -> None:
    """The wait runs out in the same instant in which the slot is handed over."""
    bulkhead = Bulkhead(slots=1, queue=1, wait=1.0)

    async def main() -> None:
        inside = world.spawn(bulkhead.acall(work, 1.0))
        await turn()
        with contextlib.suppress(BulkheadFull):
            await bulkhead.acall(work, 0.5)
        await inside
        assert (bulkhead.free, bulkhead.waiting) == (1, 0)

    world.run(main())


class Scripted(ThreadRuntime):
    """A thread that, as it parks, does something and then wakes as it is told."""

    def __init__(self, act: Any) -> None:
        super().__init__(now=lambda: 0.0)
        self.act = act
        self.limits: list[float | None] = []

    def parker(self) -> Parker:
        runtime = self

        class Place:
            woken = False

            async def park(self, timeout: float | None = None) -> bool:
                runtime.limits.append(timeout)
                runtime.act()
                return self.woken

            def unpark(self) -> bool:
                self.woken = True
                return True

        return Place()


async def nothing() -> str:
    return "done"


def test_a_thread_waits_and_is_handed_the_slot() -> None:
    bulkhead = Bulkhead(slots=1, queue=1)
    with contextlib.ExitStack() as first:
        first.enter_context(bulkhead)
        runtime = Scripted(first.close)
        assert drive(bulkhead.around(nothing, runtime)) == "done"
    assert runtime.limits == [None], "without `wait` and deadline there is no limit"
    assert bulkhead.free == 1


def test_a_thread_whose_slot_came_just_too_late_takes_it_all_the_same() -> None:
    bulkhead = Bulkhead(slots=1, queue=1, wait=2)

    class Late(Scripted):
        def parker(self) -> Parker:
            place: Any = super().parker()
            place.unpark = lambda: True  # the park has timed out already
            return place

    with contextlib.ExitStack() as first:
        first.enter_context(bulkhead)
        runtime = Late(first.close)
        assert drive(bulkhead.around(nothing, runtime)) == "done"
    assert runtime.limits == [2.0]
    assert bulkhead.free == 1


def test_an_error_in_the_wait_hands_the_slot_on() -> None:
    bulkhead = Bulkhead(slots=1, queue=1)

    def interrupted() -> None:
        first.close()
        raise KeyboardInterrupt

    with contextlib.ExitStack() as first:
        first.enter_context(bulkhead)
        with pytest.raises(KeyboardInterrupt):
            drive(bulkhead.around(nothing, Scripted(interrupted)))
    assert (bulkhead.free, bulkhead.waiting) == (1, 0)


def test_a_slot_is_free_again_between_the_two_looks() -> None:
    bulkhead = Bulkhead(slots=1, queue=0)

    class Slow(Scripted):
        def parker(self) -> Parker:
            first.close()
            return super().parker()

    with contextlib.ExitStack() as first:
        first.enter_context(bulkhead)
        assert drive(bulkhead.around(nothing, Slow(pytest.fail))) == "done"
    assert bulkhead.free == 1


def test_a_waiter_whose_loop_is_closed_swallows_no_slot() -> None:
    bulkhead = Bulkhead(slots=1, queue=9)
    loops = [asyncio.new_event_loop() for _ in range(2)]
    with bulkhead:
        tasks = [loop.create_task(bulkhead.acall(work)) for loop in loops]
        for loop in loops:
            loop.run_until_complete(turn())
            loop.close()
        assert bulkhead.waiting == 2
    assert (bulkhead.free, bulkhead.waiting) == (1, 0)
    _bury(*tasks)
    assert bulkhead.free == 1


def test_a_slot_on_its_way_to_a_loop_that_closes_comes_back_when_its_task_is_collected() -> None:
    bulkhead = Bulkhead(slots=1, queue=9)
    loop = asyncio.new_event_loop()
    with bulkhead:
        task = loop.create_task(bulkhead.acall(work))
        loop.run_until_complete(turn())
    assert bulkhead.free == 0, "handed over, but the loop does not run any more"
    loop.close()
    _bury(task)
    del task
    gc.collect()
    assert bulkhead.free == 1


def _bury(*tasks: Any) -> None:
    for task in tasks:
        task._log_destroy_pending = False  # it was abandoned on purpose
        task.get_coro().close()


def test_in_a_running_loop_a_sync_call_runs_unless_it_has_to_wait() -> None:
    bulkhead = Bulkhead(slots=1, queue=1)

    async def main() -> None:
        assert bulkhead.call(Flaky()) == "well"
        async with bulkhead:
            with pytest.raises(WouldBlock, match="await the `a` twin"):
                bulkhead.call(Flaky())
            assert bulkhead.waiting == 0
        assert bulkhead.free == 1

    asyncio.run(main())


def test_with_blocks_nest_and_give_back() -> None:
    bulkhead = Bulkhead(slots=2)

    async def main() -> None:
        with bulkhead:
            async with bulkhead:
                assert bulkhead.free == 0
                with pytest.raises(BulkheadFull), bulkhead:
                    pass
        assert bulkhead.free == 2

    asyncio.run(main())


def test_a_deadline_that_is_over_queues_no_one() -> None:
    bulkhead = Bulkhead(slots=1, queue=1)
    time = 0.0
    runtime = LoopRuntime(now=lambda: time)

    async def main() -> None:
        nonlocal time
        with bulkhead:
            pass
        async with bulkhead:
            limit = Deadline("1s")

            async def late() -> str:
                nonlocal time
                time = 5.0
                return await bulkhead.around(nothing, runtime)

            with pytest.raises(DeadlineExceeded):
                await limit.around(late, runtime)
            assert bulkhead.waiting == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"slots": 0}, "slots: expected an integer from 1"),
        ({"slots": 1.5}, "slots: expected an integer from 1"),
        ({"queue": -1}, "queue: expected an integer from 0"),
        ({"wait": -1}, "wait: expected a duration"),
        ({"wait": "long"}, "wait: expected a duration"),
        ({"wait": "1s"}, "expected a queue for who waits 1s, found none"),
    ],
    ids=repr,
)
def test_bad_arguments(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Bulkhead(**given)
    assert str(caught.value).startswith(f"Bulkhead: {message}")
