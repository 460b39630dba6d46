"""Counts over the last seconds in constant memory: ten buckets, not one entry for each call."""

from __future__ import annotations

import math

BUCKETS = 10
_NOTHING = (0, 0, 0)


class RollingWindow:
    """How many calls the last `length` seconds saw, how many are marked, how many of those slow.

    Time is cut into buckets of a tenth of `length`, and a whole bucket is forgotten at once: a
    call counts for at least 0.9 and at most 1.0 times `length`. That is the only error.

    To count a call: `if now >= window.ends: window.turn(now)`, then add one to `calls`, and to
    `marked` as well if it is marked. Three lines instead of a method, since every call runs
    them. A mark for being slow is added to `slow` and to `marked`, so `marked - slow` counts the
    other kind. A `now` from before the current bucket (threads overtake each other) counts in it.
    """

    __slots__ = (
        "_at",
        "_before",
        "_before_marked",
        "_before_slow",
        "_ring",
        "_width",
        "calls",
        "ends",
        "marked",
        "slow",
    )

    def __init__(self, length: float) -> None:
        self._width = length / BUCKETS
        self.clear()

    def clear(self) -> None:
        """Forget everything; the next call begins a new first bucket."""
        self.ends = -math.inf
        self.calls = self.marked = self.slow = 0
        # The totals without the current bucket.
        self._before = self._before_marked = self._before_slow = 0
        self._ring = [_NOTHING] * BUCKETS
        self._at = 0

    def turn(self, now: float) -> None:
        """Begin the bucket that `now` falls into and forget those that are too old."""
        if now >= self.ends + self._width * (BUCKETS - 1):
            self.clear()
            self.ends = now + self._width
            return
        self._ring[self._at] = (
            self.calls - self._before,
            self.marked - self._before_marked,
            self.slow - self._before_slow,
        )
        steps = 1 + int((now - self.ends) / self._width)
        for _ in range(steps):
            self._at = (self._at + 1) % BUCKETS
            calls, marked, slow = self._ring[self._at]
            self._ring[self._at] = _NOTHING
            self.calls -= calls
            self.marked -= marked
            self.slow -= slow
        self.ends += steps * self._width
        self._before, self._before_marked, self._before_slow = self.calls, self.marked, self.slow
