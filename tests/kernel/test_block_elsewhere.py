"""Blocks that are left in another place than they were entered: nothing is lost, nothing kept."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager

import pytest
from tests.kernel.policies import Slot, Told, Within

from escala.kernel import block as block_module
from escala.kernel.context import deadline
from escala.kernel.policy import Policy
from escala.testing import VirtualRuntime


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    yield
    gc.collect()
    assert not block_module._unfinished
    with Slot():
        assert len(block_module._here.get()) == 1


@contextmanager
def inside(policy: Policy) -> Iterator[None]:
    """What a fixture or a dependency with a `yield` does."""
    with policy:
        yield


@asynccontextmanager
async def ainside(policy: Policy) -> AsyncIterator[None]:
    async with policy:
        yield


def in_a_context(fn: Callable[[], object]) -> None:
    contextvars.copy_context().run(fn)


def in_a_thread(fn: Callable[[], object]) -> None:
    thread = threading.Thread(target=fn)
    thread.start()
    thread.join()


def leave(opened: AbstractContextManager[None]) -> Callable[[], object]:
    return lambda: opened.__exit__(None, None, None)


@pytest.mark.parametrize("enter", [in_a_context, in_a_thread])
@pytest.mark.parametrize("exits", [in_a_context, in_a_thread])
def test_entered_in_one_context_and_left_in_another(
    enter: Callable[[Callable[[], object]], None], exits: Callable[[Callable[[], object]], None]
) -> None:
    told = Told()
    opened = inside(told)
    enter(opened.__enter__)
    exits(leave(opened))
    assert told.log == ["told begins", "told ends"]


def test_each_of_many_is_left_once_whatever_the_order() -> None:
    slot = Slot()
    opened = [inside(slot) for _ in range(4)]
    in_a_context(opened[0].__enter__)
    opened[1].__enter__()
    in_a_thread(opened[2].__enter__)
    opened[3].__enter__()
    leave(opened[1])()
    in_a_thread(leave(opened[3]))
    in_a_context(leave(opened[0]))
    leave(opened[2])()
    assert (slot.most, slot.taken) == (4, 0)


def test_one_that_was_taken_by_another_context_is_not_ended_twice() -> None:
    slot = Slot()
    with slot:
        opened = inside(slot)
        in_a_thread(opened.__enter__)
        in_a_context(leave(opened))  # this context inherits the block of the `with` around it
        assert slot.taken == 1
    assert slot.taken == 0


def test_a_block_of_the_other_colour_is_not_taken() -> None:
    slot = Slot()

    async def main() -> None:
        async with slot:
            with pytest.raises(RuntimeError, match="left without"):
                slot.__exit__(None, None, None)
            assert slot.taken == 1

    VirtualRuntime().run(main())


def test_generators_that_interleave() -> None:
    slot = Slot()

    def lines(count: int) -> Iterator[int]:
        with slot:
            yield from range(count)

    first, second = lines(2), lines(3)
    assert (next(first), next(second), slot.taken) == (0, 0, 2)
    assert (list(first), list(second), slot.taken) == ([1], [1, 2], 0)


def test_a_generator_that_is_dropped_closes_its_block() -> None:
    told = Told()

    def lines() -> Iterator[int]:
        with told:
            yield 1

    next(lines())
    gc.collect()
    assert told.log == ["told begins", "told saw GeneratorExit"]


def test_a_fixture_set_up_in_one_task_and_torn_down_in_another() -> None:
    world, told = VirtualRuntime(), Told()

    async def main() -> None:
        opened = ainside(told)
        await asyncio.create_task(opened.__aenter__())
        await asyncio.create_task(opened.__aexit__(None, None, None))

    world.run(main())
    assert told.log == ["told begins", "told ends"]


def test_entering_with_wait_for() -> None:
    world, slot = VirtualRuntime(), Slot()

    async def main() -> None:
        async with AsyncExitStack() as stack:
            await asyncio.wait_for(stack.enter_async_context(slot), 1)
            assert slot.taken == 1

    world.run(main())
    assert slot.taken == 0


def test_an_async_generator_that_is_not_read_to_its_end() -> None:
    world, slot = VirtualRuntime(), Slot()

    async def lines() -> AsyncIterator[int]:
        async with slot:
            for line in range(10):
                yield line

    async def main() -> None:
        for _ in range(50):
            async for _ in lines():
                break
            await world.sleep(1)
        gc.collect()
        await world.sleep(1)
        assert slot.taken == 0
        async with slot:  # what those left behind in this context is cleared away
            assert len(block_module._here.get()) == 1
        async for _ in lines():
            break

    world.run(main())
    assert slot.taken == 0


def test_a_coroutine_that_is_collected_closes_its_block() -> None:
    world, told = VirtualRuntime(), Told()

    async def use() -> None:
        async with told:
            await asyncio.get_running_loop().create_future()

    async def main() -> None:
        abandoned = use()
        contextvars.copy_context().run(abandoned.send, None)
        del abandoned
        gc.collect()

    world.run(main())
    assert told.log == ["told begins", "told saw GeneratorExit"]


def test_a_deadline_that_is_left_elsewhere_changes_nothing_there() -> None:
    opened = inside(Within(60))
    before = deadline()
    in_a_context(opened.__enter__)
    assert deadline() == before
    in_a_context(leave(opened))
    leave_here = inside(Within(60))
    in_a_thread(leave_here.__enter__)
    leave(leave_here)()
    assert deadline() == before
