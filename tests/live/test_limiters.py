"""Limiters in real time, between threads that switch as often as they can."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.limiting.limiters import Make, every_limiter

from escala import TokenBucket

THREADS = 8
TOKENS, TRIES, RUNS = 50_000, 1_600_000, 5


@pytest.fixture
def _many_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def granted_to_threads(limiter: TokenBucket, tries: int) -> int:
    start = threading.Barrier(THREADS)

    def ask() -> int:
        acquire, granted = limiter.acquire, 0
        start.wait()
        for _ in range(tries // THREADS):
            granted += acquire().allowed
        return granted

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(each.result() for each in [pool.submit(ask) for _ in range(THREADS)])


@pytest.mark.usefixtures("_many_switches")
@pytest.mark.timeout(180)
def test_fifty_thousand_tokens_are_fifty_thousand() -> None:
    for _ in range(RUNS):
        limiter = TokenBucket("1/d", burst=TOKENS)
        assert granted_to_threads(limiter, TRIES) == TOKENS


@pytest.mark.usefixtures("_many_switches")
@every_limiter
def test_no_limiter_grants_one_too_many_or_too_few(make: Make) -> None:
    limiter = make("2000/d; 3000/36500d")
    assert granted_to_threads(limiter, 8_000) == 2_000


Served = list[tuple[int, float]]  # who, and how many seconds after the beginning


def best_of_three(run: Callable[[], Served], order: list[int], most: float) -> None:
    """On a busy machine one run may be held up; never may one be too fast."""
    took = 0.0
    served: Served = []
    for _ in range(3):
        served = run()
        took = served[-1][1]
        assert took >= len(order) / 100 - 1e-3
        if took <= most and [number for number, _ in served] == order:
            return
    raise AssertionError(f"last of three: {took:.3f} s, {served}")


def fifty_tasks(leaving: int) -> Served:
    limiter = TokenBucket("100/s", burst=1)
    served: Served = []

    async def one(number: int, began: float) -> None:
        assert await limiter.aacquire(wait="10s")
        served.append((number, time.monotonic() - began))

    async def main() -> None:
        assert limiter.acquire()
        began, tasks = time.monotonic(), []
        for number in range(50):
            tasks.append(asyncio.create_task(one(number, began)))
            await asyncio.sleep(0)
        for task in tasks[1::2][:leaving]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    return served


def fifty_threads() -> Served:
    limiter = TokenBucket("100/s", burst=1)
    served, lock = list[tuple[int, float]](), threading.Lock()
    assert limiter.acquire()
    began = time.monotonic()

    def one(number: int) -> None:
        assert limiter.acquire(wait="10s")
        with lock:
            served.append((number, time.monotonic() - began))

    threads = []
    for number in range(50):
        threads.append(threading.Thread(target=one, args=(number,)))
        threads[-1].start()
        while limiter.snapshot()["waiting"] + len(served) <= number:
            time.sleep(0)
    for thread in threads:
        thread.join()
    return served


def test_fifty_tasks_are_served_in_half_a_second() -> None:
    best_of_three(lambda: fifty_tasks(0), list(range(50)), 0.55)


def test_no_slot_goes_to_one_that_has_left() -> None:
    best_of_three(lambda: fifty_tasks(25), list(range(0, 50, 2)), 0.30)


def test_fifty_threads_are_served_in_half_a_second() -> None:
    best_of_three(fifty_threads, list(range(50)), 0.55)


@every_limiter
def test_threads_and_tasks_wait_in_one_line(make: Make) -> None:
    limiter = make("200/s")

    async def tasks() -> int:
        return sum(map(bool, await asyncio.gather(*(limiter.aacquire(wait=9) for _ in range(80)))))

    def thread() -> int:
        return sum(limiter.acquire(wait=9).allowed for _ in range(20))

    began = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        parts = [pool.submit(thread) for _ in range(4)]
        parts += [pool.submit(asyncio.run, tasks()) for _ in range(2)]
        assert sum(part.result() for part in parts) == 240
    assert time.monotonic() - began < 5.0
    assert limiter.snapshot()["waiting"] == 0
