"""What `Timeout` and `Deadline` share: a moment that everything inside has to be done by."""

from __future__ import annotations

from contextvars import Token
from typing import ClassVar, Self, TypeAlias, TypeVar

import msgspec

from escala.errors import DeadlineExceeded
from escala.kernel.config import options
from escala.kernel.context import deadline_variable, remaining, restore
from escala.kernel.guard import Guard, in_steps
from escala.kernel.policy import Next, Scope
from escala.kernel.runtime import TOO_LATE, Runtime
from escala.kernel.units import PositiveDuration
from escala.resilience.spelling import spelled

T = TypeVar("T")
Limit: TypeAlias = tuple[float, Token[float] | None]  # until when, and what was before

EARLY = 0.002  # timers that count in whole milliseconds (uvloop's) fire up to this much too soon


def time_is_up(now: float) -> bool:
    """Whether the deadline around the current call has come, so that no more can be tried."""
    return remaining(now) <= EARLY


class TimeLimit(Guard[Limit]):
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

    def enter(self, runtime: Runtime) -> Limit:
        """Begin the clock, and tell those inside; see the class."""
        now, outer = runtime.now(), deadline_variable.get()
        until = now + self._after
        if until < outer:
            return until, deadline_variable.set(until)
        if now >= outer:
            raise DeadlineExceeded(self._outer) from DeadlineExceeded(TOO_LATE)
        return outer, None

    def passed(self, permit: Limit, answer: object, runtime: Runtime) -> None:  # noqa: ARG002
        """The deadline is again what it was."""
        restore(permit[1])

    def failed(self, permit: Limit, error: BaseException, runtime: Runtime) -> None:
        """The same, and say whose time it was that is over."""
        until, before = permit
        restore(before)
        if isinstance(error, DeadlineExceeded):
            self._say(self._outer if before is None else self._own, error, until, runtime.now())

    @in_steps
    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Run the call against the clock, which can end it in async code only."""
        permit = self.enter(runtime)
        try:
            # A nearer limit around this one says so when it is over, but may not be watching: a
            # task inherits the deadline of the one that started it, and not its timer.
            answer = await runtime.timed(call(), permit[0])
        except BaseException as error:
            self.failed(permit, error, runtime)
            raise
        restore(permit[1])  # what `passed` does
        return answer

    def _say(self, message: str, error: DeadlineExceeded, until: float, now: float) -> None:
        if now < until - EARLY:
            return  # a limit further in; this one has time left
        mine = DeadlineExceeded(message)
        for note in getattr(error, "__notes__", ()):
            mine.add_note(note)  # how often a retry inside has tried, for one
        raise mine from error.__cause__ or error
