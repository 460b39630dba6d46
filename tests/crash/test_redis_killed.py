"""Redis is killed under 2,000 requests a second: no caller notices, and the limit holds nearly."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from tests.servers.redis_server import RedisServer, own_redis

from escala import TokenBucket
from escala.kernel.events import subscribe
from escala.limiting.events import LimiterStoreChanged

__all__ = ["own_redis"]

pytestmark = pytest.mark.live

RATE, BURST, ASKED = 1000, 50, 2000
DIES, RETURNS, ENDS = 1.0, 3.0, 6.5


def test_no_caller_notices_that_redis_is_killed(own_redis: RedisServer) -> None:
    limiter = TokenBucket(f"{RATE}/s", burst=BURST, store=own_redis.url)
    told: list[LimiterStoreChanged] = []
    stop = subscribe(LimiterStoreChanged, told.append)
    took: list[float] = []
    away: list[tuple[float, bool]] = []
    granted = 0

    async def one(began: float, due: float) -> None:
        nonlocal granted
        asked = time.monotonic()
        decision = await limiter.aacquire("all")  # an exception of it would end the test
        took.append(time.monotonic() - asked)
        granted += decision.allowed
        away.append((due - began, decision.away))

    async def main() -> float:
        began = time.monotonic()
        servers = asyncio.create_task(asyncio.to_thread(kill_and_start, began))
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(ENDS * ASKED)):
                due = began + number / ASKED
                if (late := due - time.monotonic()) > 0:
                    await asyncio.sleep(late)
                tasks.create_task(one(began, due))
        await servers
        return time.monotonic() - began

    def kill_and_start(began: float) -> None:
        time.sleep(began + DIES - time.monotonic())
        own_redis.kill()
        time.sleep(began + RETURNS - time.monotonic())
        own_redis.start()

    seconds = asyncio.run(main())
    stop()
    assert len(took) == int(ENDS * ASKED)
    assert sorted(took)[int(len(took) * 0.99)] <= 0.05
    assert granted <= 1.2 * RATE * seconds
    assert granted >= 0.7 * RATE * seconds, "and it goes on letting calls through"
    assert any(gone for _, gone in away), "Redis was away for some"
    assert any(not gone for at, gone in away if RETURNS <= at <= RETURNS + 3.0), "used again"
    assert [event.away for event in told[:2]] == [True, False]
    assert f"Redis at 127.0.0.1:{own_redis.port}" in told[0].reason
    assert limiter.snapshot()["without_store"] == sum(gone for _, gone in away)


def test_threads_do_not_notice_either(own_redis: RedisServer) -> None:
    limiter = TokenBucket("1000000/s", store=own_redis.url)
    took: list[float] = []

    def ask() -> Any:
        began = time.monotonic()
        decision = limiter.acquire("all")
        took.append(time.monotonic() - began)
        return decision

    assert not ask().away
    own_redis.kill()
    assert all(ask().away for _ in range(500))
    own_redis.start()
    until = time.monotonic() + 5.0
    while ask().away:
        assert time.monotonic() < until
        time.sleep(0.01)
    own_redis.pause()
    assert [ask().away for _ in range(20)] == [True] * 20
    own_redis.resume()
    took.sort()
    assert took[int(len(took) * 0.95)] <= 0.05
    limiter.close()
