"""Two machines share a limit over Redis, and the clock of one is an hour ahead."""

from __future__ import annotations

from collections.abc import Callable

import limits
import limits.storage
import limits.strategies
import pytest
from tests.peers.wall_clock import Clocks

from escala import SlidingWindowLog

HOUR = 3600.0


def escala_(url: str) -> tuple[Callable[[], bool], Callable[[], None]]:
    log = SlidingWindowLog("10/min", store=url)
    return lambda: log.acquire("clock").allowed, log.close


def limits_(url: str) -> tuple[Callable[[], bool], Callable[[], None]]:
    storage = limits.storage.RedisStorage(url)
    limiter = limits.strategies.MovingWindowRateLimiter(storage)
    item = limits.RateLimitItemPerMinute(10)
    return lambda: limiter.hit(item, "clock"), storage.storage.close


@pytest.mark.parametrize(
    ("make", "admitted"),
    [
        (escala_, 0),  # the server's clock decides
        (limits_, 10),  # the caller's does
    ],
)
def test_a_machine_whose_clock_is_ahead(
    make: Callable[[str], tuple[Callable[[], bool], Callable[[], None]]],
    admitted: int,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take, close = make(redis_url)
    try:
        assert sum(take() for _ in range(20)) == 10
        Clocks(monkeypatch).step(HOUR)
        assert sum(take() for _ in range(20)) == admitted
    finally:
        close()
