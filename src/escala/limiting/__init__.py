"""Limit how many calls pass in a time: fair to each client, exact under threads and tasks."""

from __future__ import annotations

from escala.limiting.decision import Decision
from escala.limiting.events import LimiterStoreChanged
from escala.limiting.fixed_window import FixedWindow
from escala.limiting.leaky_bucket import LeakyBucket
from escala.limiting.plan import Limit, Plan
from escala.limiting.rate_limiter import RateLimiter
from escala.limiting.sliding_window_counter import SlidingWindowCounter
from escala.limiting.sliding_window_log import SlidingWindowLog
from escala.limiting.token_bucket import TokenBucket

__all__ = [
    "Decision",
    "FixedWindow",
    "LeakyBucket",
    "Limit",
    "LimiterStoreChanged",
    "Plan",
    "RateLimiter",
    "SlidingWindowCounter",
    "SlidingWindowLog",
    "TokenBucket",
]
