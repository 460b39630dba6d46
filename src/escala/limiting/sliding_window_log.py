"""Never let a window of the limit's period hold one call too many, wherever it begins."""

from __future__ import annotations

from typing import ClassVar

from escala.limiting.window_limiter import WindowLimiter


class SlidingWindowLog(WindowLimiter):
    """Hold a limit exactly: at most N calls in every period, and never fewer than it could.

    The time of each call is kept for one period, so a key takes up to eight bytes for each call
    that the largest limit counts (8 kB at "1000/h"). Where that is too much,
    `SlidingWindowCounter` is nearly as good in a fraction of it. A limit counts up to a million.

    - `limit`: "200/s", "100/min", "10/30s"; "10/s; 1000/h" holds both: all are checked, then all
      are charged. The counts are whole numbers.
    - `key`, `max_keys`, `wait`, `store`, `away`: as for `TokenBucket`. A key that is forgotten
      because more than `max_keys` are in use begins anew.

    As a policy it raises `RateLimited`; `acquire` answers with a `Decision`.

    >>> limiter = SlidingWindowLog("2/min")
    >>> [limiter.acquire("ann").allowed for _ in range(3)]
    [True, True, False]
    """

    kind: ClassVar[str] = "sliding_window_log"
    algorithm: ClassVar[str] = "sliding_window_log"
    most_calls: ClassVar[int] = 1_000_000

    def _strict(self) -> bool:
        return True
