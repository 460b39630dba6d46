"""A process that forks while its threads are in the middle of something: the child is free."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from escala import (
    AdaptiveLimit,
    AdaptiveThrottle,
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Hedge,
    Policy,
    Request,
    Retry,
    RetryBudget,
    Shed,
    ThreadBulkhead,
    TokenBucket,
    standard,
)
from escala.kernel.at_fork import begin_anew, free
from escala.kernel.context import serving
from escala.kernel.runtime import colours

pytestmark = pytest.mark.live


def in_a_child(run: Callable[[], object]) -> str:
    """What a forked child prints of `run`, or "stuck" after some seconds."""
    reads, writes = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, 5)
            try:
                said = repr(run())
            except BaseException as error:  # noqa: BLE001  whatever there is to tell
                said = repr(error)
            os.write(writes, said.encode())
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said or "stuck"


def work() -> str:
    return "tea"


@contextmanager
def inside(policy: Policy, count: int, arrived: Callable[[], bool]) -> Iterator[None]:
    """So many threads have called it, and do not return."""
    let_go = threading.Event()
    threads = [threading.Thread(target=policy.call, args=(let_go.wait,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 5
    while not arrived():
        assert time.monotonic() < until
        time.sleep(0.001)
    try:
        yield
    finally:
        let_go.set()
        for thread in threads:
            thread.join()


BUSY: dict[str, Callable[[], Policy]] = {
    "token_bucket": lambda: TokenBucket("1000000/s"),
    "circuit_breaker": lambda: CircuitBreaker(slow="1m"),
    "circuit_breaker by key": lambda: CircuitBreaker(key="tenant"),
    "bulkhead": lambda: Bulkhead(50),
    "bulkhead by key": lambda: Bulkhead(50, key="tenant"),
    "adaptive_limit": lambda: AdaptiveLimit(initial=50),
    "adaptive_throttle": AdaptiveThrottle,
    "shed": lambda: Shed(50),
    "retry": Retry,
    "hedge": lambda: Hedge("p95"),
    "fallback": lambda: Fallback(last_good="1m", key="tenant"),
    "standard": standard,
}


@pytest.mark.parametrize("name", BUSY)
def test_no_lock_of_a_busy_thread_is_held_for_ever(name: str) -> None:
    policy, over = BUSY[name](), threading.Event()
    guarded = policy(work)

    def call() -> str:
        with serving(Request(tenant="ann", idempotent=True)):
            return guarded()

    def hammer() -> None:
        while not over.is_set():
            call()

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert {in_a_child(call) for _ in range(12)} == {"'tea'"}
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("make", [Bulkhead, Shed, lambda slots: AdaptiveLimit(initial=slots)])
def test_slots_and_places_stay_with_the_parent(make: Callable[[int], Any]) -> None:
    policy = make(2)
    with inside(policy, 2, lambda: policy.snapshot()["in_use"] == 2):
        assert (
            in_a_child(lambda: (policy.call(work), policy.snapshot()["in_use"])) == "('tea', 0.0)"
        )
        assert policy.snapshot()["in_use"] == 2
    assert policy.call(work) == "tea"


def test_so_do_those_of_a_key() -> None:
    policy = Bulkhead(1, key="tenant")
    with serving(Request(tenant="ann")), policy:
        assert in_a_child(lambda: (policy.call(work), policy.snapshot()["keys"])) == "('tea', 0.0)"
    assert policy.snapshot()["keys"] == 0


def test_a_child_forked_inside_a_call_may_leave_it() -> None:
    policy = Bulkhead(1, key="tenant")

    def leaves() -> str:
        block.close()
        return policy.call(work)

    with serving(Request(tenant="ann")), ExitStack() as block:
        block.enter_context(policy)
        assert in_a_child(leaves) == "'tea'"


def test_who_waits_for_a_token_stays_with_the_parent() -> None:
    limiter = TokenBucket("1/s", burst=1, wait="1m")
    assert limiter.acquire()
    waits = threading.Thread(target=limiter.acquire)
    waits.start()
    while limiter.snapshot()["waiting"] < 1:
        time.sleep(0.001)
    assert in_a_child(lambda: (limiter.acquire(wait=0).allowed, limiter.snapshot())) == (
        "(True, {'keys': 1.0, 'waiting': 0.0})"
    )
    waits.join()


def test_retries_under_way_stay_with_the_parent() -> None:
    budget = RetryBudget("0%", floor=1)
    assert budget.take(colours.thread.now())
    assert in_a_child(lambda: (budget.under_way, budget.take(colours.thread.now()))) == "(0, True)"
    assert budget.under_way == 1


def test_children_do_not_wait_the_same_random_times() -> None:
    def waits(retry: Retry) -> list[float]:
        return [retry._draw() for _ in range(4)]

    alone = Retry()
    assert len({in_a_child(lambda: waits(alone)) for _ in range(4)}) == 4
    seeded = Retry(rng=random.Random(7))
    assert len({in_a_child(lambda: waits(seeded)) for _ in range(4)}) == 1, (
        "unless they are told to"
    )


def test_threads_are_started_anew() -> None:
    pool = ThreadBulkhead(1)
    hedge = Hedge("1ms", budget=None)
    slow = hedge(lambda: time.sleep(0.02))
    assert asyncio.run(pool.run(work)) == "tea"
    slow()

    def again() -> tuple[str, float]:
        slow()
        return asyncio.run(pool.run(work)), hedge.snapshot()["copies"]

    assert in_a_child(again) == "('tea', 1.0)"
    pool.close()


def test_an_open_breaker_begins_anew_and_its_parent_s_stays_open() -> None:
    breaker = CircuitBreaker(consecutive=1)
    with pytest.raises(ZeroDivisionError):
        breaker.call(divmod, 1, 0)
    assert in_a_child(lambda: breaker.call(work)) == "'tea'"
    assert breaker.state.value == "open"


def test_sqlite_is_free_as_well(tmp_path: Path) -> None:
    limiter = TokenBucket("1000000/s", store=f"sqlite:///{tmp_path}/limits.db")
    over = threading.Event()

    def hammer() -> None:
        while not over.is_set():
            limiter.acquire()

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert {in_a_child(lambda: limiter.acquire().away) for _ in range(12)} == {"False"}
    finally:
        over.set()
        for thread in threads:
            thread.join()
        limiter.close()


def test_what_a_parent_has_leased_is_the_parent_s_to_spend(tmp_path: Path) -> None:
    limiter = TokenBucket("20/h", store=f"sqlite:///{tmp_path}/limits.db?lease=10")
    took = sum(limiter.acquire().allowed for _ in range(11))
    theirs = in_a_child(lambda: sum(limiter.acquire().allowed for _ in range(20)))
    took += sum(limiter.acquire().allowed for _ in range(20))
    assert took + int(theirs) == 20
    limiter.close()


def test_a_file_that_no_one_uses_any_more_is_closed(tmp_path: Path) -> None:
    limiter: Any = TokenBucket("1/s", store=f"sqlite:///{tmp_path}/limits.db")
    limiter.acquire()
    connection = limiter._ledger._ledger._link._connection
    del limiter
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_an_owner_that_is_gone_is_not_kept() -> None:
    class Owner:
        lock = threading.RLock()

    owner, asked = Owner(), list[object]()
    begin_anew(owner, lambda _: asked.append(1))
    assert in_a_child(lambda: len(asked)) == "1"
    del owner
    gc.collect()
    assert in_a_child(lambda: len(asked)) == "0"


def test_a_lock_that_another_thread_had_can_be_taken() -> None:
    lock, taken, over = threading.RLock(), threading.Event(), threading.Event()

    def keep() -> None:
        with lock:
            taken.set()
            over.wait()

    keeper = threading.Thread(target=keep)
    keeper.start()
    taken.wait()

    def takes() -> list[bool]:
        before = lock.acquire(blocking=False)
        free(lock)
        return [before, lock.acquire(blocking=False)]

    assert in_a_child(takes) == "[False, True]"
    over.set()
    keeper.join()
