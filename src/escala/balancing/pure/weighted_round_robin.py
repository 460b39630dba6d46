"""nginx's smooth weighted round robin: its very order, without looking at every target."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from escala.balancing.pure.choice import Choice
from escala.balancing.pure.passed_over import passed_over

_NEVER = 1 << 400  # a step that no process lives to see
_ABSENT = 1 << 200  # more than any credit or debt until then


class WeightedRoundRobinChoice(Choice):
    """Each step gives each target its weight as credit; the one with the most pays and is picked.

    It pays the sum of all weights, so the credits add up to 0 after each step. Of equals the first
    wins. A target in `skip` gets no credit in that step, and the one that is picked does not pay
    its part: that is how nginx goes on to the next server after a failure.

    Written so it is O(n) a pick. But between its payments the credit of a target is a straight
    line, `weight * step + base`, and the highest of many lines needs no looking at all of them:
    a kinetic tournament (Basch, Guibas and Hershberger, "Data structures for mobile data", 1997)
    has a winner for each pair of targets, for each pair of pairs and so on, and knows until which
    step each of them wins. A payment, or a step at which some line crosses another, replays only
    the matches above it: O(log n) each, in whole numbers, so the order is exact.
    """

    __slots__ = ("_bases", "_step", "_total", "_until", "_weights", "_winners")

    def __init__(self, weights: Sequence[int]) -> None:
        many = len(weights)
        self._weights, self._total = tuple(weights), sum(weights)
        self._bases = [0] * many  # the credits, less weight * step
        self._step = 0
        # Match k is between the winners of 2k and 2k + 1; those from `many` on are the targets.
        self._winners = [0] * many + list(range(many))
        # The first step at which the winner of the match, or of one below it, may be another.
        self._until = [0] * many + [_NEVER] * many

    def pick(self, now: float, skip: Collection[int] = (), key: str | bytes | None = None) -> int:
        """The target with the most credit, which pays."""
        del now, key
        weights = self._weights
        out = passed_over(skip, len(weights)) if skip else []
        for absent in out:
            self._add(absent, -_ABSENT)
        self._step += 1
        if len(weights) > 1:
            self._replay(1)
        index = self._winners[1]
        self._add(index, sum([weights[absent] for absent in out]) - self._total)
        for absent in out:
            self._add(absent, _ABSENT - weights[absent])
        return index

    def _add(self, index: int, credit: int) -> None:
        """Give or take credit; the matches of the target have to be played again."""
        self._bases[index] += credit
        until, match = self._until, (index + len(self._weights)) >> 1
        while match:
            until[match] = 0
            match >>= 1

    def _replay(self, match: int) -> None:
        """Play this match, after those below it of which the time is over."""
        step, until, winners, left = self._step, self._until, self._winners, 2 * match
        if until[left] <= step:
            self._replay(left)
        if until[left + 1] <= step:
            self._replay(left + 1)
        best, other = winners[left], winners[left + 1]
        weights, bases = self._weights, self._bases
        lead = (weights[best] - weights[other]) * step + bases[best] - bases[other]
        if lead < 0 or (lead == 0 and other < best):
            best, other, lead = other, best, -lead
        first = min(until[left], until[left + 1])
        gains = weights[other] - weights[best]
        if gains > 0:  # it has overtaken after so many steps, or has drawn level and goes first
            overtaken = step + (-(-lead // gains) if other < best else lead // gains + 1)
            first = min(first, overtaken)
        winners[match], until[match] = best, first
