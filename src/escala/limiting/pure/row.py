"""One key's counts as a row of numbers, for stores that read a row, decide and write it back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from escala.errors import ConfigError
from escala.limiting.decision import Decision
from escala.limiting.plan import Plan
from escala.limiting.pure.fixed_window import FixedWindowMachine, Window
from escala.limiting.pure.gcra_several import GcraSeveral
from escala.limiting.pure.machine import Machine
from escala.limiting.pure.sliding_window_counter import Counts, SlidingWindowCounterMachine

_KEY = ""


class _Buckets(GcraSeveral[tuple[float, ...]]):
    """GCRA for any number of limits, one number each; a place reserved ahead leaves no tokens."""

    def _packed(self, fulls: list[float]) -> tuple[float, ...]:
        return tuple(fulls)

    def _numbers(self, state: tuple[float, ...]) -> tuple[float, ...]:
        return state

    def _standing(self, nth: int, state: tuple[float, ...], now: float) -> tuple[int, float]:
        remaining, reset = super()._standing(nth, state, now)
        return max(0, remaining), reset


class _Form(NamedTuple):
    """How the state of one limit is written as numbers."""

    machine: type[Machine[Any]]
    fresh: tuple[float, ...]
    read: Callable[[Sequence[float]], Any]
    write: Callable[[Any], tuple[float, ...]]


def _window(numbers: Sequence[float]) -> Window:
    window = Window()
    window.end, window.used = numbers[0], int(numbers[1])
    return window


def _counts(numbers: Sequence[float]) -> Counts:
    counts = Counts()
    counts.number, counts.before, counts.current = numbers[0], int(numbers[1]), int(numbers[2])
    return counts


_BUCKETS = _Form(_Buckets, (-math.inf,), lambda numbers: numbers[0], lambda full: (full,))
_FORMS = {
    "token_bucket": _BUCKETS,
    "leaky_bucket": _BUCKETS,
    "fixed_window": _Form(
        FixedWindowMachine, (-math.inf, 0), _window, lambda window: (window.end, window.used)
    ),
    "sliding_window_counter": _Form(
        SlidingWindowCounterMachine,
        (-math.inf, 0, 0),
        _counts,
        lambda counts: (counts.number, counts.before, counts.current),
    ),
}


class RowForm:
    """How a plan's counts for one key are written in a row.

    Raises `ConfigError` for an algorithm whose state is no short row.
    """

    def __init__(self, plan: Plan, store: str) -> None:
        form = _FORMS.get(plan.algorithm)
        if form is None:
            raise ConfigError(
                f"{plan.name}: store: {plan.algorithm} keeps the time of each call, and {store} "
                f"would write all of them anew at each; expected one of {', '.join(_FORMS)}, or "
                "a store such as 'redis://localhost:6379'"
            )
        self._plan, self._form = plan, form
        self.width = len(form.fresh)
        self.fresh = form.fresh * len(plan.limits)
        # Only a bucket can be charged ahead of time without that opening the next window now.
        self.reserves = form is _BUCKETS and not plan.strict

    def row(self, numbers: Sequence[float]) -> Row:
        """The row with these numbers."""
        machine = self._form.machine(self._plan.limits, 1, strict=self._plan.strict)
        return Row(self, self._form, machine, numbers)


class Row:
    """One key's numbers, and the decisions on them by the machine that decides in memory."""

    def __init__(
        self, shape: RowForm, form: _Form, machine: Machine[Any], numbers: Sequence[float]
    ) -> None:
        self._shape, self._form, self._machine = shape, form, machine
        width = shape.width
        machine.keys.states[_KEY] = tuple(
            [form.read(numbers[place : place + width]) for place in range(0, len(numbers), width)]
        )

    @property
    def numbers(self) -> tuple[float, ...]:
        """As they are now."""
        state, write = self._machine.keys.states[_KEY], self._form.write
        return tuple([number for each in state for number in write(each)])

    def take(self, cost: int, now: float, wait: float) -> tuple[Decision, float]:
        """Charge the key now, or for a moment up to `wait` seconds ahead, which is answered too."""
        ahead = self._machine.wait(_KEY, cost, now)
        if ahead and not (self._shape.reserves and ahead <= wait):
            return self.refused(cost, now), 0.0
        self._machine.take(_KEY, cost, now + ahead)
        return self.granted(now + ahead), ahead

    def granted(self, now: float) -> Decision:
        """How things stand after a charge."""
        return self._machine.granted(_KEY, now)

    def refused(self, cost: int, now: float) -> Decision:
        """How things stand for who was not charged."""
        return self._machine.refusal(_KEY, cost, now)

    def peek(self, now: float) -> Decision:
        """How a call of cost 1 would fare."""
        return self.refused(1, now) if self._machine.wait(_KEY, 1, now) else self.granted(now)

    def give_back(self, cost: int, now: float) -> None:
        """Return what was taken and not used."""
        self._machine.give_back(_KEY, cost, now)


def prefix(plan: Plan) -> str:
    """What a plan's keys begin with: a limiter whose limits were changed begins anew."""
    what = repr((plan.algorithm, plan.strict, [(each.burst, each.rate) for each in plan.limits]))
    return f"{plan.name}:{sha256(what.encode()).hexdigest()[:8]}:"
