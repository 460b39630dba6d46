"""1,000 callers fail together: how many of them return in the same 10 ms?

Each retry begins with a wait of up to a second (hyx: its default, half a second).
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import hyx.retry
import pyresilience
import pytest
import tenacity

from escala import Retry

CALLERS, BIN = 1000, 0.01
FAIR = CALLERS * BIN  # of a wait of one second, drawn evenly


def escala_() -> Any:
    return Retry(2, base=1, budget=None)


def hyx_() -> Any:
    return hyx.retry.retry(attempts=2)


def pyresilience_() -> Any:
    return pyresilience.resilient(retry=pyresilience.RetryConfig(max_attempts=2))


def tenacity_exponential() -> Any:
    return tenacity.retry(
        stop=tenacity.stop_after_attempt(2), wait=tenacity.wait_exponential(multiplier=1)
    )


def tenacity_random() -> Any:
    return tenacity.retry(
        stop=tenacity.stop_after_attempt(2), wait=tenacity.wait_random_exponential(multiplier=1)
    )


def worst_moment(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> int:
    waits: list[float] = []
    calls = 0

    async def asleep(seconds: float) -> None:
        waits.append(seconds)

    here, really = threading.get_ident(), time.sleep

    def sleep(seconds: float) -> None:
        if threading.get_ident() == here:
            waits.append(seconds)
        else:  # a thread that some other peer has left behind
            really(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(asyncio, "sleep", asleep)
    random.seed(1)

    def call() -> None:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise ConnectionError

    async def acall() -> None:
        call()

    one = make()
    for _ in range(CALLERS):
        if make is hyx_:
            asyncio.run(one(acall)())
        else:
            one(call)()
    assert calls == 2 * CALLERS
    assert len(waits) == CALLERS
    return max(Counter(int(wait / BIN) for wait in waits).values())


@pytest.mark.parametrize("make", [escala_, tenacity_random])
def test_full_jitter_spreads_them(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert worst_moment(make, monkeypatch) < 4 * FAIR


@pytest.mark.parametrize("make", [hyx_, tenacity_exponential])
def test_backoff_alone_brings_them_all_back_at_once(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert worst_moment(make, monkeypatch) == CALLERS


def test_pyresilience_brings_a_tenth_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its jitter is never below a tenth of the wait, and all that was drawn below is exactly that.
    assert worst_moment(pyresilience_, monkeypatch) > 7 * FAIR
