"""How many calls at once a dependency bears, found out from how long they take."""

from __future__ import annotations

import math
from typing import Protocol

from escala.resilience.pure.latency_round import LatencyRound

TOLERANCE = 1.2  # a latency of so many times the quiet one is still taken for quiet
FIRST, ANEW = 10, 300  # busy rounds until the quiet latency is measured anew


class Rule(Protocol):
    """What a limit becomes after a round."""

    def after(self, limit: float, seen: LatencyRound) -> float:
        """The next limit, before it is brought into its bounds."""
        ...


class Gradient:
    """Follows the ratio of the latency without a queue to the latency now.

    The limit moves half of the way to `limit * gradient + sqrt(limit)`. The gradient is 1 while
    the mean latency is at most 1.2 times the quiet one, and falls to 0.5 with it; the root is the
    queue that is allowed, and what lets the limit grow. A steady limit of n is so many that
    latency is 1.2 / (1 - 1 / sqrt(n)) times the quiet one.

    Quiet is the mean of the first round, and is measured anew after 10 busy rounds, then after
    20, 40, and so on up to 300: the limit is halved, and halved again while that makes calls
    faster by more than the tolerance, since then there still was a queue. The least latency ever
    seen would be no measure: where latency varies, the least mean of many is far below the usual.

    A round that used less than half of the limit says nothing about it. One in which calls were
    dropped takes a tenth off. After Netflix's gradient limit (concurrency-limits, 2018), whose
    idea is TCP Vegas's (L. Brakmo, S. O'Malley and L. Peterson, 1994).
    """

    __slots__ = ("_before", "_busy_rounds", "_draining", "_due", "_quiet", "_resume")

    def __init__(self) -> None:
        self._quiet: float | None = None
        self._due, self._busy_rounds = FIRST, 0
        self._resume: float | None = None  # while measuring: the limit to go back to
        self._before = 0.0  # while measuring: the latency at twice the limit
        self._draining = False  # while measuring: this round still sees the old queue

    def after(self, limit: float, seen: LatencyRound) -> float:
        """The next limit."""
        if self._resume is not None:
            return self._measured(limit, seen, self._resume)
        if seen.dropped:
            return limit * 0.9
        if self._quiet is None:
            self._quiet = seen.latency
        if seen.busiest * 2 < limit:
            return limit
        self._busy_rounds += 1
        if self._busy_rounds == self._due:
            self._due = min(ANEW, 2 * self._due)
            self._busy_rounds, self._resume = 0, limit
            return self._halved(limit, seen.latency)
        slow = seen.latency / (TOLERANCE * self._quiet) if self._quiet else 1.0
        gradient = max(0.5, min(1.0, 1 / slow)) if slow else 1.0
        return (limit + limit * gradient + math.sqrt(limit)) / 2

    def _measured(self, limit: float, seen: LatencyRound, resume: float) -> float:
        if self._draining:
            self._draining = False
            return limit
        if seen.answered:
            if seen.latency * TOLERANCE < self._before and limit >= 2:  # noqa: PLR2004  half of it is one
                return self._halved(limit, seen.latency)
            self._quiet = seen.latency
        self._resume = None
        return resume

    def _halved(self, limit: float, latency: float) -> float:
        self._before, self._draining = latency, True
        return limit / 2


class Aimd:
    """Grows by one after a round that went well, and loses a tenth after one that did not.

    A round goes badly when a call was dropped, or when its mean latency is above `target`
    seconds. One that used less than half of the limit does not make it grow. Additive increase,
    multiplicative decrease is what keeps many such callers fair to each other (D.-M. Chiu and
    R. Jain, 1989).
    """

    __slots__ = ("_target",)

    def __init__(self, target: float) -> None:
        self._target = target

    def after(self, limit: float, seen: LatencyRound) -> float:
        """The next limit."""
        if seen.dropped or seen.latency > self._target:
            return limit * 0.9
        return limit + 1 if seen.busiest * 2 >= limit else limit


class AdaptiveMachine:
    """A limit from `least` to `most` that a rule moves after each round of calls."""

    __slots__ = ("_least", "_most", "_round", "_rule", "_value")

    def __init__(self, rule: Rule, *, initial: int, least: int, most: int) -> None:
        self._rule, self._least, self._most = rule, float(least), float(most)
        self._value = float(initial)
        self._round = LatencyRound()

    @property
    def limit(self) -> int:
        """How many calls may run at once, now."""
        return int(self._value)

    def ended(self, seconds: float | None, busy: int, now: float) -> bool:
        """A call was answered after `seconds`, or lost to overload (None); whether `limit` moved.

        `busy` were inside when it ended, itself too.
        """
        if not self._round.count(seconds, busy, now):
            return False
        before = self.limit
        after = self._rule.after(self._value, self._round)
        self._value = max(self._least, min(self._most, after))
        self._round.begin(now)
        return self.limit != before
