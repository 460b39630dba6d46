"""The life of a virtual world: runs, spawned tasks, nesting, closing, leaving nothing behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from escala.errors import Deadlock
from escala.kernel.context import Request, current_request, serving
from escala.kernel.runtime import LoopRuntime, ThreadRuntime, colours
from escala.testing import VirtualRuntime


async def answer() -> str:
    return "answer"


def test_run_returns_what_main_returns() -> None:
    assert VirtualRuntime().run(answer()) == "answer"


def test_spawned_tasks_run_beside_main_and_are_cancelled_after_it() -> None:
    world, log = VirtualRuntime(), list[str]()

    async def tick() -> None:
        try:
            while True:
                await world.sleep(1)
                log.append(f"{world.now():g}")
        finally:
            log.append("stopped")

    world.spawn(tick())  # before the run, too
    world.run(world.sleep(3.5))
    assert log == ["1", "2", "3", "stopped"]
    world.run(world.sleep(3.5))
    assert len(log) == 4


def test_a_spawned_task_can_be_awaited() -> None:
    world = VirtualRuntime()

    async def main() -> list[str]:
        answers = await asyncio.gather(*(world.spawn(answer()) for _ in range(3)))
        await world.sleep(1)
        assert len(world._watched) == 1  # main itself: what has ended well is let go
        return answers

    assert world.run(main()) == ["answer"] * 3
    assert world._watched == {}


def test_the_colours_come_back() -> None:
    before = colours.thread, colours.loop
    world = VirtualRuntime()
    world.run(answer())
    assert (colours.thread, colours.loop) == before

    async def fail() -> None:
        assert colours.loop is world
        raise ValueError

    for _ in range(2):
        with pytest.raises(ValueError):
            world.run(fail())
        assert (colours.thread, colours.loop) == before
    assert isinstance(before[0], ThreadRuntime)
    assert isinstance(before[1], LoopRuntime)


def test_run_inside_a_running_loop_is_refused() -> None:
    world = VirtualRuntime()

    async def main() -> None:
        for inner in (world, VirtualRuntime()):
            with pytest.raises(RuntimeError, match="an event loop runs in this thread: await"):
                inner.run(answer())

    world.run(main())
    asyncio.run(main())
    assert world.run(answer()) == "answer"


def test_two_worlds_at_once_are_refused() -> None:
    caught: list[RuntimeError] = []

    def other() -> None:
        try:
            VirtualRuntime().run(answer())
        except RuntimeError as error:
            caught.append(error)

    async def main() -> None:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    VirtualRuntime().run(main())
    assert "one virtual time" in str(caught[0])


def test_a_closed_world_is_refused() -> None:
    world = VirtualRuntime()
    world.run(answer())
    world.close()
    world.close()
    with pytest.raises(RuntimeError, match="is closed"):
        world.run(answer())
    assert world.now() == 0


def test_what_is_no_coroutine_is_refused() -> None:
    before = colours.loop
    with pytest.raises(TypeError, match="a coroutine was expected"):
        VirtualRuntime().run(answer)  # type: ignore[arg-type]
    assert colours.loop is before


def test_async_generators_are_closed_at_the_end_of_each_run() -> None:
    world, log = VirtualRuntime(), list[str]()

    async def lines(name: str) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await world.sleep(1)
            log.append(name)

    async def main(name: str) -> object:
        reading = lines(name)
        await anext(reading)
        return reading

    kept = [world.run(main("first")), world.run(main("second"))]
    assert log == ["first", "second"]
    assert len(kept) == 2


def test_context_of_the_caller_is_seen() -> None:
    async def look() -> Request | None:
        return current_request()

    request = Request()
    with serving(request):
        assert VirtualRuntime().run(look()) is request


@pytest.mark.parametrize("how", ["fine", "fails", "deadlock", "never run", "left open"])
def test_a_world_that_is_dropped_leaves_nothing_behind(how: str) -> None:
    gc.collect()

    def use() -> weakref.ref[Any]:
        world = VirtualRuntime(3)

        async def main() -> None:
            task = world.spawn(asyncio.wait_for(world.sleep(5), 60))
            if how == "fails":
                raise ValueError
            if how == "deadlock":
                await asyncio.Future[None]()
            await asyncio.wait([task])

        if how == "never run":
            return weakref.ref(world._loop)
        with suppress(ValueError, Deadlock):
            world.run(main())
        if how != "left open":
            world.close()
        return weakref.ref(world._loop)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop = use()
        gc.collect()
    assert loop() is None


def test_a_thread_may_call_in_while_the_loop_is_busy() -> None:
    world = VirtualRuntime()

    async def main() -> bool:
        loop, called = asyncio.get_running_loop(), asyncio.Event()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=[called.set])
        thread.start()
        thread.join()
        return await asyncio.wait_for(called.wait(), 5)

    assert world.run(main()) is True
    assert world.now() == 0


def test_a_thread_may_call_in_just_before_the_clock_would_jump(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = VirtualRuntime()

    async def main() -> float:
        loop, called = asyncio.get_running_loop(), asyncio.Event()
        really = world._loop._jump

        def jump() -> None:
            loop.call_soon_threadsafe(called.set)
            really()

        monkeypatch.setattr(world._loop._selector, "_jump", jump)  # type: ignore[attr-defined]
        async with asyncio.timeout(5):
            await called.wait()
        return world.now()

    assert world.run(main()) == 0
