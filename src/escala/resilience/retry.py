"""Try again what failed by chance, without becoming the storm that keeps it failing."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, ClassVar, NamedTuple, Self, TypeVar

import msgspec

from escala.errors import ConfigError, Rejected, WouldBlock
from escala.kernel.at_fork import begin_anew
from escala.kernel.config import options
from escala.kernel.context import current, deadline
from escala.kernel.events import publish
from escala.kernel.policy import Next, Policy, Scope
from escala.kernel.runtime import Runtime
from escala.kernel.units import Duration, Share
from escala.resilience.attempt_note import leave_note
from escala.resilience.bare_decorator import refuse_bare
from escala.resilience.events import Retried, RetryGaveUp
from escala.resilience.failure_kinds import BY_CHANCE, Failures, failures, matches
from escala.resilience.pure.backoff import Backoff, Bound, GiveUp, Growth, Jitter
from escala.resilience.repeatable import may_repeat
from escala.resilience.retry_budget import RetryBudget
from escala.resilience.spelling import spelled
from escala.resilience.time_limit import EARLY
from escala.resilience.user_function import Asker, number

T = TypeVar("T")

_NEVER = (Rejected, WouldBlock)
_GROWS_BY_ITSELF = "expected no backoff beside decorrelated jitter, which grows by itself; found {}"
_TICK = 0.001
_NEVER_AGAIN = 3e9  # a century; operating systems refuse to sleep a few times longer


class Retry(Policy):
    """Repeat a call that failed, after a random and growing wait, while there is time and budget.

    - `attempts`: how many tries in all.
    - `base`, `cap`: before try n + 1 it waits from 0 to min(cap, base * 2 ** (n - 1)) seconds,
      drawn evenly ("full jitter"), so that callers that failed together do not return together.
    - `backoff`: how that bound grows: "exponential", "linear" (base * n), "constant", or in code
      a function of n that returns seconds; `cap` holds for it as well.
    - `jitter`: "full", "equal" (from half the bound to the bound), "decorrelated" (from base to
      three times the wait before) or "none" (the bound itself).
    - `budget`: the share of recent calls that may be retries, beyond three at once; or a
      `RetryBudget` that several policies share; or None for no limit.
    - `unsafe`: repeat also what is not idempotent. Without it, a call on behalf of a `Request`
      that says `idempotent=False` is made once. A plain call, with no request, is repeated: who
      decorates a function knows whether it may run twice.

    Arguments for code only:

    - `on`: which exceptions are worth another try: a class, a tuple of them, or a function of the
      error. The default is what fails by chance: `ConnectionError`, `TimeoutError` (so also an
      inner `Timeout`) and `Unavailable`.
    - `judge`: says of a returned value whether it is a failure. The last one is returned as it
      is; one that is dropped for another try goes to `discard`.
    - `hint`: seconds to stay away that a failing value or error asks for (`Retry-After`); an
      error's own number `retry_after` is read anyway. The wait is never shorter than that, and
      when it reaches beyond the deadline the call fails at once. `escala.resilience.retry_after`
      reads the field of an HTTP answer.
    - `rng`: where the jitter comes from; give a seeded one to repeat a run.

    One of these that fails, or makes no sense, is as if it had not been given: `FunctionFailed`.

    What is raised in the end is the last error itself, with a note on the attempts. A refusal by
    Escala (`Rejected`) is never repeated, nor is anything when the deadline around the call is
    over. `RetryGaveUp` and `Retried` events tell what happened; `notes["attempts"]` of the
    current request counts.

    >>> retry = Retry(attempts=4, on=(ConnectionError,))
    >>> retry.call(len, "tea")
    3
    """

    kind: ClassVar[str] = "retry"
    shorthand: ClassVar[str | None] = "attempts"
    repeats = True

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How often, how long in between, and how much of it."""

        attempts: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 3
        """How many tries in all."""
        base: Duration = Duration(0.1)
        """The longest wait before the second try; it doubles with each further one."""
        cap: Duration = Duration(5.0)
        """The longest wait before any try."""
        backoff: Growth = "exponential"
        """How the longest wait grows from try to try."""
        jitter: Jitter = "full"
        """What part of the longest wait is left to chance."""
        budget: Share | None = Share("20%")
        """The share of recent calls that may be retries, beyond three at once."""
        unsafe: bool = False
        """Repeat also what is not idempotent, such as POST."""

        def __post_init__(self) -> None:
            if self.jitter == "decorrelated" and self.backoff != "exponential":
                raise ValueError(_GROWS_BY_ITSELF.format(self.backoff))

    def __init__(
        self,
        attempts: int = 3,
        *,
        base: float | str = 0.1,
        cap: float | str = 5.0,
        backoff: Growth | Bound = "exponential",
        jitter: Jitter = "full",
        budget: float | str | RetryBudget | None = "20%",
        unsafe: bool = False,
        on: Failures = BY_CHANCE,
        judge: Callable[[Any], bool] | None = None,
        hint: Callable[[Any], float | None] | None = None,
        discard: Callable[[Any], None] | None = None,
        rng: random.Random | None = None,
        name: str = "retry",
    ) -> None:
        refuse_bare("Retry", attempts)
        self.name = name
        shared = budget if isinstance(budget, RetryBudget) else None
        given = {
            "attempts": attempts,
            "base": base,
            "cap": cap,
            "backoff": "exponential" if callable(backoff) else backoff,
            "jitter": jitter,
            "budget": shared.options.share if shared else budget,
            "unsafe": unsafe,
        }
        self.options = options(self.Options, given, where="Retry")
        share = self.options.budget
        self.budget = shared or (None if share is None else RetryBudget(share))
        self._shared = shared
        self._own_bound = backoff if callable(backoff) else None
        if self._own_bound is not None and jitter == "decorrelated":
            name = getattr(backoff, "__qualname__", None) or repr(backoff)
            raise ConfigError(f"Retry: {_GROWS_BY_ITSELF.format(name)}")
        asker = Asker("Retry", self.name)
        make = partial(
            Backoff,
            attempts=attempts,
            base=self.options.base,
            cap=self.options.cap,
            jitter=jitter,
        )
        if callable(backoff):
            backoff = asker.asking(backoff, "backoff", reads=_bound, instead=make().ceiling)
        self._backoff = make(growth=backoff)
        self._on = _checked(on, asker)
        self._caught = self._on if isinstance(self._on, tuple) else (Exception,)
        self._judge, self._discard = asker.judge(judge), asker.discard(discard)
        self._hint: Callable[[Any], float | None] | None = None
        if hint is not None:
            self._hint = asker.asking(hint, "hint", reads=_hinted, instead=_own_wait)
        self._rng = rng
        self._begin()
        begin_anew(self, Retry._begin)

    def _begin(self) -> None:
        # Of its own in each forked child, or all of them would wait the same "random" times.
        self._draw = (self._rng or random.Random()).random

    @classmethod
    def build(cls, options: Options, scope: Scope) -> Self:
        """Make the policy from its options; values are judged as the scope says."""
        return cls(
            options.attempts,
            base=options.base,
            cap=options.cap,
            backoff=options.backoff,
            jitter=options.jitter,
            budget=options.budget,
            unsafe=options.unsafe,
            judge=scope.judge,
            hint=scope.hint,
            discard=scope.discard,
            name=scope.label(cls.kind),
        )

    def __repr__(self) -> str:
        code = {
            "backoff": self._own_bound,
            "budget": self._shared,
            "on": self._on if self._on != BY_CHANCE else None,
            "judge": self._judge,
            "hint": self._hint,
            "discard": self._discard,
        }
        return spelled(self, self.options, name=self.name, **code)

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Run the call until it succeeds or there is a reason to stop; see the class."""
        request = current.get()
        began = runtime.now()
        if self.budget is not None:
            self.budget.call(began)
        attempt, wait = 1, _NO_WAIT
        while True:
            if request is not None:
                request.notes["attempts"] = str(attempt)
            try:
                if attempt == 1:
                    result = await call()
                else:
                    result = await self._repeat(call, runtime, wait)
            except self._caught as error:
                plan = self._plan(error, attempt, began, runtime.now(), wait.drawn)
                if plan is None:
                    raise
            else:
                if self._judge is None or not self._judge(result):
                    return result
                plan = self._plan(result, attempt, began, runtime.now(), wait.drawn)
                if plan is None:
                    return result
            attempt, wait = attempt + 1, plan

    def _plan(
        self, failure: object, attempt: int, began: float, now: float, before: float
    ) -> _Wait | None:
        """Whether and when to try again; tells listeners, and the error itself when it is not."""
        error = failure if isinstance(failure, Exception) else None
        if error is not None and (isinstance(error, _NEVER) or not matches(error, self._on)):
            return None
        hint = self._asked_for(failure)
        plan: float | GiveUp = GiveUp.UNSAFE
        drawn = 0.0
        if may_repeat(current.get(), unsafe=self.options.unsafe):
            until = deadline() - EARLY
            drawn = self._backoff.wait(attempt, draw=self._draw(), before=before)
            plan = self._backoff.after(attempt, now=now, until=until, wait=drawn, hint=hint)
        if isinstance(plan, float) and self.budget is not None and not self.budget.take(now):
            plan = GiveUp.BUDGET
        if isinstance(plan, GiveUp):
            publish(RetryGaveUp(name=self.name, at=now, attempts=attempt, reason=plan))
            if error is not None:
                leave_note(error, self.name, plan, attempt, now - began)
            return None
        cause = "result" if error is None else type(error).__name__
        publish(Retried(name=self.name, at=now, attempt=attempt, delay=plan, cause=cause))
        not_before = -math.inf if hint is None else now + hint
        return _Wait(plan, drawn, not_before, failure if error is None else _NOTHING)

    def _asked_for(self, failure: object) -> float | None:
        seconds = None if self._hint is None else self._hint(failure)
        if seconds is None:
            seconds = _own_wait(failure)
        if seconds is None:
            return None
        return max(0.0, float(seconds)) if seconds < _NEVER_AGAIN else math.inf

    async def _repeat(self, call: Next[T], runtime: Runtime, wait: _Wait) -> T:
        try:
            if self._discard is not None and wait.dropped is not _NOTHING:
                self._discard(wait.dropped)
            await runtime.sleep(wait.delay)
            while runtime.now() < wait.not_before:  # a timer fired a little too soon
                await runtime.sleep(_TICK)
            return await call()
        finally:
            if self.budget is not None:
                self.budget.give_back()


class _Wait(NamedTuple):
    delay: float
    drawn: float  # our own part of it
    not_before: float  # what the failure asked for
    dropped: object  # a failing value that no one will read


_NOTHING = object()
_NO_WAIT = _Wait(0.0, 0.0, -math.inf, _NOTHING)


def _checked(on: Failures, asker: Asker) -> Failures:
    kinds = failures(on, default=BY_CHANCE, asker=asker)
    for kind in kinds if isinstance(kinds, tuple) else ():
        if issubclass(kind, _NEVER):
            raise ConfigError(
                f"Retry: on: {kind.__name__} is a refusal by Escala, which Retry never repeats; "
                "catch it outside, and read its retry_after"
            )
    return kinds


def _bound(said: object) -> float:
    seconds = number(said)
    if seconds < 0:
        raise ValueError(f"expected seconds from 0 on, found {seconds}")
    return seconds


def _hinted(said: object) -> float | None:
    return None if said is None else number(said)


def _own_wait(failure: object) -> float | None:
    """What an error says by itself; another library's `retry_after` may be anything."""
    if isinstance(failure, Exception):
        with contextlib.suppress(Exception):
            return number(getattr(failure, "retry_after", None))
    return None
