"""Parkers and blocks between real threads and real loops."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
import uvloop

from escala.kernel.runtime import LoopRuntime, Parker, ThreadRuntime, drive

pytestmark = pytest.mark.live

LOOPS = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
SOON = 0.005


def later(action: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(SOON, action)
    timer.start()
    return timer


def test_a_thread_is_woken_by_another() -> None:
    parker = ThreadRuntime().parker()
    timer = later(parker.unpark)
    assert drive(parker.park(10)) is True
    timer.join()


def test_a_thread_gives_up_after_its_timeout() -> None:
    parker = ThreadRuntime().parker()
    began = time.monotonic()
    assert drive(parker.park(SOON)) is False
    assert time.monotonic() - began >= SOON


@LOOPS
def test_a_task_is_woken_by_a_thread(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        parker = LoopRuntime().parker()
        timer = later(parker.unpark)
        assert await parker.park(10) is True
        timer.join()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@LOOPS
def test_a_task_gives_up_after_its_timeout(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        assert await LoopRuntime().parker().park(SOON) is False

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@LOOPS
def test_the_task_of_a_closed_loop_cannot_be_unparked(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    parkers: list[Parker] = []

    async def main() -> None:
        parkers.append(LoopRuntime().parker())

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
    assert parkers[0].unpark() is False


@LOOPS
def test_every_hand_over_between_threads_and_tasks_arrives(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    rounds = 300

    async def main() -> int:
        woken = 0
        for _ in range(rounds):
            mine, its = LoopRuntime().parker(), ThreadRuntime().parker()
            thread = threading.Thread(target=lambda its=its, mine=mine: answer(its, mine))
            thread.start()
            its.unpark()
            woken += await mine.park(10)
            thread.join()
        return woken

    def answer(its: Parker, mine: Parker) -> None:
        assert drive(its.park(10))
        mine.unpark()

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(main()) == rounds
