"""The target that will answer first, by what its calls took of late and how many it has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import exp

from escala.balancing.pure.choice import Choice, Member
from escala.balancing.pure.two_candidates import TwoCandidates

_UNHEARD = 1e6  # seconds that a target is taken to need while its first call has not come back
_NOISE = 1.1  # costs nearer to each other than this are equal


class PeakEwmaChoice(Choice):
    """Of two random targets the one with the lower cost: seconds * (1 + in_flight / weight).

    Costs that differ by less than 10 % are equal, and then the first one drawn has it: otherwise
    targets that are alike would be chosen by who was heard of longest ago, whatever they weigh.

    The seconds are an estimate that jumps up to each call that took longer, and goes down slowly:
    by exp(-t / decay) in t seconds, towards what the calls take that end meanwhile. While none
    ends it goes down too, so that a target that was slow is tried again. What it costs to be wrong
    is one slow call; then the estimate is up again.

    - A target that nothing is known of costs nothing while it is idle, and is the last resort
      while its first call is under way: one call finds out.
    - A call that says nothing (`took` is None) leaves the estimate where it was when the last one
      said something: to fail, or to be given up, makes no target look faster. If nothing ever did,
      the target counts as slow as the slowest of the others.
    """

    __slots__ = (
        *("_candidates", "_decay", "_in_flight", "_now", "_seconds", "_stamps", "_weights"),
    )

    def __init__(self, members: Sequence[Member], decay: float, draw: Callable[[], float]) -> None:
        self._weights = tuple(member.weight for member in members)
        self._in_flight = [member.in_flight for member in members]
        self._candidates, self._decay = TwoCandidates(self._weights, draw), decay
        self._seconds = [
            member.seconds for member in members
        ]  # what each was at the moment of its stamp
        self._stamps: list[float] = []
        self._now = 0.0  # of the last call of any method

    def pick(self, now: float, skip: Collection[int] = (), key: str | bytes | None = None) -> int:
        """The cheaper one of two."""
        del key
        self._move(now)
        index, other = self._candidates.two(skip)
        if other != index and self._cost(other) * _NOISE < self._cost(index):
            index = other
        self._in_flight[index] += 1
        return index

    def release(self, index: int, now: float, took: float | None = None) -> None:
        """One call fewer for this target, which took so long."""
        self._move(now)
        self._in_flight[index] -= 1
        known = self._seconds[index]
        if took is None:
            known = self._slowest() if known is None else known
        elif known is None or took >= known:
            known = took
        else:
            kept = exp((self._stamps[index] - now) / self._decay)
            known = known * kept + took * (1.0 - kept)
        self._seconds[index], self._stamps[index] = known, now

    def seconds(self, index: int) -> float | None:
        """The estimate, as it is by now."""
        known = self._seconds[index]
        if known is None or not self._stamps:
            return known
        return known * exp((self._stamps[index] - self._now) / self._decay)

    def _cost(self, index: int) -> float:
        seconds, calls = self.seconds(index), self._in_flight[index]
        if seconds is None:
            seconds = _UNHEARD if calls else 0.0
        return seconds * (1.0 + calls / self._weights[index])

    def _slowest(self) -> float | None:
        everyone = map(self.seconds, range(len(self._seconds)))
        return max((each for each in everyone if each is not None), default=None)

    def _move(self, now: float) -> None:
        if not self._stamps:  # estimates that were taken over begin to age with the first call
            self._stamps = [now] * len(self._seconds)
        self._now = now
