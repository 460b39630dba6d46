"""Count calls in one window after the other: quotas that people can follow."""

from __future__ import annotations

from typing import ClassVar

from escala.limiting.window_limiter import WindowLimiter


class FixedWindow(WindowLimiter):
    """Allow N calls in a window and N more in the next: "1000 calls a day".

    A window opens with the first call after the one before has ended, so keys do not all begin
    anew at the same moment. **Around the end of a window up to 2 N calls may pass within one
    period**: N at its end, N at the beginning of the next. Where that hurts, use
    `SlidingWindowCounter`.

    - `limit`: "200/s", "100/min", "10/30s"; "10/s; 1000/h" holds both: all are checked, then all
      are charged. The counts are whole numbers.
    - `key`, `max_keys`, `wait`, `store`, `away`: as for `TokenBucket`. A key that is forgotten
      because more than `max_keys` are in use begins anew.

    As a policy it raises `RateLimited`; `acquire` answers with a `Decision`.

    >>> limiter = FixedWindow("2/min")
    >>> [limiter.acquire("ann").allowed for _ in range(3)]
    [True, True, False]
    """

    kind: ClassVar[str] = "fixed_window"
    algorithm: ClassVar[str] = "fixed_window"
