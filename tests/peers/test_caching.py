"""One key, one loader, and three things that happen in every service: what does a cache give?

What each package is expected to do is written beside its name, so that a release which does
something else is noticed. Escala is asked the same by the same code.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

import pytest
from tests.peers.caches import ASYNC, SYNC, Maker

PATIENCE = 5.0
A_MOMENT = 0.05

# It is invalidated while a loader runs: who asks after that gets "new", or "old" for its whole TTL.

AFTER_SYNC = {
    "escala": "new",
    "functools": "old",
    "cachetools": "old",
    "cachebox": "old",
    "moka-py": "old",
    "theine": "old",
    "dogpile.cache": "old",
    "dogpile.cache, a region": "old",
}
AFTER_ASYNC = {
    "escala": "new",
    "cachebox": "old",
    "theine": "new",  # it keeps what is awaited, and a deletion takes that away
    "cashews": "old",
    "cashews, tags": "old",
    "aiocache": "old",
    "aiocache, stampede": "old",
}


def after_an_invalidation(make: Maker) -> str:
    source, reads, written = ["old"], threading.Event(), threading.Event()

    def load() -> str:
        value = source[0]
        reads.set()
        written.wait(PATIENCE)
        return value

    cached = make(load)
    thread = threading.Thread(target=cached.ask)
    thread.start()
    assert reads.wait(PATIENCE)
    source[0] = "new"
    cached.forget()
    written.set()
    thread.join(PATIENCE)
    value: str = cached.ask()
    return value


async def after_an_ainvalidation(make: Maker) -> str:
    source, reads, written = ["old"], asyncio.Event(), asyncio.Event()

    async def load() -> str:
        value = source[0]
        reads.set()
        await written.wait()
        return value

    cached = make(load)
    task = asyncio.ensure_future(cached.ask())
    await asyncio.wait_for(reads.wait(), PATIENCE)
    source[0] = "new"
    await cached.forget()
    written.set()
    await task
    value: str = await cached.ask()
    return value


@pytest.mark.parametrize("package", AFTER_SYNC)
def test_an_invalidation_while_a_loader_runs(package: str) -> None:
    assert after_an_invalidation(SYNC[package]) == AFTER_SYNC[package]


@pytest.mark.parametrize("package", AFTER_ASYNC)
def test_an_invalidation_while_an_async_loader_runs(package: str) -> None:
    assert asyncio.run(after_an_ainvalidation(ASYNC[package])) == AFTER_ASYNC[package]


# Five callers wait for one load, and the first of them is cancelled. Here and below: how many of
# the others get the value, and how many loads there are.

CANCELLED = {
    "escala": (4, 1),
    "cachebox": (0, 1),  # all are cancelled
    "theine": (0, 1),
    "cashews": (0, 1),
    "aiocache": (4, 5),  # each loads for itself, also if no one is cancelled
    "aiocache, stampede": (4, 5),
}


async def of_five(make: Maker) -> tuple[int, int]:
    loads = 0

    async def load() -> str:
        nonlocal loads
        loads += 1
        await asyncio.sleep(2 * A_MOMENT)
        return "value"

    ask = make(load).ask
    tasks = [asyncio.ensure_future(ask()) for _ in range(5)]
    await asyncio.sleep(A_MOMENT)
    tasks[0].cancel()
    ended, _ = await asyncio.wait(tasks, timeout=1)
    got = await asyncio.gather(*tasks[1:], return_exceptions=True) if len(ended) == 5 else []
    return got.count("value"), loads


@pytest.mark.parametrize("package", CANCELLED)
def test_the_first_of_five_callers_is_cancelled(package: str) -> None:
    assert asyncio.run(of_five(ASYNC[package])) == CANCELLED[package]


# Two event loops, each in a thread, with ten callers each.

LOOPS = {
    "escala": (20, 1),
    "cachebox": (10, 1),  # the other ten get a RuntimeError
    "theine": (10, 1),
    "cashews": (10, 1),
    "aiocache": (20, 20),
    "aiocache, stampede": (10, 1),
}


def of_two_loops(make: Maker) -> tuple[int, int]:
    seen: Counter[Any] = Counter()
    both = threading.Barrier(2)

    async def load() -> str:
        seen["loads"] += 1
        await asyncio.sleep(2 * A_MOMENT)
        return "value"

    ask = make(load).ask

    async def ten() -> None:
        both.wait(PATIENCE)
        tasks = [asyncio.ensure_future(ask()) for _ in range(10)]
        await asyncio.wait(tasks, timeout=1)
        for task in tasks:
            task.cancel()
        seen.update(map(str, await asyncio.gather(*tasks, return_exceptions=True)))

    threads = [threading.Thread(target=asyncio.run, args=(ten(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return seen["value"], seen["loads"]


@pytest.mark.parametrize("package", LOOPS)
def test_two_event_loops(package: str) -> None:
    served, loads = of_two_loops(ASYNC[package])
    all_served, one_load = LOOPS[package][0] == 2 * 10, LOOPS[package][1] == 1
    if package == "escala":
        assert (served, loads) == LOOPS[package]
    else:  # some of the other loop's callers may come when the value is there
        assert (served == 2 * 10, loads == 1) == (all_served, one_load)
