"""A percentile of the latest latencies, in constant memory and constant time."""

from __future__ import annotations

import math
from array import array

SAMPLES = 1000
FEWEST = 20
_SHORTEST, _LONGEST = 1e-6, 1e4  # seconds; what lies beyond counts as the end of the scale
_STEP = 1.04  # from one bucket's upper edge to the next: the error of an answer is at most that
_LOG_STEP = math.log(_STEP)
_LAST = math.ceil(math.log(_LONGEST / _SHORTEST) / _LOG_STEP)


class LatencyDigest:
    """The percentile (in thousandths: 950 is p95) of the last thousand latencies.

    Each is counted in a bucket of a logarithmic scale, and the oldest is taken out again. A
    pointer follows the bucket that the percentile falls into, so that nothing is ever sorted.
    `value` is that bucket's upper edge: the true percentile, or up to 4 % more. It is None until
    there are so many latencies that one of them can be expected beyond it, and at least 20.
    """

    __slots__ = ("_at", "_below", "_counts", "_enough", "_next", "_per_mille", "_ring", "count")

    def __init__(self, per_mille: int) -> None:
        self._per_mille = per_mille
        self._enough = max(FEWEST, -(-1000 // (1000 - per_mille)))
        self._ring = array("H", [0]) * SAMPLES
        self._counts = array("H", [0]) * (_LAST + 1)
        self._next = self.count = 0
        self._at = self._below = 0  # the percentile's bucket, and how many are in those before it

    @property
    def value(self) -> float | None:
        """The percentile in seconds."""
        if self.count < self._enough:
            return None
        return _SHORTEST * math.exp(self._at * _LOG_STEP)

    def add(self, seconds: float) -> None:
        """Count one more, and forget the one of a thousand calls ago."""
        bucket = _bucket(seconds)
        if self.count == SAMPLES:
            oldest = self._ring[self._next]
            self._counts[oldest] -= 1
            self._below -= oldest < self._at
        else:
            self.count += 1
        self._ring[self._next] = bucket
        self._counts[bucket] += 1
        self._below += bucket < self._at
        self._next = (self._next + 1) % SAMPLES
        self._follow()

    def _follow(self) -> None:
        rank = -(-self.count * self._per_mille // 1000)
        while self._below >= rank:
            self._at -= 1
            self._below -= self._counts[self._at]
        while self._below + self._counts[self._at] < rank:
            self._below += self._counts[self._at]
            self._at += 1


def _bucket(seconds: float) -> int:
    if seconds <= _SHORTEST:
        return 0
    if seconds >= _LONGEST:
        return _LAST
    return math.ceil(math.log(seconds / _SHORTEST) / _LOG_STEP)
