"""Limit calls in a sliding window with two counts a key instead of a list of times."""

from __future__ import annotations

from typing import ClassVar

from escala.limiting.window_limiter import WindowLimiter


class SlidingWindowCounter(WindowLimiter):
    """Hold a limit over a sliding window almost exactly, whatever it counts, in little memory.

    What passed in the last period is estimated: all of the current window, and of the one before
    as large a part as is still in sight, as if it had passed evenly. If it came in a lump, a
    period may hold more than N, or refuse a call that the log would let pass.

    - `limit`: "200/s", "100/min", "10/30s"; "10/s; 1000/h" holds both: all are checked, then all
      are charged. The counts are whole numbers.
    - `key`, `max_keys`, `wait`, `store`, `away`: as for `TokenBucket`. A key that is forgotten
      because more than `max_keys` are in use begins anew.

    As a policy it raises `RateLimited`; `acquire` answers with a `Decision`. The rule is the one
    Cloudflare described in 2017.

    >>> limiter = SlidingWindowCounter("2/min")
    >>> [limiter.acquire("ann").allowed for _ in range(3)]
    [True, True, False]
    """

    kind: ClassVar[str] = "sliding_window_counter"
    algorithm: ClassVar[str] = "sliding_window_counter"
