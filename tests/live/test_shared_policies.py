"""One object for threads, tasks and several loops at once: no slot or token lost or doubled."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from escala import Bulkhead, CircuitBreaker, Deadline, Retry, RetryBudget, Stack, TokenBucket
from escala.errors import BulkheadFull, CircuitOpen, DeadlineExceeded, RateLimited

THREADS, LOOPS = 8, 2


@pytest.fixture(autouse=True)
def many_switches() -> Iterator[None]:
    """Let threads interrupt each other as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*parts: Callable[[], Any]) -> list[Any]:
    """Run all parts at once, each in a thread; raises what they raise."""
    start = threading.Barrier(len(parts))

    def begin(part: Callable[[], Any]) -> Any:
        start.wait()
        return part()

    with ThreadPoolExecutor(len(parts)) as pool:
        return [each.result(timeout=50) for each in [pool.submit(begin, part) for part in parts]]


class Crowd:
    """How many are inside at this moment, and the most there ever were."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = self.most = self.done = self.refused = 0

    def enter(self) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1
            self.done += 1

    def refuse(self) -> None:
        with self.lock:
            self.refused += 1

    def stay_until_refused(self, others: int) -> None:
        self.enter()
        while self.refused < others:
            time.sleep(0.001)
        self.leave()

    async def astay_until_refused(self, others: int) -> None:
        self.enter()
        while self.refused < others:  # noqa: ASYNC110  it is threads that count it up
            await asyncio.sleep(0.001)
        self.leave()

    def work(self) -> None:
        self.enter()
        time.sleep(0.0005)
        self.leave()

    async def awork(self) -> None:
        self.enter()
        try:
            await asyncio.sleep(0.0005)
        finally:
            self.leave()


def test_one_bulkhead_for_threads_tasks_and_two_loops() -> None:
    bulkhead, crowd = Bulkhead(slots=3, queue=10_000), Crowd()
    patience = [None, "30s", "1ms", None]

    def in_threads() -> None:
        for number in range(60):
            limit = patience[number % 4]
            policy = bulkhead if limit is None else Stack(Deadline(limit), bulkhead)
            try:
                policy.call(crowd.work)
            except (BulkheadFull, DeadlineExceeded):
                crowd.refuse()

    async def one(number: int) -> None:
        limit = patience[number % 4]
        policy = bulkhead if limit is None else Stack(Deadline(limit), bulkhead)
        try:
            await policy.acall(crowd.awork)
        except (BulkheadFull, DeadlineExceeded):
            crowd.refuse()

    async def in_tasks() -> None:
        tasks = [asyncio.create_task(one(number)) for number in range(150)]
        await asyncio.sleep(0.005)
        for task in tasks[::7]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    together(*[in_threads] * THREADS, *[lambda: asyncio.run(in_tasks())] * LOOPS)
    assert crowd.most == 3
    assert (bulkhead.free, bulkhead.waiting) == (3, 0)
    assert bulkhead._machine._handed == set()


@pytest.mark.parametrize("colour", ["sync", "async", "policy"])
def test_exactly_the_burst_is_granted(colour: str) -> None:
    limiter = TokenBucket("1/d", burst=5_000)

    def acquire() -> int:
        return sum(limiter.acquire().allowed for _ in range(1_500))

    def pass_through() -> int:
        passed = 0
        for _ in range(1_500):
            try:
                limiter.call(int)
            except RateLimited:
                continue
            passed += 1
        return passed

    async def aacquire() -> int:
        return sum([(await limiter.aacquire()).allowed for _ in range(1_500)])

    part: Callable[[], int] = {
        "sync": acquire,
        "async": lambda: asyncio.run(aacquire()),
        "policy": pass_through,
    }[colour]
    assert sum(together(*[part] * THREADS)) == 5_000


def test_waiting_for_tokens_in_threads_tasks_and_two_loops() -> None:
    limiter = TokenBucket("500/s", burst=1)
    began = time.monotonic()

    def in_thread() -> int:
        return sum(limiter.acquire(wait="20s").allowed for _ in range(15))

    async def in_tasks() -> int:
        waits = [asyncio.create_task(limiter.aacquire(wait="20s")) for _ in range(50)]
        await asyncio.sleep(0.01)
        for wait in waits[::5]:
            wait.cancel()
        answers = await asyncio.gather(*waits, return_exceptions=True)
        return sum(bool(answer) for answer in answers if not isinstance(answer, BaseException))

    granted = sum(together(*[in_thread] * 4, *[lambda: asyncio.run(in_tasks())] * LOOPS))
    took = time.monotonic() - began
    assert granted >= 4 * 15 + LOOPS * 40
    assert granted <= 1 + 500 * took + 1, "never more than the burst and the rate"
    assert took < granted / 500 + 5.0
    assert limiter.snapshot()["waiting"] == 0


def test_one_breaker_for_threads_and_tasks() -> None:
    breaker = CircuitBreaker(minimum_calls=1_000_000, window="1h")

    def in_thread() -> None:
        for _ in range(1_000):
            breaker.call(int)

    async def in_tasks() -> None:
        async def one() -> None:
            await asyncio.sleep(0)

        await asyncio.gather(*(breaker.acall(one) for _ in range(1_000)))

    together(*[in_thread] * THREADS, *[lambda: asyncio.run(in_tasks())] * LOOPS)
    assert breaker._machine._window.calls == 10_000, "no call is counted twice or forgotten"


def test_a_breaker_lets_its_probes_in_and_no_one_else() -> None:
    breaker, crowd = CircuitBreaker(minimum_calls=1, cooldown=0.02, probes=3), Crowd()
    others = THREADS + LOOPS * 40 - 3

    def in_thread() -> None:
        try:
            breaker.call(crowd.stay_until_refused, others)
        except CircuitOpen:
            crowd.refuse()

    async def in_tasks() -> None:
        async def one() -> None:
            try:
                await breaker.acall(crowd.astay_until_refused, others)
            except CircuitOpen:
                crowd.refuse()

        await asyncio.gather(*(one() for _ in range(40)))

    with pytest.raises(ZeroDivisionError):
        breaker.call(divmod, 1, 0)
    time.sleep(0.03)
    together(*[in_thread] * THREADS, *[lambda: asyncio.run(in_tasks())] * LOOPS)
    assert crowd.most == crowd.done == 3
    assert crowd.refused == others
    assert breaker.state.value == "closed"


def test_calls_through_a_closed_breaker_run_at_once() -> None:
    breaker = CircuitBreaker()
    began = time.monotonic()
    together(*[lambda: breaker.call(time.sleep, 0.1)] * 10)
    assert time.monotonic() - began < 0.5, "one after the other would take a second"


def test_one_retry_budget_for_threads_and_tasks() -> None:
    budget = RetryBudget("10%", floor=0, window="1h")
    retry = Retry(2, base=0, budget=budget)
    crowd = Crowd()

    def fail() -> None:
        crowd.enter()
        crowd.leave()
        raise ConnectionError

    async def afail() -> None:
        fail()

    def in_thread() -> None:
        for _ in range(200):
            with pytest.raises(ConnectionError):
                retry.call(fail)

    async def in_tasks() -> None:
        calls = (retry.acall(afail) for _ in range(200))
        await asyncio.gather(*calls, return_exceptions=True)

    together(*[in_thread] * THREADS, *[lambda: asyncio.run(in_tasks())] * LOOPS)
    assert budget.under_way == 0
    assert crowd.done == 2_000 + 200
