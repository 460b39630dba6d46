"""Eight threads make calls of 0.1 s under a limit of 0.17 s: who is told to be too slow?"""

from __future__ import annotations

import threading
import time
from typing import Any

import pyresilience
import pytest

from escala import Timeout

THREADS, CALL, LIMIT = 8, 0.1, 0.17


@pytest.mark.parametrize(
    ("wrap", "least", "most"),
    [
        (Timeout(LIMIT), THREADS, THREADS),
        # Calls run in four threads of its own, and the wait for one of them counts as well.
        (pyresilience.resilient(timeout=pyresilience.TimeoutConfig(seconds=LIMIT)), 0, 4),
    ],
    ids=["escala", "pyresilience"],
)
def test_eight_calls_at_once(wrap: Any, least: int, most: int) -> None:
    results = []

    def call() -> None:
        time.sleep(CALL)

    guarded = wrap(call)

    def caller() -> None:
        try:
            guarded()
        except Exception:  # noqa: BLE001  each package has its own
            results.append("too late")
        else:
            results.append("in time")

    threads = [threading.Thread(target=caller) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == THREADS
    assert least <= results.count("in time") <= most
