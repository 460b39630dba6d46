"""Two counts instead of a list: the last window counts for as much of it as is still in sight."""

from __future__ import annotations

import math
from collections.abc import Hashable

from escala.limiting.pure.machine import Machine, seconds_until

_SLACK = 1e-6  # of a call; what the rounding of floats may cost is not refused


class Counts:
    """How much passed in the current window, numbered from time zero, and in the one before."""

    __slots__ = ("before", "current", "number")

    def __init__(self) -> None:
        self.number: float = -math.inf
        self.before, self.current = 0, 0

    @property
    def all(self) -> tuple[float, int, int]:
        """The window's number, what passed before it, and in it."""
        return self.number, self.before, self.current


class SlidingWindowCounterMachine(Machine[tuple[Counts, ...]]):
    """Takes it that what passed in the window before passed evenly.

    At a share f of the current window, `before * (1 - f) + current` is the estimate of what
    passed in the last period.
    """

    def give_back(self, key: Hashable, cost: int, now: float) -> None:
        """Take it from the current window, and what that does not have from the one before."""
        for counts, limit in zip(self.keys.states.get(key, ()), self.limits, strict=False):
            number, before, current = self._seen(counts, limit.period, now)
            here = min(current, cost)
            counts.number, counts.current = number, current - here
            counts.before = max(0, before - (cost - here))

    def forget(self, key: Hashable) -> None:
        """Empty both windows."""
        for counts in self.keys.states.get(key, ()):
            counts.before = counts.current = 0

    def _fresh(self) -> tuple[Counts, ...]:
        return tuple([Counts() for _ in self.limits])

    def _until(self, state: tuple[Counts, ...]) -> float:
        pairs = zip(state, self.limits, strict=True)
        return max([_empty_from(*counts.all) * limit.period for counts, limit in pairs])

    def _charge(self, key: Hashable, cost: int, now: float) -> None:
        state = self._state(key)
        for counts, limit in zip(state, self.limits, strict=True):
            counts.number, counts.before, counts.current = self._seen(counts, limit.period, now)
            counts.current += cost
        if key not in self.keys.states:
            self.keys.add(key, state, now)

    def _wait(
        self, nth: int, state: tuple[Counts, ...], cost: int, now: float, ahead: int
    ) -> float:
        period, most = self.limits[nth].period, self.limits[nth].burst
        number, before, current = self._seen(state[nth], period, now)
        passed = now / period - number
        if before * (1 - passed) + current + ahead + cost <= most + _SLACK:
            return 0.0
        if current + ahead + cost <= most:
            windows = 1 - (most - current - ahead - cost) / before
        elif not ahead:
            windows = 2 - (most - cost) / current
        else:  # about: those ahead fill the window, and from then on it is an even stream
            windows = 1 + (current + ahead + cost - most) / most
        return seconds_until((number + windows) * period, now)

    def _standing(self, nth: int, state: tuple[Counts, ...], now: float) -> tuple[int, float]:
        period, most = self.limits[nth].period, self.limits[nth].burst
        number, before, current = self._seen(state[nth], period, now)
        used = before * (1 - (now / period - number)) + current
        empty = _empty_from(number, before, current) * period
        return int(most + _SLACK - used), max(0.0, empty - now)

    def _seen(self, counts: Counts, period: float, now: float) -> tuple[float, int, int]:
        """The counts as they are in the window that `now` is in."""
        number = math.floor(now / period)
        if number <= counts.number:
            return counts.all
        return number, counts.current if number == counts.number + 1 else 0, 0


def _empty_from(number: float, before: int, current: int) -> float:
    """The number of the first window in which nothing of this counts."""
    if current:
        return number + 2
    return number + 1 if before else -math.inf
