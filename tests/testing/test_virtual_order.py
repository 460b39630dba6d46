"""The order in a virtual world: plain for seed 0, another for another seed, the same each time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.testing import VirtualRuntime


def told(seed: int, *, steps: int = 3, tasks: int = 6) -> list[str]:
    """Who ran when: tasks that are always ready together."""
    world, log = VirtualRuntime(seed), list[str]()

    async def work(name: str) -> None:
        for step in range(steps):
            await world.sleep(1)
            log.append(f"{name}{step}")

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for name in "abcdef"[:tasks]:
                group.create_task(work(name))

    world.run(main())
    return log


def test_seed_zero_keeps_the_order_in_which_things_became_ready() -> None:
    assert told(0) == [f"{name}{step}" for step in range(3) for name in "abcdef"]


@given(st.integers(0, 2**64))
def test_one_seed_is_one_order(seed: int) -> None:
    assert told(seed) == told(seed)


def test_other_seeds_are_other_orders() -> None:
    orders = {tuple(told(seed)) for seed in range(50)}
    assert len(orders) == 50


def test_each_order_comes_with_some_seed() -> None:
    assert len({tuple(told(seed, steps=1, tasks=3)) for seed in range(100)}) == 6


def test_the_draws_are_seeded_alike() -> None:
    assert VirtualRuntime(7).rng.random() == random.Random(7).random()
    world = VirtualRuntime(7)
    told(7)
    assert world.rng.random() == random.Random(7).random()


def ready(seed: int) -> list[int]:
    """Who ran when, of tasks that wait for nothing."""
    world, log = VirtualRuntime(seed), list[int]()

    async def work(at: int) -> None:
        log.append(at)

    async def main() -> None:
        await asyncio.gather(*(work(at) for at in range(10)))

    world.run(main())
    return log


def test_tasks_that_are_ready_at_once() -> None:
    assert ready(0) == list(range(10))
    assert len({tuple(ready(seed)) for seed in range(20)}) == 20


def timers(seed: int) -> list[int]:
    world, ran = VirtualRuntime(seed), list[int]()

    async def main() -> None:
        for at in range(10):
            asyncio.get_running_loop().call_at(1.0, ran.append, at)
        await world.sleep(2)

    world.run(main())
    return ran


def test_timers_of_one_instant() -> None:
    assert timers(0) == list(range(10))
    assert timers(1) == timers(1) != list(range(10))
    assert sorted(timers(1)) == list(range(10))


@pytest.mark.parametrize("seed", range(20))
def test_callbacks_keep_the_order_that_asyncio_promises(seed: int) -> None:
    """A protocol's `data_received` comes in the order of the bytes, whatever the seed."""
    world, ran = VirtualRuntime(seed), list[int]()

    async def idle() -> None:
        await world.sleep(0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for at in range(10):
            loop.call_soon(ran.append, at)
            asyncio.create_task(idle())  # noqa: RUF006  something to shuffle
        await world.sleep(1)

    world.run(main())
    assert ran == list(range(10))


@pytest.mark.parametrize("seed", range(20))
def test_a_queue_stays_a_queue(seed: int) -> None:
    world, got = VirtualRuntime(seed), list[int]()

    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(2)

        async def put() -> None:
            for number in range(20):
                await queue.put(number)

        async def get() -> None:
            for _ in range(20):
                got.append(await queue.get())

        await asyncio.gather(put(), get())

    world.run(main())
    assert got == list(range(20))


def cancelled_order(stop: Callable[[list[asyncio.Task[None]]], object]) -> list[str]:
    """In which order asyncio's own sets of tasks are walked through."""
    world, log = VirtualRuntime(), list[str]()

    async def work(name: str) -> None:
        try:
            await world.sleep(100)
        finally:
            log.append(name)

    async def main() -> None:
        tasks = [asyncio.create_task(work(f"{at}")) for at in range(12)]
        await world.sleep(1)
        stop(tasks)

    world.run(main())
    return log


def test_what_is_left_is_cancelled_in_the_order_of_its_birth() -> None:
    assert cancelled_order(lambda _: None) == [f"{at}" for at in range(12)]


def test_sets_of_tasks_have_an_order() -> None:
    # Not by address, which differs from run to run: so a task group cancels in the same order.
    order = cancelled_order(lambda tasks: [task.cancel() for task in set(tasks)])
    keep_memory_busy = [object() for _ in range(1000)]
    assert order == cancelled_order(lambda tasks: [task.cancel() for task in set(tasks)])
    assert len(keep_memory_busy) == 1000


def test_the_code_under_test_may_bring_a_task_factory() -> None:
    world, made = VirtualRuntime(), list[str]()

    async def work() -> str:
        return "done"

    def factory(
        loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        made.append("task")
        return asyncio.Task(coro, loop=loop, **options)

    async def main() -> str:
        asyncio.get_running_loop().set_task_factory(factory)  # type: ignore[arg-type]
        return await asyncio.create_task(work())

    assert world.run(main()) == "done"
    assert len(made) >= 1


def test_tasks_have_names_that_repeat() -> None:
    def names() -> list[str]:
        world, seen = VirtualRuntime(), list[str]()

        async def note() -> None:
            task = asyncio.current_task()
            assert task is not None
            seen.append(task.get_name())

        async def main() -> None:
            await note()
            await asyncio.gather(note(), note(), asyncio.create_task(note(), name="mine"))
            await world.spawn(note(), name="spawned")
            await world.spawn(note())

        world.run(main())
        return seen

    assert names() == names()
    assert names()[0] == "main"
    assert {"mine", "spawned"} < set(names())
