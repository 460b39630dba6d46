"""A dependency is being probed and twenty callers come at once: how many reach it?"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import pytest
from tests.peers.breakers import BREAKERS, COOLDOWN

CALLERS = 20
PATIENCE = 1.0  # so long the first probe waits for the others to come in as well

THREADS = {
    "escala": 1,
    "interlock": 1,
    # It holds its lock through the call (see test_breaker_lock.py), so the others stand in line
    # outside: the failing probe shuts them out, a succeeding one would let them in one by one.
    "pybreaker": 1,
    "aiobreaker": CALLERS,
    "circuitbreaker": CALLERS,
    "purgatory": CALLERS,
    "pyresilience": CALLERS,
}
TASKS = {
    "escala": 1,
    "interlock": 1,
    "aiobreaker": CALLERS,
    "circuitbreaker": CALLERS,
    "hyx": CALLERS,
    "purgatory": CALLERS,
    "pyresilience": CALLERS,
}


class Dependency:
    """Fails every call, but holds it until all callers have come in or been refused."""

    def __init__(self) -> None:
        self.entered = self.refused = 0
        self.probing = False

    def still_waiting(self, until: float) -> bool:
        seen = self.entered + self.refused
        return self.probing and seen < CALLERS and time.monotonic() < until

    def call(self) -> None:
        self.entered += 1
        until = time.monotonic() + PATIENCE
        while self.still_waiting(until):
            time.sleep(0.001)
        raise ConnectionError

    async def acall(self) -> None:
        self.entered += 1
        until = time.monotonic() + PATIENCE
        while self.still_waiting(until):  # noqa: ASYNC110  as its sync twin does
            await asyncio.sleep(0.001)
        raise ConnectionError


@pytest.mark.parametrize("package", sorted(THREADS))
def test_threads_at_half_open(package: str) -> None:
    dependency = Dependency()

    def call() -> None:  # a plain function, since some decorators set attributes on it
        dependency.call()

    guarded = BREAKERS[package]("sync", 1)(call)
    with contextlib.suppress(Exception):
        guarded()
    dependency.probing, dependency.entered = True, 0
    time.sleep(COOLDOWN * 1.5)
    barrier = threading.Barrier(CALLERS)

    def caller() -> None:
        barrier.wait()
        try:
            guarded()
        except ConnectionError:
            return
        except Exception:  # noqa: BLE001  each package has its own refusal
            dependency.refused += 1

    threads = [threading.Thread(target=caller) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dependency.entered == THREADS[package]


@pytest.mark.parametrize("package", sorted(TASKS))
def test_tasks_at_half_open(package: str) -> None:
    dependency = Dependency()

    async def main() -> None:
        async def call() -> None:
            await dependency.acall()

        guarded = BREAKERS[package]("async", 1)(call)
        with contextlib.suppress(Exception):
            await guarded()
        dependency.probing, dependency.entered = True, 0
        await asyncio.sleep(COOLDOWN * 1.5)

        async def caller() -> None:
            try:
                await guarded()
            except ConnectionError:
                return
            except Exception:  # noqa: BLE001  each package has its own refusal
                dependency.refused += 1

        await asyncio.gather(*(caller() for _ in range(CALLERS)))

    asyncio.run(main())
    assert dependency.entered == TASKS[package]
