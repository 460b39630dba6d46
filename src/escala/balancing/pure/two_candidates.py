"""Two different targets at random, each as likely as its weight has it."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Collection, Sequence
from itertools import accumulate

from escala.balancing.pure.passed_over import passed_over


class TwoCandidates:
    """Draws two targets without putting the first one back; of one target, that one twice.

    The weights lie side by side on a line and a random number points at one of them. Targets
    that are left out are cut out of the line, so two random numbers are always enough: O(log n)
    without `skip`, and O(log n) more for each target in it.
    """

    __slots__ = ("_draw", "_ends", "_total", "_weights")

    def __init__(self, weights: Sequence[int], draw: Callable[[], float]) -> None:
        self._weights, self._draw = tuple(weights), draw
        self._ends = list(accumulate(weights))
        self._total = self._ends[-1]

    def two(self, skip: Collection[int] = ()) -> tuple[int, int]:
        """The first and the second one, outside `skip` unless all are in it."""
        if skip and (out := passed_over(skip, len(self._weights))):
            return self._two_outside(out)
        ends, total = self._ends, self._total
        first = bisect_right(ends, int(self._draw() * total))
        weight = self._weights[first]
        if weight == total:
            return first, first
        at = int(self._draw() * (total - weight))
        return first, bisect_right(ends, at if at < ends[first] - weight else at + weight)

    def _two_outside(self, out: list[int]) -> tuple[int, int]:
        first = self._one_outside(out)
        if len(out) + 1 == len(self._weights):
            return first, first
        insort(out, first)
        return first, self._one_outside(out)

    def _one_outside(self, out: list[int]) -> int:
        ends, weights = self._ends, self._weights
        at = int(self._draw() * (self._total - sum(weights[index] for index in out)))
        for index in out:
            if at < ends[index] - weights[index]:
                break
            at += weights[index]
        return bisect_right(ends, at)
