"""The wall clock steps by an hour and back: does a decision change that has no use for it?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import limits
import limits.storage
import limits.strategies
import purgatory
import pytest
from tests.peers.wall_clock import Clocks

from escala import CircuitBreaker, TokenBucket

HOUR, MINUTE = 3600.0, 60.0


def escala_limiter() -> Callable[[], bool]:
    bucket = TokenBucket("10/min")
    return lambda: bucket.acquire("key").allowed


def limits_log() -> Callable[[], bool]:
    limiter = limits.strategies.MovingWindowRateLimiter(limits.storage.MemoryStorage())
    item = limits.RateLimitItemPerMinute(10)
    return lambda: limiter.hit(item, "key")


@pytest.mark.parametrize(
    ("make", "ahead", "back"),
    [
        (escala_limiter, 0, 10),
        # Ahead, all ten are there again, and they are kept as if from an hour to come.
        (limits_log, 10, 0),
    ],
)
def test_a_limit_of_ten_a_minute(
    make: Callable[[], Callable[[], bool]],
    ahead: int,
    back: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clocks = Clocks(monkeypatch)
    take = make()
    assert sum(take() for _ in range(20)) == 10
    clocks.step(HOUR)
    assert sum(take() for _ in range(20)) == ahead
    clocks.step(-HOUR)
    clocks.go_on(MINUTE + 1)
    assert sum(take() for _ in range(20)) == back


def escala_breaker() -> Any:
    return CircuitBreaker(minimum_calls=1, cooldown="60s")


def purgatory_breaker() -> Any:
    return purgatory.SyncCircuitBreakerFactory(default_threshold=1, default_ttl=MINUTE)("peer")


@pytest.mark.parametrize(
    ("make", "ahead", "back"),
    [
        (escala_breaker, False, True),
        # Ahead, it probes before its time; back, it stays open for an hour.
        (purgatory_breaker, True, False),
    ],
)
def test_a_breaker_that_stays_open_for_a_minute(
    make: Callable[[], Any],
    ahead: bool,
    back: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clocks = Clocks(monkeypatch)
    entered = 0

    def call() -> None:
        nonlocal entered
        entered += 1
        raise ConnectionError

    guarded = make()(call)

    def enters() -> bool:
        before = entered
        with contextlib.suppress(Exception):
            guarded()
        return entered > before

    assert enters()
    assert not enters()
    clocks.step(HOUR)
    assert enters() is ahead
    clocks.step(-HOUR)
    clocks.go_on(MINUTE + 1)
    assert enters() is back
