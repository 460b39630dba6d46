"""What every algorithm answers: whether a key may have so many tokens now, and if not, when."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Generic, TypeVar

from escala.limiting.decision import Decision
from escala.limiting.plan import Limit
from escala.limiting.pure.key_map import KeyMap

S = TypeVar("S")


class Machine(ABC, Generic[S]):
    """The counts of many keys under one or more limits; a subclass is one algorithm.

    All limits are checked, then all are charged or none. Costs are whole numbers from 1 to the
    smallest burst, and `now` never goes back: the caller sees to both. A subclass says how one
    limit stands for one key's state; a key that is not there has the state `_fresh`. `strict`
    says that no period ever holds more than a limit counts.
    """

    def __init__(self, limits: tuple[Limit, ...], max_keys: int, *, strict: bool = False) -> None:
        self.limits, self.strict = limits, strict
        self._places = range(len(limits))
        self.keys = KeyMap[S](max_keys, self._until)

    def take(self, key: Hashable, cost: int, now: float) -> float:
        """Take tokens: 0.0 if they were there, else seconds until they would be; none are taken."""
        wait = self.wait(key, cost, now)
        if wait == 0.0:
            self._charge(key, cost, now)
        return wait

    def decide(self, key: Hashable, cost: int, now: float) -> Decision:
        """Take tokens if they are there, and say how things stand."""
        waits = self._waits(self._state(key), cost, now, 0)
        if any(waits):
            return self._refusal(self._state(key), waits, now)
        self._charge(key, cost, now)
        return self.granted(key, now)

    def wait(self, key: Hashable, cost: int, now: float, ahead: int = 0) -> float:
        """Seconds until tokens will be there, after `ahead` tokens have gone to others before."""
        return max(self._waits(self._state(key), cost, now, ahead))

    def granted(self, key: Hashable, now: float) -> Decision:
        """How things stand for a caller who may go on."""
        each = self._standings(self._state(key), now)
        nth = 0
        if len(each) > 1:
            nth = min(self._places, key=lambda nth: (each[nth][0], -each[nth][1]))
        return self._decision(nth, each, 0.0, allowed=True)

    def refusal(self, key: Hashable, cost: int, now: float, ahead: int = 0) -> Decision:
        """How things stand for a caller who may not, and when it might."""
        state = self._state(key)
        return self._refusal(state, self._waits(state, cost, now, ahead), now)

    def _refusal(self, state: S, waits: list[float], now: float) -> Decision:
        longest = max(waits)
        nth = waits.index(longest)
        return self._decision(nth, self._standings(state, now), longest, allowed=False)

    def _decision(
        self, nth: int, each: tuple[tuple[int, float], ...], wait: float, *, allowed: bool
    ) -> Decision:
        remaining, reset = each[nth]
        return Decision(
            allowed=allowed,
            limit=self.limits[nth].burst,
            remaining=remaining,
            reset_after=reset,
            retry_after=wait,
            decided_by=nth,
            each=each if len(each) > 1 else (),
        )

    def _waits(self, state: S, cost: int, now: float, ahead: int) -> list[float]:
        return [self._wait(nth, state, cost, now, ahead) for nth in self._places]

    def _standings(self, state: S, now: float) -> tuple[tuple[int, float], ...]:
        return tuple([self._standing(nth, state, now) for nth in self._places])

    def _state(self, key: Hashable) -> S:
        state = self.keys.states.get(key)
        return self._fresh() if state is None else state

    @abstractmethod
    def give_back(self, key: Hashable, cost: int, now: float) -> None:
        """Return tokens that were taken a moment ago; never beyond full."""

    @abstractmethod
    def forget(self, key: Hashable) -> None:
        """Make a key as if it had never come."""

    @abstractmethod
    def _fresh(self) -> S:
        """The state of a key that has taken nothing."""

    @abstractmethod
    def _until(self, state: S) -> float:
        """From which moment on a state says no more than a fresh one."""

    @abstractmethod
    def _charge(self, key: Hashable, cost: int, now: float) -> None:
        """Take tokens that are there from every limit."""

    @abstractmethod
    def _wait(self, nth: int, state: S, cost: int, now: float, ahead: int) -> float:
        """Seconds until one limit grants `cost` after it has granted `ahead`; 0.0 for at once."""

    @abstractmethod
    def _standing(self, nth: int, state: S, now: float) -> tuple[int, float]:
        """How many tokens one limit has left, and in how many seconds it has all of them."""


def seconds_until(moment: float, now: float) -> float:
    """What to add to `now` to be at `moment`; rounding makes it no earlier."""
    left = moment - now
    return left if now + left >= moment else math.nextafter(left, math.inf)
