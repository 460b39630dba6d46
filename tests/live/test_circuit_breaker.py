"""A circuit breaker under real threads: it never makes one call wait for another."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from escala import CircuitBreaker
from escala.errors import CircuitOpen
from escala.resilience import BreakerState

CALLERS = 1_000


def threads(breaker: CircuitBreaker) -> None:
    start = threading.Barrier(10)

    def one() -> None:
        start.wait()
        breaker.call(time.sleep, 0.1)

    with ThreadPoolExecutor(10) as pool:
        for each in [pool.submit(one) for _ in range(10)]:
            each.result(timeout=10)


def tasks(breaker: CircuitBreaker) -> None:
    async def main() -> None:
        await asyncio.gather(*(breaker.acall(asyncio.sleep, 0.1) for _ in range(10)))

    asyncio.run(main())


@pytest.mark.parametrize("run", [threads, tasks])
@pytest.mark.parametrize("options", [{}, {"slow": "1s"}, {"key": "tenant"}], ids=repr)
def test_ten_calls_of_a_tenth_of_a_second_take_no_longer_together(
    run: Callable[[CircuitBreaker], None], options: dict[str, Any]
) -> None:
    breaker = CircuitBreaker(**options)
    took = []
    for _ in range(3):  # another process may have the processors for a moment
        began = time.monotonic()
        run(breaker)
        took.append(time.monotonic() - began)
        if took[-1] <= 0.15:
            return
    pytest.fail(f"one after the other would take a second; these took {took}")


@pytest.mark.parametrize("probes", [1, 3])
def test_a_thousand_threads_meet_so_many_probes(probes: int) -> None:
    breaker = CircuitBreaker(minimum_calls=1, cooldown=0.01, probes=probes)
    entered, refused = [], []
    all_refused = threading.Event()

    def slow() -> None:
        entered.append(threading.get_ident())
        assert all_refused.wait(timeout=30)

    def caller() -> None:
        try:
            breaker.call(slow)
        except CircuitOpen:
            refused.append(threading.get_ident())
            if len(refused) >= CALLERS - probes:
                all_refused.set()

    with pytest.raises(ZeroDivisionError):
        breaker.call(divmod, 1, 0)
    time.sleep(0.02)
    before = threading.stack_size(128 * 1024)
    try:
        callers = [threading.Thread(target=caller, daemon=True) for _ in range(CALLERS)]
        for each in callers:
            each.start()
    finally:
        threading.stack_size(before)
    for each in callers:
        each.join(timeout=30)
    assert (len(entered), len(refused)) == (probes, CALLERS - probes)
    assert breaker.state is BreakerState.CLOSED
