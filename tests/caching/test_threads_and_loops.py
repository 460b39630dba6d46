"""One cache for real threads and real event loops at once, and for a child that is forked."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any

import pytest
from tests.caching.asking import made, shared

from escala.caching import Cache
from escala.errors import WouldBlock
from escala.kernel.runtime import colours, drive

PATIENCE = 20.0  # nothing here takes longer than milliseconds, unless it is broken
A_MOMENT = 0.001


def until(true: Callable[[], bool]) -> None:
    """Wait for something that happens in another thread."""
    end = colours.thread.now() + PATIENCE
    while not true():
        assert colours.thread.now() < end, "it does not come"
        drive(colours.thread.sleep(A_MOMENT))


def waiting(cache: Cache) -> int:
    """How many wait for a load."""
    with cache._levels.first.lock:
        return sum(len(flight) for flight in cache._levels.first._flights.values())


def in_thread(run: Callable[[], Any]) -> Future[Any]:
    future: Future[Any] = Future()

    def body() -> None:
        try:
            future.set_result(run())
        except BaseException as error:  # noqa: BLE001  the test looks at it
            future.set_exception(error)

    threading.Thread(target=body, daemon=True).start()
    return future


def in_loop(main: Callable[[], Coroutine[Any, Any, Any]]) -> Future[Any]:
    return in_thread(lambda: asyncio.run(main()))


def test_there_are_no_real_threads_in_virtual_time() -> None:
    assert colours.real


@pytest.mark.parametrize("run", range(5))
@pytest.mark.parametrize("leader", ["a loop", "a thread"])
@pytest.mark.parametrize("place", ["l1", "l1+l2", "behind"])
def test_two_loops_and_four_threads_with_200_callers_load_once(
    run: int, leader: str, place: str
) -> None:
    behind = {"stale_while_revalidate": "1m"} if place == "behind" else {}
    cache = made(two=place == "l1+l2", **behind)
    calls: list[int] = []
    led, open_ = threading.Event(), threading.Event()

    def begin() -> None:
        calls.append(run)
        led.set()

    def load() -> str:
        begin()
        open_.wait(PATIENCE)
        return "v"

    async def aload() -> str:
        begin()
        while not open_.is_set():
            await colours.loop.sleep(A_MOMENT)
        return "v"

    async def many() -> list[str]:
        tasks = [asyncio.create_task(cache.aget("k", aload)) for _ in range(98)]
        return list(await asyncio.gather(*tasks))

    loops: list[Future[Any]] = []
    threads: list[Future[Any]] = []
    if leader == "a loop":
        loops.append(in_loop(many))
        assert led.wait(PATIENCE)
    threads.append(in_thread(lambda: cache.get("k", load)))
    assert led.wait(PATIENCE)
    threads += [in_thread(lambda: cache.get("k", load)) for _ in range(3)]
    loops += [in_loop(many) for _ in range(2 - len(loops))]
    # A thread that leads loads for itself and does not wait, unless the load runs behind its back.
    everyone = 200 if leader == "a loop" or place == "behind" else 199
    until(lambda: waiting(cache) == everyone)
    open_.set()
    assert [thread.result(PATIENCE) for thread in threads] == ["v"] * 4
    assert [loop.result(PATIENCE) for loop in loops] == [["v"] * 98] * 2
    assert calls == [run]
    assert cache.snapshot()["loading"] == 0


def test_a_loop_that_ends_in_the_middle_of_its_load_is_followed_by_another_caller() -> None:
    cache, began, joined = made(two=True), threading.Event(), threading.Event()

    async def never() -> str:
        began.set()
        await colours.loop.sleep(PATIENCE)
        return "never"

    async def short() -> None:
        task = asyncio.create_task(cache.aget("k", never))
        while not joined.is_set():
            await colours.loop.sleep(A_MOMENT)
        task.cancel()

    loop = in_loop(short)
    assert began.wait(PATIENCE)
    start = colours.thread.now()
    thread = in_thread(lambda: cache.get("k", lambda: "mine"))
    other = in_loop(lambda: cache.aget("k", lambda: "mine"))
    until(lambda: waiting(cache) == 3)
    joined.set()
    assert (thread.result(PATIENCE), other.result(PATIENCE)) == ("mine", "mine")
    assert colours.thread.now() - start < 5, "and not after the wait, or the lease"
    assert loop.result(PATIENCE) is None
    assert cache.snapshot()["loading"] == 0


def test_a_loop_that_stands_still_is_overtaken_after_the_wait() -> None:
    cache, loop = made(wait="50ms"), asyncio.new_event_loop()

    async def load() -> str:
        loop.stop()
        await colours.loop.sleep(0)
        return "late"

    task = loop.create_task(cache.aget("k", load))
    loop.run_forever()
    assert not task.done()
    assert cache.get("k", lambda: "mine") == "mine"
    assert loop.run_until_complete(task) == "late", "it asked before, and gets what it loaded"
    assert cache.get("k") == "mine"
    loop.close()


def test_a_waiter_whose_loop_has_ended_is_passed_over() -> None:
    """The lead goes to who can still take it."""
    cache, release = made(), threading.Event()
    first = cache._levels.first

    def fails_once() -> str:
        if not release.is_set():
            release.wait(PATIENCE)
            raise KeyboardInterrupt
        return "second"

    leader = in_thread(lambda: cache.get("k", fails_once))
    until(lambda: "k" in first._flights)
    loop = asyncio.new_event_loop()
    lost = loop.create_task(cache.aget("k", lambda: "lost"))
    loop.run_until_complete(colours.loop.sleep(0))
    until(lambda: waiting(cache) == 1)
    follower = in_thread(lambda: cache.get("k", lambda: "second"))
    until(lambda: waiting(cache) == 2)
    loop.close()
    release.set()
    assert follower.result(PATIENCE) == "second"
    assert isinstance(leader.exception(PATIENCE), KeyboardInterrupt)
    assert cache.snapshot()["loading"] == 0
    assert not lost.done()
    lost._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to be


# Sync calls inside a running event loop


@pytest.mark.parametrize("options", [{}, {"stale_while_revalidate": "1m"}, {"soft_timeout": "1s"}])
@pytest.mark.parametrize("two", [False, True])
def test_a_sync_call_inside_a_loop_works_where_it_need_not_wait(
    options: dict[str, str], two: bool
) -> None:
    cache = made(two=two, **options)

    async def main() -> None:
        assert cache.get("k", lambda: "loaded") == "loaded"
        assert cache.get("k") == "loaded"
        cache.set("k", "set")
        assert (cache.get("k"), cache.delete("k"), cache.get("k")) == ("set", True, None)

        began, go_on = asyncio.Event(), asyncio.Event()

        async def load() -> str:
            began.set()
            await go_on.wait()
            return "slow"

        task = asyncio.create_task(cache.aget("k", load))
        await began.wait()
        before = waiting(cache)
        with pytest.raises(WouldBlock, match="`a` twin"):
            cache.get("k", lambda: "other")
        assert waiting(cache) == before, "it has left its seat"
        go_on.set()
        assert await task == "slow"
        assert cache.get("k", lambda: "other") == "slow"

    asyncio.run(main())
    assert cache.snapshot()["loading"] == 0


def test_a_batch_that_would_block_leaves_no_seat_behind() -> None:
    cache = made()

    @cache.batch("{key}")
    def many(keys: list[str]) -> dict[str, str]:
        return dict.fromkeys(keys, "v")

    async def main() -> None:
        go_on = asyncio.Event()
        tasks = [asyncio.create_task(cache.aget(key, go_on.wait)) for key in "abc"]
        await colours.loop.sleep(0)
        await colours.loop.sleep(0)
        before = waiting(cache)
        with pytest.raises(WouldBlock):
            many(["a", "new", "b", "c"])
        assert waiting(cache) == before
        go_on.set()
        assert await asyncio.gather(*tasks) == [True] * 3
        assert many(["a", "new"]) == {"a": True, "new": "v"}

    asyncio.run(main())
    assert cache.snapshot()["loading"] == 0


# Forks


def child(run: Callable[[], bool]) -> bool:
    """Whether `run` is true in a forked child, within some seconds."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        code = 1
        try:
            code = 0 if run() else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("two", [False, True])
def test_a_child_that_is_forked_in_the_middle_of_loads_can_use_the_cache(two: bool) -> None:
    cache, open_ = made(two=two, stale_while_revalidate="1m"), threading.Event()
    cache.set("kept", "by the parent")
    cache.set("old", "by the parent")
    cache.expire("old")
    leaders = [
        in_thread(lambda: cache.get("k", lambda: open_.wait(PATIENCE) and "parent's")),
        in_thread(lambda: cache.get("k", lambda: "never")),
    ]
    until(lambda: waiting(cache) == 2)

    def use() -> bool:
        cache.delete("k")  # a second level would make it wait for its parent's lease
        return (
            cache.get("kept") == "by the parent"
            and cache.get("k", lambda: "child's") == "child's"
            and cache.get("old", lambda: "new") in ("by the parent", "new")
            and cache.delete("kept")
            and cache.get("kept") is None
            and cache.snapshot()["loading"] <= 1
        )

    assert child(use)
    open_.set()
    assert [leader.result(PATIENCE) for leader in leaders] == ["parent's"] * 2
    assert cache.get("kept") == "by the parent", "what a child deletes here is its own"


def test_no_child_inherits_a_lock_that_is_held() -> None:
    caches = [made(), Cache("other", l2=shared())]
    stop = threading.Event()

    def busy(cache: Cache) -> None:
        first, second, number = cache._levels.first, cache._levels.second, 0
        while not stop.is_set():
            number += 1
            first.drop(f"k{number % 10}", now=0.0)
            if second is not None:
                with second.lock:
                    second.snapshot()
            first.snapshot()

    threads = [in_thread(partial(busy, cache)) for cache in caches]
    try:
        for _ in range(6):
            assert child(
                lambda: caches[0].get("k1", lambda: 1) == 1 and bool(caches[1]._levels.second)
            )
            assert child(lambda: caches[1]._levels.first.lock.acquire(timeout=5))
            second = caches[1]._levels.second
            assert second is not None
            assert child(partial(second.lock.acquire, timeout=5))
    finally:
        stop.set()
    for thread in threads:
        thread.result(PATIENCE)


def test_two_threads_that_fork_at_once_do_not_get_in_each_other_s_way() -> None:
    cache = made()
    forks = [
        in_thread(lambda: [child(lambda: cache.get("k", lambda: 1) == 1) for _ in range(10)])
        for _ in range(3)
    ]
    assert [fork.result(PATIENCE) for fork in forks] == [[True] * 10] * 3
    assert cache.get("k", lambda: 2) == 2


def test_a_thousand_keys_from_many_threads() -> None:
    cache, calls, lock = made(two=True), [], threading.Lock()

    def load(key: str) -> str:
        with lock:
            calls.append(key)
        return key

    def ask() -> bool:
        keys = [f"k:{number}" for number in range(1000)]
        return [cache.get(key, partial(load, key)) for key in keys] == keys

    threads = [in_thread(ask) for _ in range(8)]
    assert [thread.result(PATIENCE) for thread in threads] == [True] * 8
    assert len(calls) == len(set(calls)) == 1000
