"""Several buckets a key, all of which must have the tokens: GCRA for each, checked then charged."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Hashable
from typing import TypeVar

from escala.limiting.decision import Decision
from escala.limiting.plan import Limit
from escala.limiting.pure.gcra import SLACK
from escala.limiting.pure.machine import Machine

P = TypeVar("P")


class GcraSeveral(Machine[P]):
    """As `GcraMachine`, with a number for each limit on that limit's token clock.

    A subclass says in which form it keeps the numbers.
    """

    def __init__(self, limits: tuple[Limit, ...], max_keys: int, *, strict: bool = False) -> None:
        super().__init__(limits, max_keys, strict=strict)
        self._rates = [limit.rate for limit in limits]

    def give_back(self, key: Hashable, cost: int, now: float) -> None:  # noqa: ARG002  past is full
        """Make the buckets full that much sooner."""
        state = self.keys.states.get(key)
        if state is not None:
            fulls = self._numbers(state)
            self.keys.states[key] = self._packed([full - cost for full in fulls])

    def forget(self, key: Hashable) -> None:
        """Fill the buckets."""
        if key in self.keys.states:
            self.keys.states[key] = self._fresh()

    @abstractmethod
    def _packed(self, fulls: list[float]) -> P:
        """The numbers as they are kept."""

    @abstractmethod
    def _numbers(self, state: P) -> tuple[float, ...]:
        """The numbers that are kept."""

    def _fresh(self) -> P:
        return self._packed([-math.inf] * len(self.limits))

    def _until(self, state: P) -> float:
        fulls = zip(self._numbers(state), self._rates, strict=True)
        return max([full / rate for full, rate in fulls])

    def _charge(self, key: Hashable, cost: int, now: float) -> None:
        numbers = zip(self._numbers(self._state(key)), self._rates, strict=True)
        state = self._packed([max(full, now * rate) + cost for full, rate in numbers])
        if key in self.keys.states:
            self.keys.states[key] = state
        else:
            self.keys.add(key, state, now)

    def _wait(self, nth: int, state: P, cost: int, now: float, ahead: int) -> float:
        burst = self.limits[nth].burst
        over = self._used(nth, state, now) + ahead + cost - burst
        return over / self._rates[nth] if over > SLACK else 0.0

    def _standing(self, nth: int, state: P, now: float) -> tuple[int, float]:
        used = self._used(nth, state, now)
        return int(self.limits[nth].burst + SLACK - used), used / self._rates[nth]

    def _used(self, nth: int, state: P, now: float) -> float:
        return max(0.0, self._numbers(state)[nth] - now * self._rates[nth])


class GcraMachines(GcraSeveral[tuple[float, ...]]):
    """Any number of buckets for each key."""

    def _packed(self, fulls: list[float]) -> tuple[float, ...]:
        return tuple(fulls)

    def _numbers(self, state: tuple[float, ...]) -> tuple[float, ...]:
        return state


class GcraPairMachine(GcraSeveral[complex]):
    """Two buckets for each key, as most have: a complex number is two floats in one object."""

    def __init__(self, limits: tuple[Limit, ...], max_keys: int, *, strict: bool = False) -> None:
        super().__init__(limits, max_keys, strict=strict)
        first, second = limits
        self._first = first.rate, first.burst + SLACK, first.burst
        self._second = second.rate, second.burst + SLACK, second.burst
        self._states = self.keys.states

    def take(self, key: Hashable, cost: int, now: float) -> float:
        """As `Machine.take`, in fewer steps."""
        return 0.0 if self._taken(key, cost, now) else self.wait(key, cost, now)

    def decide(self, key: Hashable, cost: int, now: float) -> Decision:
        """As `Machine.decide`, in fewer steps."""
        used = self._taken(key, cost, now)
        if used is None:
            return self.refusal(key, cost, now)
        rate, most, burst = self._first
        rate2, most2, burst2 = self._second
        left, left2 = int(most - used[0]), int(most2 - used[1])
        reset, reset2 = used[0] / rate, used[1] / rate2
        second = left2 < left or (left2 == left and reset2 > reset)
        return Decision(
            allowed=True,
            limit=burst2 if second else burst,
            remaining=left2 if second else left,
            reset_after=reset2 if second else reset,
            retry_after=0.0,
            decided_by=1 if second else 0,
            each=((left, reset), (left2, reset2)),
        )

    def _taken(self, key: Hashable, cost: int, now: float) -> tuple[float, float] | None:
        """How much of each bucket is used now that the tokens are taken, if they were there."""
        rate, most, _ = self._first
        rate2, most2, _ = self._second
        clock, clock2 = now * rate, now * rate2
        state = self._states.get(key)
        if state is None:
            self.keys.add(key, complex(clock + cost, clock2 + cost), now)
            return float(cost), float(cost)
        full, full2 = state.real, state.imag
        if full < clock:  # noqa: PLR1730  in a third of the time
            full = clock
        if full2 < clock2:  # noqa: PLR1730
            full2 = clock2
        full += cost
        full2 += cost
        used = full - clock, full2 - clock2
        if used[0] > most or used[1] > most2:
            return None
        self._states[key] = complex(full, full2)
        return used

    def _packed(self, fulls: list[float]) -> complex:
        return complex(*fulls)

    def _numbers(self, state: complex) -> tuple[float, ...]:
        return state.real, state.imag
