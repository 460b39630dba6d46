"""Turns in exact proportion to weights, spread as evenly as whole turns can be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from heapq import heappop, heappush

from escala.balancing.pure.choice import Choice


class RoundRobinChoice(Choice):
    """Each target in turn, `weight` times a round.

    The schedule is P-fair (Baruah, Cohen, Plaxton and Varvel, "Proportionate progress", 1996).
    With W the sum of all weights, turn k of a target may begin at step `k * W // weight` and has
    to be over by `ceil((k + 1) * W / weight)`; the earliest end goes first. After any number of
    picks each target is then less than one turn away from its exact share, and any W picks in a
    row hold each target exactly `weight` times. Equal weights give the plain order 0, 1, 2, ...

    A target that `skip` passed over keeps its turn and is served next. It never keeps more than
    one, so that a target that was avoided for long is not flooded afterwards.

    O(log n) a pick, amortised over a round, and O(n) memory, however large the weights are.
    """

    __slots__ = ("_due", "_later", "_step", "_total", "_turns", "_weights")

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = tuple(weights)
        self._total = sum(weights)
        self._turns = [0] * len(weights)  # how many each target has had
        self._step = 0
        self._later = [(0, index) for index in range(len(weights))]  # (begin of turn, index)
        self._due: list[tuple[int, int]] = []  # (end of turn, index), once the turn has begun

    def pick(self, now: float, skip: Collection[int] = (), key: str | bytes | None = None) -> int:
        """The target whose turn ends first."""
        del now, key
        weights, total, turns, later = self._weights, self._total, self._turns, self._later
        while later and later[0][0] <= self._step:
            index = heappop(later)[1]
            end = -(-(turns[index] + 1) * total // weights[index])
            heappush(self._due, (end, index))
        index = heappop(self._due)[1] if self._due and not skip else self._search(skip)
        step, weight = self._step, weights[index]
        turns[index] = max(turns[index], step * weight // total) + 1  # older turns are forfeited
        self._step = step + 1
        heappush(later, (turns[index] * total // weight, index))
        return index

    def _search(self, skip: Collection[int]) -> int:
        """The best target outside `skip`, before its time if need be."""
        for waiting in (self._due, self._later):
            passed: list[tuple[int, int]] = []
            while waiting and waiting[0][1] in skip:
                passed.append(heappop(waiting))
            found = heappop(waiting) if waiting else None
            for entry in passed:
                heappush(waiting, entry)
            if found is not None:
                if waiting is self._later:
                    self._step = found[0]  # time moves on with those who serve
                return found[1]
        return self._search(())
