"""The most frequent of many keys, in bounded memory."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heappush, heapreplace
from itertools import count
from typing import NamedTuple


class Counted(NamedTuple):
    """A key's count, which is too high by at most `error`."""

    key: Hashable
    amount: float
    error: float

    @property
    def sure(self) -> float:
        """What the key has at least."""
        return self.amount - self.error


class SpaceSaving:
    """Counts `capacity` keys; one that is new takes the place, and the count, of the least.

    Every key that has more than `total / capacity` is among them, and no count is too low. A key
    that is there costs O(1), one that is new O(log capacity), amortised.

    Ahmed Metwally, Divyakant Agrawal and Amr El Abbadi, *Efficient Computation of Frequent and
    Top-k Elements in Data Streams*, ICDT 2005. Weights may be any, so a heap whose entries are
    brought up to date when they come to its top stands for the list of buckets there.
    """

    __slots__ = ("_capacity", "_errors", "_heap", "_ties", "counts", "total")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.counts: dict[Hashable, float] = {}
        self._errors: dict[Hashable, float] = {}
        self._heap: list[
            tuple[float, int, Hashable]
        ] = []  # one entry for each key, too low or right
        self._ties = count()
        self.total = 0.0

    def add(self, key: Hashable, weight: float) -> float:
        """Count the key; what it has at least."""
        self.total += weight
        counts = self.counts
        had = counts.get(key)
        if had is not None:
            counts[key] = had + weight
            return had + weight - self._errors[key]
        if len(counts) < self._capacity:
            least = 0.0
            heappush(self._heap, (weight, next(self._ties), key))
        else:
            least, gone = self._least()
            del counts[gone], self._errors[gone]
            heapreplace(self._heap, (least + weight, next(self._ties), key))
        counts[key], self._errors[key] = least + weight, least
        return weight

    def sure(self, key: Hashable) -> float:
        """What a key has at least."""
        return self.counts.get(key, 0.0) - self._errors.get(key, 0.0)

    def top(self, most: int) -> list[Counted]:
        """The most frequent keys, the first of them first."""
        ordered = sorted(self.counts.items(), key=lambda item: -item[1])
        return [Counted(key, found, self._errors[key]) for key, found in ordered[:most]]

    def scale(self, factor: float) -> None:
        """Multiply everything by a number. O(capacity)."""
        self.total *= factor
        for counts in (self.counts, self._errors):
            for key in counts:
                counts[key] *= factor
        self._heap = [(low * factor, tie, key) for low, tie, key in self._heap]

    def _least(self) -> tuple[float, Hashable]:
        """The key with the least count, which is then at the top of the heap."""
        heap, counts = self._heap, self.counts
        while True:
            low, _, key = heap[0]
            if (found := counts[key]) == low:
                return found, key
            heapreplace(heap, (found, next(self._ties), key))
