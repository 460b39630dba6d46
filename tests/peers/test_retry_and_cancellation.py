"""A caller gives up after 0.1 s: does the retry around the call hear it?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import tenacity

from escala import Retry

GIVES_UP, FIRST, SECOND = 0.1, 5.0, 0.3


def escala_() -> Any:
    return Retry(on=(Exception,), base=0)


def tenacity_exception_type() -> Any:
    return tenacity.retry(retry=tenacity.retry_if_exception_type(Exception))


def tenacity_not_exception_type() -> Any:
    return tenacity.retry(retry=tenacity.retry_if_not_exception_type(ValueError))


async def attempts_and_time(make: Callable[[], Any]) -> tuple[int, float]:
    attempts = 0

    @make()
    async def call() -> str:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(FIRST if attempts == 1 else SECOND)
        return "late"

    began = time.monotonic()
    try:
        await asyncio.wait_for(call(), GIVES_UP)
    except TimeoutError:
        return attempts, time.monotonic() - began
    return attempts, -1.0  # it went on and succeeded, long after


@pytest.mark.parametrize("make", [escala_, tenacity_exception_type])
def test_a_cancelled_call_is_not_repeated(make: Callable[[], Any]) -> None:
    attempts, took = asyncio.run(attempts_and_time(make))
    assert attempts == 1
    assert GIVES_UP <= took < SECOND


def test_tenacity_repeats_a_cancelled_call_when_asked_for_all_but_one_kind() -> None:
    # `CancelledError` is no ValueError: it is swallowed, and the caller waits for another try.
    assert asyncio.run(attempts_and_time(tenacity_not_exception_type)) == (2, -1.0)
