"""Counts over the last so many calls, however long ago they were."""

from __future__ import annotations

import math


class CountWindow:
    """How many of the last `length` calls are marked, and how many of those marks say slow.

    It is used like a `RollingWindow` whose buckets hold one call each: `ends` has always passed,
    so every call turns it. One byte of memory for each call of its length.
    """

    __slots__ = ("_at", "_before_marked", "_before_slow", "_ring", "calls", "marked", "slow")

    ends = -math.inf

    def __init__(self, length: int) -> None:
        self._ring = bytearray(length)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.calls = self.marked = self.slow = 0
        self._before_marked = self._before_slow = 0
        self._at = 0

    def turn(self, now: float) -> None:  # noqa: ARG002  time is nothing to it
        """Write down the call before, and forget the one that is now too old."""
        ring, length = self._ring, len(self._ring)
        slow = self.slow - self._before_slow
        ring[self._at] = (self.marked - self._before_marked) << 1 | slow
        self._at = (self._at + 1) % length
        if self.calls == length:
            oldest = ring[self._at]
            self.calls -= 1
            self.marked -= oldest >> 1
            self.slow -= oldest & 1
        self._before_marked, self._before_slow = self.marked, self.slow
