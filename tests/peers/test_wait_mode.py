"""A limit of 100/s with no burst, and one caller who waits for each token: how many a second?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pyrate_limiter
import pyresilience
import pytest
import throttled
from aiolimiter import AsyncLimiter

from escala import TokenBucket

LIMIT, SECONDS = 100, 0.6


def escala_() -> Callable[[], Any]:
    bucket = TokenBucket(f"{LIMIT}/s", burst=1)
    return lambda: bucket.acquire(wait=1)


def aiolimiter_() -> Callable[[], Any]:
    return AsyncLimiter(1, 1 / LIMIT).acquire


def pyrate() -> Callable[[], Any]:
    rates = [pyrate_limiter.Rate(LIMIT, 1000, burst=1)]
    bucket = pyrate_limiter.StateBucket(rates)
    limiter = pyrate_limiter.Limiter(pyrate_limiter.SingleBucketFactory(bucket, False))
    return lambda: limiter.try_acquire("key")


def pyresilience_() -> Callable[[], Any]:
    config = pyresilience.RateLimiterConfig(max_calls=1, period=1 / LIMIT, max_wait=1)
    return pyresilience.RateLimiter(config).acquire


def throttled_() -> Callable[[], Any]:
    quota = throttled.per_sec(LIMIT, burst=1)
    store = throttled.MemoryStore()
    limiter = throttled.Throttled("key", timeout=1, using="gcra", quota=quota, store=store)
    return limiter.limit


def served_each_second(acquire: Callable[[], Any]) -> float:
    async def main() -> float:
        count, began = 0, time.monotonic()
        while time.monotonic() < began + SECONDS:
            await acquire()
            count += 1
        return count / (time.monotonic() - began)

    if asyncio.iscoroutinefunction(acquire):
        return asyncio.run(main())
    count, began = 0, time.monotonic()
    while time.monotonic() < began + SECONDS:
        acquire()
        count += 1
    return count / (time.monotonic() - began)


@pytest.mark.parametrize("make", [escala_, aiolimiter_, pyresilience_])
def test_waiting_gives_nearly_the_whole_limit(make: Callable[[], Callable[[], Any]]) -> None:
    assert 0.6 * LIMIT < served_each_second(make()) < 1.1 * LIMIT


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (pyrate, 25),  # sleeps 50 ms longer than it has to
        (throttled_, 12),  # sleeps in steps of 0.1 s and more
    ],
)
def test_waiting_costs_these_most_of_the_limit(
    make: Callable[[], Callable[[], Any]], most: float
) -> None:
    assert served_each_second(make()) < most
