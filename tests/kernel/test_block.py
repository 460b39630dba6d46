"""`with policy:` and `async with policy:` around a block of code."""

from __future__ import annotations

import asyncio
import gc
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, suppress
from threading import Barrier

import pytest
from tests.kernel.policies import (
    Again,
    Answer,
    Numbered,
    Refuse,
    Slot,
    Slow,
    Swallow,
    Told,
    Translate,
    Within,
)

from escala.errors import DeadlineExceeded, WouldBlock
from escala.kernel import block as block_module
from escala.kernel.context import deadline
from escala.kernel.policy import Policy
from escala.kernel.stack import Stack
from escala.testing import VirtualRuntime


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    yield
    gc.collect()
    assert not block_module._unfinished
    assert block_module._here.get() == ()


def test_a_block_stands_where_the_call_would() -> None:
    told = Told()
    with told as entered:
        told.log.append("body")
    assert entered is told
    assert told.log == ["told begins", "body", "told ends"]


def test_an_async_block_too() -> None:
    told, world = Told(), VirtualRuntime()

    async def main() -> None:
        async with told as entered:
            await world.sleep(1)
            told.log.append("body")
        assert entered is told

    world.run(main())
    assert told.log == ["told begins", "body", "told ends"]


def test_blocks_nest_in_order() -> None:
    log: list[str] = []
    outer, inner = Told(log, "outer"), Told(log, "inner")
    with Stack(outer, inner), Told(log, "innermost"):
        log.append("body")
    names = ["outer begins", "inner begins", "innermost begins", "body"]
    assert log == [*names, "innermost ends", "inner ends", "outer ends"]


def test_one_policy_may_be_entered_again_inside_itself() -> None:
    slot = Slot()
    with slot, slot:
        with slot:
            assert slot.taken == 3
        assert slot.taken == 2
    assert slot.taken == 0


def test_the_block_that_was_entered_last_is_left_first() -> None:
    log: list[str] = []
    numbered = Numbered(log)
    with numbered, numbered, numbered:
        pass
    begins = ["1 begins", "2 begins", "3 begins"]
    assert log == [*begins, "3 ends", "2 ends", "1 ends"]


def test_each_policy_leaves_a_block_of_its_own_in_any_order() -> None:
    log: list[str] = []
    one, two = Told(log, "one"), Told(log, "two")
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    two.__exit__(None, None, None)
    assert log == ["one begins", "two begins", "one ends", "two ends"]


def test_one_policy_inside_itself_in_both_colours() -> None:
    slot = Slot()

    async def main() -> None:
        async with slot:
            with slot:
                async with slot:
                    assert slot.taken == 3
            assert slot.taken == 1

    VirtualRuntime().run(main())
    assert slot.taken == 0


def test_an_error_of_the_body_stays_itself() -> None:
    told = Told()
    error = ValueError("mine")

    def body() -> None:
        raise error

    with pytest.raises(ValueError) as caught, told, Slot():
        body()
    assert caught.value is error
    assert error.__cause__ is error.__context__ is None
    assert told.log == ["told begins", "told saw ValueError"]
    here = test_an_error_of_the_body_stays_itself.__name__
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == [here, "body"]


def test_an_error_of_an_async_body_stays_itself() -> None:
    told = Told()
    error = ValueError("mine")

    async def main() -> None:
        async with told, Slot():
            raise error

    with pytest.raises(ValueError) as caught:
        VirtualRuntime().run(main())
    assert caught.value is error
    assert told.log == ["told begins", "told saw ValueError"]
    frames = traceback.extract_tb(error.__traceback__)
    assert [frame.name for frame in frames][-1] == "main"
    assert not any("policies" in frame.filename for frame in frames)


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        asyncio.CancelledError(),
        StopIteration("value"),
        StopAsyncIteration(),
        RuntimeError("plain"),
        ExceptionGroup("group", [ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_kind_of_error_passes_through(error: BaseException) -> None:
    slot = Slot()

    async def main() -> None:
        async with slot:
            raise error

    with pytest.raises(type(error)) as caught, slot:
        raise error
    assert caught.value is error
    if isinstance(error, (Exception, asyncio.CancelledError)) and not isinstance(
        error, StopIteration
    ):
        with pytest.raises(type(error)):
            VirtualRuntime().run(main())
    assert slot.taken == 0


def test_an_error_with_a_cause_keeps_it() -> None:
    cause = StopIteration()
    with pytest.raises(RuntimeError, match="mine") as caught, Told():
        raise RuntimeError("mine") from cause
    assert caught.value.__cause__ is cause


def test_a_policy_may_swallow_the_error() -> None:
    async def main() -> str:
        async with Swallow():
            raise ValueError
        return "after"

    with Swallow():
        raise ValueError
    assert VirtualRuntime().run(main()) == "after"


def test_a_policy_may_raise_another_error() -> None:
    error = ValueError()
    with pytest.raises(LookupError, match="translated") as caught, Translate():
        raise error
    assert caught.value.__cause__ is error


def test_a_policy_may_refuse_the_block() -> None:
    with pytest.raises(PermissionError), Refuse():
        pytest.fail("was entered")

    async def main() -> None:
        async with Refuse():
            pytest.fail("was entered")

    with pytest.raises(PermissionError):
        VirtualRuntime().run(main())


@pytest.mark.parametrize("policy", [Again(1), Stack(Told(), Again(1)), Stack(Stack(Again(1)))])
def test_a_policy_that_repeats_is_refused_before_anything_happens(policy: Policy) -> None:
    async def main() -> None:
        async with policy:
            pytest.fail("was entered")

    with pytest.raises(TypeError, match="may run its call again, which a `with` block cannot"):
        VirtualRuntime().run(main())
    with pytest.raises(TypeError, match="use it as a decorator or through `call`"), policy:
        pytest.fail("was entered")


def test_a_policy_that_does_not_call_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Answer answered without its call"), Answer():
        pytest.fail("was entered")


def test_a_policy_that_calls_again_unannounced_is_stopped() -> None:
    slot = Slot()
    with pytest.raises(RuntimeError, match="ran its call again") as caught:  # noqa: SIM117
        with Stack(slot, Again(2, admits=False), slot):
            assert slot.taken == 2
    assert slot.taken == 0  # at once, though the traceback still holds the block
    assert caught.tb is not None


def test_leaving_without_entering_is_refused() -> None:
    with pytest.raises(RuntimeError, match="left without having been entered"):
        Told().__exit__(None, None, None)

    async def main() -> None:
        with pytest.raises(RuntimeError, match="left without having been entered"):
            await Told().__aexit__(None, None, None)

    VirtualRuntime().run(main())


def test_leaving_twice_is_refused() -> None:
    told = Told()
    told.__enter__()
    told.__exit__(None, None, None)
    with pytest.raises(RuntimeError):
        told.__exit__(None, None, None)


def test_two_tasks_interleave_on_one_policy() -> None:
    world, slot = VirtualRuntime(), Slot()

    async def use(begins: float, lasts: float) -> None:
        await world.sleep(begins)
        async with slot:
            await world.sleep(lasts)

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(use(0, 10))
            tasks.create_task(use(1, 3))
            tasks.create_task(use(2, 5))
        assert slot.most == 3

    world.run(main())
    assert slot.taken == 0


def test_a_task_started_inside_a_block_has_blocks_of_its_own() -> None:
    world, log = VirtualRuntime(), list[str]()
    policy = Told(log)

    async def child() -> None:
        async with policy:
            log.append("child")
            await world.sleep(10)

    async def main() -> None:
        async with policy:
            task = asyncio.create_task(child())
            await world.sleep(1)
            log.append("main")
        await task

    world.run(main())
    begins, ends = ["told begins"], ["told ends"]
    assert log == [*begins, *begins, "child", "main", *ends, *ends]


def test_threads_interleave_on_one_policy() -> None:
    slot, meet = Slot(), Barrier(4)

    def use(_: int) -> None:
        for _ in range(50):
            with slot:
                meet.wait()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))
    assert (slot.taken, slot.most) == (0, 4)


def test_a_sync_block_that_would_suspend_is_refused_and_cleaned_up() -> None:
    slow = Slow(before=5)

    async def main() -> None:
        with pytest.raises(WouldBlock), slow:
            pytest.fail("was entered")

    asyncio.run(main())
    assert slow.log == ["WouldBlock"]


def test_a_task_cancelled_on_its_way_in_or_out_or_inside() -> None:
    world, slow, slot = VirtualRuntime(), Slow(before=5, after=5), Slot()

    async def use() -> None:
        async with slot, slow, slot:
            await world.sleep(5)

    async def main() -> None:
        for moment in (1, 7, 12):
            task = asyncio.create_task(use())
            await world.sleep(moment)
            task.cancel()
            await asyncio.wait([task])
            assert (task.cancelled(), slot.taken) == (True, 0)

    world.run(main())
    assert slow.log == ["CancelledError"] * 3


def test_a_block_has_a_deadline() -> None:
    world, log = VirtualRuntime(), list[str]()

    async def main() -> None:
        with suppress(DeadlineExceeded):
            async with Told(log), Within(3):
                assert deadline() == 3
                try:
                    await world.sleep(100)
                finally:
                    log.append(f"body ended at {world.now():g}")
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        with Within(4):
            assert deadline() == 7
        async with Within(4):
            await world.sleep(3)
        await world.sleep(10)

    world.run(main())
    assert log == ["told begins", "body ended at 3", "told saw DeadlineExceeded"]


def test_a_block_inside_a_deadline_ends_first() -> None:
    world, slot = VirtualRuntime(), Slot()

    async def main() -> None:
        with pytest.raises(DeadlineExceeded):
            async with Within(3), slot, Within(9):
                await world.sleep(100)
        assert (slot.taken, world.now()) == (0, 3)

    world.run(main())


def test_exit_stacks() -> None:
    slot, told = Slot(), Told()
    with ExitStack() as stack:
        for policy in (slot, told, slot):
            stack.enter_context(policy)
        assert slot.taken == 2

    async def main() -> None:
        async with AsyncExitStack() as stack:
            for policy in (slot, told, slot):
                await stack.enter_async_context(policy)
            stack.enter_context(slot)
            assert slot.taken == 3

    VirtualRuntime().run(main())
    assert slot.taken == 0
    assert told.log == ["told begins", "told ends"] * 2
