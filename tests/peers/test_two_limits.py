"""1,000 an hour and 10 a second, 3,000 calls at once: what is left of the hour afterwards?"""

from __future__ import annotations

import limits
import limits.storage
import limits.strategies

from escala import TokenBucket

CALLS, A_SECOND, AN_HOUR = 3000, 10, 1000
A_FEW_SECONDS = 3  # so long the calls may take on a busy machine


def test_limits_spends_the_hour_on_calls_that_the_second_refuses() -> None:
    limiter = limits.strategies.FixedWindowRateLimiter(limits.storage.MemoryStorage())
    hour, second = limits.RateLimitItemPerHour(AN_HOUR), limits.RateLimitItemPerSecond(A_SECOND)
    admitted = sum(limiter.hit(hour, "key") and limiter.hit(second, "key") for _ in range(CALLS))
    assert A_SECOND <= admitted <= A_FEW_SECONDS * A_SECOND
    assert limiter.get_window_stats(hour, "key").remaining == 0


def test_escala_charges_all_limits_or_none() -> None:
    bucket = TokenBucket(f"{A_SECOND}/s; {AN_HOUR}/h")
    admitted = sum(bucket.acquire("key").allowed for _ in range(CALLS))
    assert A_SECOND <= admitted <= A_FEW_SECONDS * A_SECOND
    (_, (left, _)) = bucket.peek("key").standings
    # What comes back in a few seconds is a call of the hour or less.
    assert AN_HOUR - admitted <= left <= AN_HOUR - admitted + 1
