"""A service changes how it counts, and for a while both versions run on the same Redis."""

from __future__ import annotations

from collections.abc import Callable

import limits
import limits.storage
import limits.strategies
import pytest
import redis

from escala import FixedWindow, SlidingWindowLog

Take = Callable[[], bool]


def limits_(strategy: type[limits.strategies.RateLimiter], url: str) -> Take:
    limiter = strategy(limits.storage.RedisStorage(url))
    item = limits.RateLimitItemPerHour(10)
    return lambda: limiter.hit(item, "key")


def test_limits_raises_for_whichever_version_comes_second(redis_url: str) -> None:
    fixed = limits_(limits.strategies.FixedWindowRateLimiter, redis_url)
    moving = limits_(limits.strategies.MovingWindowRateLimiter, redis_url)
    assert fixed()
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        moving()


def test_escala_keeps_a_key_for_each_way_of_counting(redis_url: str) -> None:
    fixed = FixedWindow("10/h", store=redis_url)
    log = SlidingWindowLog("10/h", store=redis_url)
    try:
        for _ in range(3):
            assert fixed.acquire("key")
            assert log.acquire("key")
    finally:
        fixed.close()
        log.close()
