"""`ThreadBulkhead` with real threads: bounded, leaving at once, and no slot lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable

import pytest

from escala import Deadline, Request, ThreadBulkhead, time_left
from escala.errors import BulkheadFull, ConfigError, DeadlineExceeded
from escala.kernel.context import current_request, serving


class Gate:
    """A blocking function that waits until it is let go, and counts who is inside."""

    def __init__(self) -> None:
        self.open, self.lock = threading.Event(), threading.Lock()
        self.inside = self.most = self.calls = 0

    def __call__(self) -> str:
        with self.lock:
            self.inside += 1
            self.calls += 1
            self.most = max(self.most, self.inside)
        assert self.open.wait(20)
        with self.lock:
            self.inside -= 1
        return threading.current_thread().name


async def until(condition: Callable[[], object]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not come about in 10 s")


def test_so_many_threads_and_no_more() -> None:
    gate = Gate()

    async def main() -> None:
        with ThreadBulkhead(3, queue=5, name="db") as pool:
            tasks = [asyncio.create_task(pool.run(gate)) for _ in range(8)]
            await until(lambda: gate.inside == 3)
            assert pool.snapshot() == {"in_use": 3.0, "waiting": 5.0}
            with pytest.raises(BulkheadFull, match="db: all 3 slots and 5 places in the queue"):
                await pool.run(gate)
            gate.open.set()
            names = await asyncio.gather(*tasks)
            assert (gate.most, gate.calls) == (3, 8)
            assert set(names) <= {"db-1", "db-2", "db-3"}
            await until(lambda: pool.snapshot() == {"in_use": 0.0, "waiting": 0.0})

    asyncio.run(main())


def test_threads_are_started_when_needed_and_used_again() -> None:
    async def main() -> None:
        with ThreadBulkhead(8) as pool:
            for _ in range(50):
                await pool.run(bool)
            assert pool._started == 1
            await asyncio.gather(pool.run(time.sleep, 0.05), pool.run(time.sleep, 0.05))
            assert pool._started == 2

    asyncio.run(main())


def test_a_cancelled_caller_leaves_at_once_and_its_slot_when_the_thread_is_done() -> None:
    gate = Gate()

    async def main() -> None:
        with ThreadBulkhead(1) as pool:
            task = asyncio.create_task(pool.run(gate))
            await until(lambda: gate.inside)
            began = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - began < 0.5
            with pytest.raises(BulkheadFull):
                await pool.run(bool)
            gate.open.set()
            await until(lambda: pool.snapshot()["in_use"] == 0)
            assert await pool.run(bool) is False

    asyncio.run(main())


def test_what_was_cancelled_before_its_thread_began_does_not_run() -> None:
    gate = Gate()

    async def main() -> None:
        with ThreadBulkhead(1, queue=2) as pool:
            first = asyncio.create_task(pool.run(gate))
            await until(lambda: gate.inside)
            waiting = asyncio.create_task(pool.run(gate))
            await asyncio.sleep(0)
            waiting.cancel()
            gate.open.set()
            await first
            await until(lambda: pool.snapshot() == {"in_use": 0.0, "waiting": 0.0})
            assert gate.calls == 1

    asyncio.run(main())


def test_the_deadline_and_the_request_travel() -> None:
    def look() -> tuple[float, object]:
        return time_left(), current_request()

    async def main() -> None:
        with ThreadBulkhead(2) as pool, serving(Request(key="ann")) as request:
            left, seen = await Deadline("5s").acall(pool.run, look)
            assert 0 < left <= 5
            assert seen is request

    asyncio.run(main())


def test_a_deadline_ends_the_wait_for_a_hanging_library() -> None:
    gate = Gate()

    async def main() -> None:
        with ThreadBulkhead(1, queue=1) as pool:
            for _ in range(2):  # in the thread, then in the queue
                began = time.monotonic()
                with pytest.raises(DeadlineExceeded):
                    await Deadline("100ms").acall(pool.run, gate)
                assert time.monotonic() - began < 1
            gate.open.set()

    asyncio.run(main())


def test_it_decorates_and_passes_values_and_errors() -> None:
    pool = ThreadBulkhead(2)

    @pool
    def half(number: int, *, by: int = 2) -> float:
        """Doc."""
        return number / by

    @pool
    def stop() -> None:
        raise StopIteration

    async def main() -> None:
        assert (half.__name__, half.__doc__) == ("half", "Doc.")
        assert await half(9, by=3) == 3
        with pytest.raises(ZeroDivisionError):
            await half(1, by=0)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await stop()

    asyncio.run(main())
    pool.close()


def test_event_loops_share_one() -> None:
    gate = Gate()
    pool = ThreadBulkhead(1, queue=10)
    done: list[str] = []

    def loop() -> None:
        done.append(asyncio.run(pool.run(gate)))

    threads = [threading.Thread(target=loop) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.open.set()
    for thread in threads:
        thread.join(20)
    assert len(done) == 4
    assert gate.most == 1
    pool.close()


def test_closed_it_takes_no_more_and_its_threads_end() -> None:
    gate = Gate()

    async def main() -> None:
        pool = ThreadBulkhead(1, queue=1, name="closing")
        first, second = (asyncio.create_task(pool.run(gate)) for _ in range(2))
        await until(lambda: gate.inside)
        pool.close()
        pool.close()
        gate.open.set()
        assert await first == "closing-1"
        with pytest.raises(BulkheadFull, match="closing: it is closed"):
            await second
        with pytest.raises(BulkheadFull, match="closing: it is closed"):
            await pool.run(bool)
        await until(lambda: not any(t.name == "closing-1" for t in threading.enumerate()))
        assert pool.snapshot() == {"in_use": 0.0, "waiting": 0.0}

    asyncio.run(main())


def test_an_async_function_needs_no_thread() -> None:
    with pytest.raises(TypeError, match="until is async, so it needs no thread"):
        ThreadBulkhead(1)(until)


def test_where_no_loop_runs_no_slot_is_taken() -> None:
    with ThreadBulkhead(1) as pool:
        coroutine = pool.run(bool)
        with pytest.raises(RuntimeError, match="no running event loop"):
            coroutine.send(None)
        assert asyncio.run(pool.run(bool)) is False


def test_a_thread_that_cannot_be_started_costs_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        with ThreadBulkhead(1, name="db") as pool:
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", refuse)
                for _ in range(2):
                    with pytest.raises(BulkheadFull, match="db: the system gives it no thread"):
                        await pool.run(bool)
            assert await pool.run(bool) is False

    asyncio.run(main())


def test_loops_and_cancellations_lose_no_slot() -> None:
    pool = ThreadBulkhead(3, queue=20, wait="5s")
    inside: list[int] = []

    def work(seconds: float) -> None:
        inside.append(1)
        assert len(inside) <= 3
        time.sleep(seconds)
        inside.pop()

    async def client(rng: random.Random) -> None:
        for _ in range(25):
            with contextlib.suppress(TimeoutError, BulkheadFull):
                async with asyncio.timeout(rng.choice((0.0005, 0.002, 5))):
                    await pool.run(work, rng.choice((0, 0.001)))

    async def clients(seed: int) -> None:
        await asyncio.gather(*(client(random.Random(seed * 10 + at)) for at in range(6)))

    threads = [threading.Thread(target=lambda at=at: asyncio.run(clients(at))) for at in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    asyncio.run(until(lambda: pool.snapshot() == {"in_use": 0.0, "waiting": 0.0}))
    assert [asyncio.run(pool.run(bool)) for _ in range(3)] == [False] * 3
    assert not inside
    pool.close()


def test_bad_options_and_repr() -> None:
    with pytest.raises(ConfigError, match="ThreadBulkhead: expected a queue for who waits 1s"):
        ThreadBulkhead(2, wait="1s")
    with pytest.raises(ConfigError, match="ThreadBulkhead: threads: expected"):
        ThreadBulkhead(0)
    assert repr(ThreadBulkhead()) == "ThreadBulkhead()"
    spelled = "ThreadBulkhead(threads=3, queue=2, wait='1s', name='db')"
    assert repr(ThreadBulkhead(3, queue=2, wait="1s", name="db")) == spelled
