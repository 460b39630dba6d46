"""Sync callers in threads: what goes on behind their backs, and one load for many."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.caching.asking import levels, made

from escala import Answer
from escala.caching.events import CacheLoaded, CacheLoadFailed
from escala.kernel.events import Event, subscribe
from escala.kernel.runtime import ThreadRuntime, colours

PATIENCE = 10.0


class Clock:
    """Real threads, and a time that is set by hand."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(colours, "thread", ThreadRuntime(now=clock.now))
    return clock


@pytest.fixture
def landed() -> Iterator[threading.Semaphore]:
    """One for each load that has ended."""
    ended = threading.Semaphore(0)

    def end(event: Event) -> None:
        if isinstance(event, (CacheLoaded, CacheLoadFailed)):
            ended.release()

    stop = subscribe(Event, end)
    yield ended
    stop()


class Gate:
    """A load that lasts until it is opened."""

    def __init__(self) -> None:
        self.calls = self.running = self.most = 0
        self.lock = threading.Lock()
        self.began, self.open = threading.Semaphore(0), threading.Event()
        self.error: Exception | None = None

    def load(self) -> str:
        with self.lock:
            self.calls += 1
            call = self.calls
            self.running += 1
            self.most = max(self.most, self.running)
        self.began.release()
        assert self.open.wait(PATIENCE)
        with self.lock:
            self.running -= 1
        if self.error is not None:
            raise self.error
        return f"v{call}"


def told(landed: threading.Semaphore) -> None:
    assert landed.acquire(timeout=PATIENCE)


@levels
def test_a_stale_value_is_given_while_another_thread_loads(
    clock: Clock, landed: threading.Semaphore, two: bool
) -> None:
    cache, gate = made(two=two, stale_while_revalidate="30s"), Gate()
    gate.open.set()
    assert cache.get("k", gate.load) == "v1"
    told(landed)
    gate.open.clear()
    clock.time = 60.0
    for _ in range(3):
        answer = cache.entry("k", gate.load)
        assert answer == Answer(value="v1", source="stale", age=60, why="news is on its way")
    gate.began.acquire()
    assert gate.began.acquire(timeout=PATIENCE)
    gate.open.set()
    told(landed)
    assert cache.entry("k", gate.load) == Answer(value="v2", source="l1")
    assert gate.calls == 2


def test_a_load_behind_the_back_that_fails_leaves_the_stale_value(
    clock: Clock, landed: threading.Semaphore
) -> None:
    cache, gate = made(stale_while_revalidate="30s"), Gate()
    gate.open.set()
    cache.get("k", gate.load)
    told(landed)
    clock.time, gate.error = 60.0, ConnectionError("down")
    assert cache.get("k", gate.load) == "v1"
    told(landed)
    assert cache.entry("k", gate.load).why == "asking failed a moment ago"


def test_after_the_soft_timeout_a_thread_takes_the_stale_value(
    clock: Clock, landed: threading.Semaphore
) -> None:
    cache, gate = made(stale_if_error="1h", soft_timeout="10ms"), Gate()
    gate.open.set()
    cache.get("k", gate.load)
    told(landed)
    gate.open.clear()
    clock.time = 60.0
    answer = cache.entry("k", gate.load)
    assert (answer.value, answer.why) == ("v1", "news takes longer than soft_timeout")
    gate.open.set()
    told(landed)
    assert cache.get("k") == "v2"


def test_a_value_is_refreshed_early_by_another_thread(
    clock: Clock, landed: threading.Semaphore
) -> None:
    cache, gate = made(refresh_early=True), Gate()

    def slow() -> str:
        clock.time += 10
        return "slow"

    assert cache.get("k", slow) == "slow"
    told(landed)
    clock.time = 59.999  # a load of ten seconds begins before this, all but surely
    gate.open.set()
    assert cache.get("k", gate.load) == "slow"
    told(landed)
    assert cache.get("k") == "v1"


def run(*calls: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [each.result(PATIENCE) for each in [pool.submit(call) for call in calls]]


@levels
def test_many_threads_that_ask_at_once_wait_for_one_load(clock: Clock, two: bool) -> None:
    cache, gate = made(two=two), Gate()
    barrier = threading.Barrier(8)

    def ask() -> str:
        barrier.wait(PATIENCE)
        return cache.get("k", gate.load)

    def opener() -> None:
        assert gate.began.acquire(timeout=PATIENCE)
        gate.open.set()

    assert run(*[ask] * 8, opener)[:8] == ["v1"] * 8
    assert gate.calls == 1


def test_overlapping_batches_of_threads_load_each_key_once(clock: Clock) -> None:
    cache, asked, lock = made(), list[int](), threading.Lock()
    first_began, second_began = threading.Event(), threading.Event()

    @cache.batch("order:{id}")
    def orders(ids: list[int]) -> dict[int, int]:
        with lock:
            asked.extend(ids)
        if 1 in ids:
            first_began.set()
            assert second_began.wait(PATIENCE)
        else:
            second_began.set()
        return {n: n * 10 for n in ids}

    def second() -> dict[int, int]:
        assert first_began.wait(PATIENCE)
        return orders([2, 3])

    assert run(lambda: orders([1, 2]), second) == [{1: 10, 2: 20}, {2: 20, 3: 30}]
    assert sorted(asked) == [1, 2, 3]
