"""The exact limit: the time of each call is kept, so that no window ever holds one too many."""

from __future__ import annotations

import math
from collections.abc import Hashable

from escala.limiting.pure.machine import Machine, seconds_until
from escala.limiting.pure.time_log import TimeLog


class Log:
    """The times of a key, and for each limit the number of the first that still counts."""

    __slots__ = ("first", "times")

    def __init__(self, most: int, limits: int) -> None:
        self.times = TimeLog(most)
        self.first = [0] * limits


class SlidingWindowLogMachine(Machine[Log]):
    """A call may pass when fewer than N have in the period that ends now.

    A window holds its start and not its end: a call counts until one period after it. One list
    serves all limits, each of which remembers where in it its period begins.
    """

    def give_back(self, key: Hashable, cost: int, now: float) -> None:
        """Take out the oldest times that count.

        To take out the newest would let their successors count from too early, and a window
        could hold more than N.
        """
        log = self.keys.states.get(key)
        if log is not None:
            for nth in range(len(self.limits)):
                self._roll(nth, log, now)
                log.first[nth] = min(log.times.next, log.first[nth] + cost)

    def forget(self, key: Hashable) -> None:
        """Let no time count any longer."""
        log = self.keys.states.get(key)
        if log is not None:
            log.first = [log.times.next] * len(self.limits)

    def _fresh(self) -> Log:
        return Log(max(limit.burst for limit in self.limits), len(self.limits))

    def _until(self, state: Log) -> float:
        if min(state.first) == state.times.next:
            return -math.inf
        return state.times[state.times.next - 1] + max(limit.period for limit in self.limits)

    def _charge(self, key: Hashable, cost: int, now: float) -> None:
        log = self.keys.states.get(key)
        if log is None:
            log = self._fresh()
            self.keys.add(key, log, now)
        elif min(log.first) == log.times.next:
            log.times.clear()
            log.first = [0] * len(self.limits)
        log.times.append(now, cost)

    def _wait(self, nth: int, state: Log, cost: int, now: float, ahead: int) -> float:
        limit = self.limits[nth]
        self._roll(nth, state, now)
        first, counting = state.first[nth], state.times.next - state.first[nth]
        over = counting + ahead + cost - limit.burst
        if over <= 0:
            return 0.0
        # Each place in the window comes free once a period: those taken in the order they were
        # taken, and then those that the ones ahead take now.
        rounds, place = divmod(over - 1, limit.burst)
        taken = state.times[first + place] if place < counting else now
        return seconds_until(taken + (rounds + 1) * limit.period, now)

    def _standing(self, nth: int, state: Log, now: float) -> tuple[int, float]:
        limit = self.limits[nth]
        self._roll(nth, state, now)
        counting = state.times.next - state.first[nth]
        if not counting:
            return limit.burst, 0.0
        return limit.burst - counting, state.times[state.times.next - 1] + limit.period - now

    def _roll(self, nth: int, log: Log, now: float) -> None:
        """Let go of the times that are a period old; each is let go once."""
        first, period, times = log.first[nth], self.limits[nth].period, log.times
        while first < times.next and times[first] + period <= now:
            first += 1
        log.first[nth] = first
