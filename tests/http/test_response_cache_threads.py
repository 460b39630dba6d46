"""One cache for threads and tasks at once: the same flights, whoever leads and whoever waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from tests.http.cache_world import FRESH

from escala.errors import BackendError, DeadlineExceeded, WouldBlock
from escala.http.message import HttpRequest, Response
from escala.http.response_cache import ResponseCache
from escala.kernel.context import serving
from escala.kernel.runtime import LoopRuntime, Parker, ThreadRuntime, drive
from escala.resilience.deadline import Deadline

PATIENCE = 20.0  # nothing here takes longer than milliseconds, unless it is broken


class Counted:
    """A parker that says when its caller is about to wait."""

    def __init__(self, inner: Parker, waiting: threading.Semaphore) -> None:
        self.inner, self.waiting = inner, waiting

    async def park(self, timeout: float | None = None) -> bool:
        self.waiting.release()
        return await self.inner.park(timeout)

    def unpark(self) -> bool:
        return self.inner.unpark()


class Threads(ThreadRuntime):
    def __init__(self, waiting: threading.Semaphore) -> None:
        super().__init__()
        self.waiting = waiting

    def parker(self) -> Parker:
        return Counted(super().parker(), self.waiting)


class Tasks(LoopRuntime):
    def __init__(self, waiting: threading.Semaphore) -> None:
        super().__init__()
        self.waiting = waiting

    def parker(self) -> Parker:  # type: ignore[override]
        return Counted(super().parker(), self.waiting)


class Gate:
    """An origin whose first call waits until it is opened; counts how many are in it."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        self.lock = threading.Lock()
        self.calls = self.busy = self.most_busy = 0
        self.outcome: Callable[[], Response] = lambda: Response(200, [FRESH], b"page")

    def __call__(self) -> Response:
        with self.lock:
            self.calls += 1
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
        self.entered.set()
        try:
            assert self.opened.wait(PATIENCE)
            return self.outcome()
        finally:
            with self.lock:
                self.busy -= 1


class Crowd:
    """Threads and loops that all want the same page of one cache."""

    def __init__(self) -> None:
        self.cache = ResponseCache(wait=PATIENCE)
        self.gate = Gate()
        self.waiting = threading.Semaphore(0)
        self.pool = ThreadPoolExecutor(32)

    def in_a_thread(self) -> bytes:
        async def call() -> Response:
            return self.gate()

        with serving(HttpRequest("GET", b"/", [], host=b"shop")):
            body = drive(self.cache.around(call, Threads(self.waiting))).body
        assert isinstance(body, bytes)
        return body

    async def in_a_task(self, runtime: LoopRuntime) -> bytes:
        async def call() -> Response:
            return await asyncio.to_thread(self.gate)

        with serving(HttpRequest("GET", b"/", [], host=b"shop")):
            body = (await self.cache.around(call, runtime)).body
        assert isinstance(body, bytes)
        return body

    def in_a_loop(self, count: int) -> list[bytes]:
        async def main() -> list[bytes]:
            runtime = Tasks(self.waiting)
            return await asyncio.gather(*(self.in_a_task(runtime) for _ in range(count)))

        return asyncio.run(main())

    def start(self, leader: str) -> list[Future[bytes] | Future[list[bytes]]]:
        """One leads; four threads and two loops of four tasks wait for it."""
        first: Future[bytes] | Future[list[bytes]]
        if leader == "thread":
            first = self.pool.submit(self.in_a_thread)
        else:
            first = self.pool.submit(self.in_a_loop, 1)
        assert self.gate.entered.wait(PATIENCE)
        threads = [self.pool.submit(self.in_a_thread) for _ in range(4)]
        loops = [self.pool.submit(self.in_a_loop, 4) for _ in range(2)]
        for _ in range(4 + 2 * 4):
            assert self.waiting.acquire(timeout=PATIENCE)
        return [first, *threads, *loops]


@pytest.mark.parametrize("leader", ["thread", "task"])
def test_threads_and_two_loops_share_one_load(leader: str) -> None:
    crowd = Crowd()
    futures = crowd.start(leader)
    crowd.gate.opened.set()
    for future in futures:
        result = future.result(PATIENCE)
        assert result in (b"page", [b"page"], [b"page"] * 4)
    crowd.pool.shutdown()
    assert crowd.gate.calls == 1
    snapshot = crowd.cache.snapshot()
    assert (snapshot["misses"], snapshot["coalesced"], snapshot["loading"]) == (1, 12, 0)


@pytest.mark.parametrize("leader", ["thread", "task"])
def test_an_error_reaches_all_of_them(leader: str) -> None:
    crowd = Crowd()

    def fail() -> Response:
        raise BackendError("down")

    crowd.gate.outcome = fail
    futures = crowd.start(leader)
    crowd.gate.opened.set()
    for future in futures:
        with pytest.raises(BackendError):
            future.result(PATIENCE)
    crowd.pool.shutdown()
    assert crowd.gate.calls == 1
    assert crowd.cache.snapshot()["loading"] == 0


def test_a_leader_that_dies_in_a_loop_hands_over_to_a_thread_or_another_loop() -> None:
    crowd = Crowd()
    leaving = threading.Event()

    async def lead() -> None:
        task = asyncio.ensure_future(crowd.in_a_task(LoopRuntime()))
        assert await asyncio.to_thread(leaving.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        crowd.gate.opened.set()

    first = crowd.pool.submit(asyncio.run, lead())
    assert crowd.gate.entered.wait(PATIENCE)
    others = [crowd.pool.submit(crowd.in_a_thread) for _ in range(4)]
    loops = [crowd.pool.submit(crowd.in_a_loop, 3) for _ in range(2)]
    for _ in range(4 + 2 * 3):
        assert crowd.waiting.acquire(timeout=PATIENCE)
    leaving.set()
    first.result(PATIENCE)
    assert {future.result(PATIENCE) for future in others} == {b"page"}
    assert [future.result(PATIENCE) for future in loops] == [[b"page"] * 3] * 2
    crowd.pool.shutdown()
    assert crowd.gate.calls == 2


def test_a_hit_needs_no_wait_so_a_sync_call_may_ask_inside_a_loop() -> None:
    crowd = Crowd()
    crowd.gate.opened.set()
    assert crowd.in_a_thread() == b"page"

    async def main() -> bytes:
        return crowd.in_a_thread()

    assert asyncio.run(main()) == b"page"


def test_a_sync_call_that_would_wait_inside_a_loop_is_told_and_leaves_the_flight_alone() -> None:
    crowd = Crowd()
    first = crowd.pool.submit(crowd.in_a_thread)
    assert crowd.gate.entered.wait(PATIENCE)

    async def main() -> None:
        with pytest.raises(WouldBlock):
            crowd.in_a_thread()

    asyncio.run(main())
    crowd.gate.opened.set()
    assert first.result(PATIENCE) == b"page"
    crowd.pool.shutdown()
    assert crowd.gate.calls == 1


def test_a_threads_deadline_ends_its_wait_and_is_counted() -> None:
    crowd = Crowd()
    first = crowd.pool.submit(crowd.in_a_thread)
    assert crowd.gate.entered.wait(PATIENCE)
    with pytest.raises(DeadlineExceeded):
        Deadline("10ms").call(crowd.in_a_thread)
    crowd.gate.opened.set()
    assert first.result(PATIENCE) == b"page"
    crowd.pool.shutdown()
    snapshot = crowd.cache.snapshot()
    assert (snapshot["misses"], snapshot["coalesced"], snapshot["loading"]) == (1, 1, 0)


def test_many_threads_on_few_keys_keep_exact_accounts() -> None:
    """Hits, misses and changes from eight threads at once: nothing is lost, nothing is left."""
    cache = ResponseCache(size="40KiB")
    rounds, workers = 300, 8

    def work(worker: int) -> int:
        calls = 0

        def page() -> Response:
            nonlocal calls
            calls += 1
            return Response(200, [FRESH], b"x" * 100)

        for turn in range(rounds):
            method = "PUT" if turn % 10 == 9 else "GET"
            target = b"/%d" % ((turn * (worker + 1)) % 60)
            with serving(HttpRequest(method, target, [], host=b"shop")):
                assert cache.call(page).status == 200
        return calls

    with ThreadPoolExecutor(workers) as pool:
        calls = sum(pool.map(work, range(workers)))
    snapshot = cache.snapshot()
    asked = [snapshot[name] for name in ("hits", "misses", "coalesced", "bypassed")]
    assert sum(asked) == rounds * workers
    assert snapshot["misses"] + snapshot["bypassed"] == calls
    assert snapshot["bypassed"] == workers * rounds / 10
    assert snapshot["loading"] == 0
    storage = cache._shared._storage
    kept = [answer for entry in storage._fifo.table.values() for answer in entry.value]
    assert storage.weight == sum(answer.size for answer in kept) <= 40 * 1024
