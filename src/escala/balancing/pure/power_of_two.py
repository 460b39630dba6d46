"""The less loaded of two targets at random."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from escala.balancing.pure.choice import Choice, Member
from escala.balancing.pure.two_candidates import TwoCandidates


class PowerOfTwoChoice(Choice):
    """Of two random targets the one with the lower `in_flight / weight`; the first if equal.

    So an idle upstream is shared by weight, at random.
    """

    __slots__ = ("_candidates", "_in_flight", "_weights")

    def __init__(self, members: Sequence[Member], draw: Callable[[], float]) -> None:
        self._weights = tuple(member.weight for member in members)
        self._in_flight = [member.in_flight for member in members]
        self._candidates = TwoCandidates(self._weights, draw)

    def pick(self, now: float, skip: Collection[int] = (), key: str | bytes | None = None) -> int:
        """The better one of two."""
        del now, key
        index, other = self._candidates.two(skip)
        calls, weights = self._in_flight, self._weights
        if calls[other] * weights[index] < calls[index] * weights[other]:
            index = other
        calls[index] += 1
        return index

    def release(self, index: int, now: float, took: float | None = None) -> None:
        """One call fewer for this target."""
        del now, took
        self._in_flight[index] -= 1
