"""Stop sending what the far side would refuse anyway, by oneself and bit by bit."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self, TypeVar

import msgspec

from escala.errors import Shed
from escala.kernel.at_fork import begin_anew, free
from escala.kernel.config import options
from escala.kernel.policy import Next, Policy, Scope
from escala.kernel.runtime import Runtime
from escala.kernel.units import PositiveDuration
from escala.resilience.breaker_verdict import Verdict, verdict
from escala.resilience.failure_kinds import BY_CHANCE, Failures, failures
from escala.resilience.pure.throttle import ThrottleMachine
from escala.resilience.spelling import spelled
from escala.resilience.user_function import Asker

T = TypeVar("T")


class AdaptiveThrottle(Policy):
    """Refuse here a growing share of calls while the far side refuses many.

    Where a circuit breaker says all or nothing, this lets through about `multiple` times as much
    as the far side serves: it finds out at once that things are well again, and a service that
    can serve half of the load still does. Put it inside the retry, once for each dependency.

    - `multiple`: 2 sends twice what is served. Nearer to 1 sends less in vain, and comes back
      more slowly.
    - `window`: how far back calls are counted, by tenths of it.
    - `on` (code only): errors that mean that the far side refused or is down; by default those
      that `Retry` repeats. Other errors are answers. Refusals by Escala further in, cancelled
      calls, and calls that the deadline around this ended count neither way.
    - `judge` (code only): says of a returned value whether it is a refusal, such as a 503.
    - `rng` (code only): which calls are refused is drawn from it.

    Raises `escala.errors.Shed`.

    >>> throttle = AdaptiveThrottle()
    >>> throttle.call(len, "tea"), throttle.snapshot()
    (3, {'chance': 0.0})
    """

    kind: ClassVar[str] = "adaptive_throttle"

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How much more is sent than is served."""

        multiple: Annotated[float, msgspec.Meta(gt=1, le=1_000_000)] = 2.0
        """How many times as much is sent as the far side serves."""
        window: PositiveDuration = PositiveDuration(30.0)
        """How far back calls are counted."""

    def __init__(
        self,
        *,
        multiple: float = 2.0,
        window: float | str = "30s",
        on: Failures = BY_CHANCE,
        judge: Callable[[Any], bool] | None = None,
        rng: random.Random | None = None,
        name: str = "adaptive_throttle",
    ) -> None:
        self.name = name
        given = {"multiple": multiple, "window": window}
        self.options = options(self.Options, given, where="AdaptiveThrottle")
        asker = Asker("AdaptiveThrottle", name)
        self._on = failures(on, default=BY_CHANCE, asker=asker)
        self._judge = asker.judge(judge)
        self._lock, self._rng = threading.RLock(), rng
        self._begin()
        begin_anew(self, AdaptiveThrottle._forked)

    def _begin(self) -> None:
        self._machine = ThrottleMachine(multiple=self.options.multiple, window=self.options.window)
        self._draw = (self._rng or random.Random()).random
        self._now = 0.0

    def _forked(self) -> None:
        free(self._lock)
        self._begin()

    @classmethod
    def build(cls, options: Options, scope: Scope) -> Self:
        """Make the policy from its options; values are judged as the scope says."""
        given = msgspec.structs.asdict(options)
        return cls(**given, judge=scope.judge, name=scope.label(cls.kind))

    def __repr__(self) -> str:
        on = self._on if self._on != BY_CHANCE else None
        return spelled(self, self.options, name=self.name, on=on, judge=self._judge)

    def snapshot(self) -> dict[str, float]:
        """For metrics: the `chance` that the last call had to be refused here."""
        with self._lock:
            return {"chance": self._machine.chance(self._now)}

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Run the call, or refuse it; see the class."""
        self._now = now = runtime.now()
        with self._lock:
            refused = self._machine.refused(self._draw(), now)
        if refused:
            reason = "the far side refuses most calls, so this one was not sent"
            raise Shed(self.name, reason)
        try:
            result = await call()
            served = self._judge is None or not self._judge(result)
        except Exception as error:
            now = runtime.now()
            said = verdict(error, self._on, now)
            if said is not Verdict.NOTHING:
                self._ended(accepted=said is Verdict.WELL, now=now)
            raise
        self._ended(accepted=served, now=runtime.now())
        return result

    def _ended(self, *, accepted: bool, now: float) -> None:
        with self._lock:
            self._machine.ended(accepted=accepted, now=now)
