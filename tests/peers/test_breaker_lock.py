"""Ten threads call through a closed breaker, 0.1 s each: do they wait for one another?"""

from __future__ import annotations

import threading
import time

import pytest
from tests.peers.breakers import BREAKERS

THREADS, CALL = 10, 0.1


@pytest.mark.parametrize("package", ["escala", "pybreaker"])
def test_threads_through_a_closed_breaker(package: str) -> None:
    inside, most = 0, 0
    counting = threading.Lock()

    def call() -> None:
        nonlocal inside, most
        with counting:
            inside += 1
            most = max(most, inside)
        time.sleep(CALL)
        with counting:
            inside -= 1

    guarded = BREAKERS[package]("sync", 1)(call)
    threads = [threading.Thread(target=guarded) for _ in range(THREADS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    if package == "pybreaker":  # it holds its lock through the call
        assert most == 1
        assert took >= THREADS * CALL
    else:
        assert most == THREADS
        assert took < THREADS * CALL / 2
