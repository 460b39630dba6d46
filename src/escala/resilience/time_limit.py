"""What `Timeout` and `Deadline` share: a moment that everything inside has to be done by."""

from __future__ import annotations

from typing import ClassVar, Self, TypeVar

import msgspec

from escala.errors import DeadlineExceeded
from escala.kernel.config import options
from escala.kernel.context import deadline_variable, remaining, restore
from escala.kernel.policy import Next, Policy, Scope
from escala.kernel.runtime import Runtime
from escala.kernel.units import PositiveDuration
from escala.resilience.spelling import spelled

T = TypeVar("T")

EARLY = 0.002  # timers that count in whole milliseconds (uvloop's) fire up to this much too soon


def time_is_up(now: float) -> bool:
    """Whether the deadline around the current call has come, so that no more can be tried."""
    return remaining(now) <= EARLY


class TimeLimit(Policy):
    """A policy that gives the call until a moment, and less if the call around it has less."""

    shorthand: ClassVar[str | None] = "after"
    told: ClassVar[str] = "the call took longer than {}; give it more time"

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How long."""

        after: PositiveDuration
        """How much time there is."""

    def __init__(self, after: float | str, *, name: str) -> None:
        self.name = name
        self.options = options(self.Options, {"after": after}, where=type(self).__name__)
        self._after = float(self.options.after)
        text = self.options.after.text
        self._own = f"{name}: {self.told.format(text)}"
        self._outer = (
            f"{name}: the deadline around the call came before its own limit of {text}; "
            "give the whole call more time"
        )

    @classmethod
    def build(cls, options: Options, scope: Scope) -> Self:
        """Make the policy from its options."""
        return cls(options.after, name=scope.label(cls.kind))

    def __repr__(self) -> str:
        return spelled(self, self.options, name=self.name)

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Run the call against the clock; see the class."""
        until, outer = runtime.now() + self._after, deadline_variable.get()
        if outer <= until:
            return await self._within(outer, call, runtime)
        before = deadline_variable.set(until)
        try:
            return await runtime.timed(call(), until)
        except DeadlineExceeded as error:
            self._say(self._own, error, until, runtime.now())
            raise
        finally:
            restore(before)

    async def _within(self, outer: float, call: Next[T], runtime: Runtime) -> T:
        """Run the call under a nearer limit around it.

        Whoever set that one says so when it is over, but may not be watching: a task inherits
        the deadline of the one that started it, and not its timer.
        """
        try:
            return await runtime.race(call, outer)
        except DeadlineExceeded as error:
            self._say(self._outer, error, outer, runtime.now())
            raise

    def _say(self, message: str, error: DeadlineExceeded, until: float, now: float) -> None:
        if now < until - EARLY:
            return  # a limit further in; this one has time left
        mine = DeadlineExceeded(message)
        for note in getattr(error, "__notes__", ()):
            mine.add_note(note)  # how often a retry inside has tried, for one
        raise mine from error.__cause__ or error
