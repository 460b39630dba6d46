"""Stop calling a dependency that fails, answer at once instead, and find out when it is back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self, TypeVar

import msgspec

from escala.errors import CircuitOpen, DeadlineExceeded, Rejected, WouldBlock
from escala.kernel.config import options
from escala.kernel.events import publish
from escala.kernel.policy import Next, Policy, Scope
from escala.kernel.runtime import Runtime
from escala.kernel.units import PositiveDuration, PositiveShare
from escala.resilience.events import BreakerChanged
from escala.resilience.failure_kinds import Kinds, failure_kinds
from escala.resilience.pure.breaker import REFUSED, BreakerMachine, BreakerState, Change
from escala.resilience.spelling import spelled
from escala.resilience.time_limit import time_is_up

T = TypeVar("T")

_EVERY_ERROR = (Exception,)
_NOT_ITS_FAULT = (Rejected, WouldBlock)


class CircuitBreaker(Policy):
    """Refuse calls at once while most of them fail, and let a few probes find out when to resume.

    - `failure_rate`: opens when this share of the calls in the last `window` failed and they
      were at least `minimum_calls`. Calls are counted by tenths of the window: one counts for at
      least 0.9 and at most 1.0 times `window`, in constant memory.
    - `cooldown`: how long it stays open. `CircuitOpen.retry_after` says how much is left.
    - `probes`: then so many calls may pass; when all of them succeed it closes, when one fails it
      opens again. No others pass meanwhile, however many come.
    - `probe_lease`: when all probes are out and none has come back for so long (a thread that
      was killed, a call that never ends), new ones are given out.

    Arguments for code only:

    - `on`: which exceptions count as failures; all by default. Others count as success, since
      the dependency did answer.
    - `judge`: says of a returned value whether it is a failure.

    What says nothing about the dependency counts neither way: a cancelled call (its probe permit
    goes back), a refusal by another policy further in, and a call that the deadline around the
    breaker ended. So put a `Timeout` inside, or a dependency that hangs is never counted. A
    result that comes after the state has changed changes nothing.

    Raises `CircuitOpen`. `BreakerChanged` events tell each step.

    >>> breaker = CircuitBreaker(failure_rate="25%", minimum_calls=100)
    >>> breaker.call(len, "tea"), breaker.state.value
    (3, 'closed')
    """

    kind: ClassVar[str] = "circuit_breaker"

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """When to open, for how long, and how to find out that things are well again."""

        failure_rate: PositiveShare = PositiveShare("50%")
        """The share of failed calls that opens it."""
        window: PositiveDuration = PositiveDuration(10.0)
        """How far back calls are counted."""
        minimum_calls: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 20
        """So many calls must be in the window before the rate means anything."""
        cooldown: PositiveDuration = PositiveDuration(5.0)
        """How long it refuses every call before it probes."""
        probes: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
        """How many calls pass then, all of which must succeed."""
        probe_lease: PositiveDuration = PositiveDuration(30.0)
        """How long it waits for probes that do not come back."""

    def __init__(
        self,
        *,
        failure_rate: float | str = "50%",
        window: float | str = "10s",
        minimum_calls: int = 20,
        cooldown: float | str = "5s",
        probes: int = 1,
        probe_lease: float | str = "30s",
        on: Kinds = _EVERY_ERROR,
        judge: Callable[[Any], bool] | None = None,
        name: str = "circuit_breaker",
    ) -> None:
        self.name = name
        given = {
            "failure_rate": failure_rate,
            "window": window,
            "minimum_calls": minimum_calls,
            "cooldown": cooldown,
            "probes": probes,
            "probe_lease": probe_lease,
        }
        self.options = options(self.Options, given, where="CircuitBreaker")
        self._on, self._judge = failure_kinds(on, where="CircuitBreaker"), judge
        self._machine = BreakerMachine(**msgspec.structs.asdict(self.options))
        # Reentrant: the garbage collector may close an abandoned call, which gives its permit
        # back, in the middle of this thread's own turn.
        self._lock = threading.RLock()

    @classmethod
    def build(cls, options: Options, scope: Scope) -> Self:
        """Make the policy from its options; values are judged as the scope says."""
        given = msgspec.structs.asdict(options)
        return cls(**given, judge=scope.judge, name=scope.label(cls.kind))

    def __repr__(self) -> str:
        on = self._on if self._on != _EVERY_ERROR else None
        return spelled(self, self.options, name=self.name, on=on, judge=self._judge)

    @property
    def state(self) -> BreakerState:
        """Closed, open or half-open; an open one becomes half-open with the first call after."""
        return self._machine.state

    def snapshot(self) -> dict[str, float]:
        """For metrics: `open` and `half_open` are 1 while it is that."""
        state = self._machine.state
        return {
            "open": float(state is BreakerState.OPEN),
            "half_open": float(state is BreakerState.HALF_OPEN),
        }

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Run the call, or refuse it; see the class."""
        machine = self._machine
        # One read of one field needs no lock: a call that reads it just before another thread
        # opens the breaker is one that came just before, and its result, of an old epoch by
        # then, will be ignored.
        permit = machine.passing or self._admitted(runtime.now())
        try:
            result = await call()
            failed = self._judge is not None and self._judge(result)
        except BaseException as error:
            self._raised(error, permit, runtime.now())
            raise
        with self._lock:
            if failed:
                machine.failed(permit, runtime.now())
            else:
                machine.succeeded(permit, runtime.now())
        if machine.changes:
            self._tell()
        return result

    def _admitted(self, now: float) -> int:
        machine = self._machine
        with self._lock:
            permit = machine.admit(now)
            state, reason, left = machine.state, machine.reason, machine.stay_away(now)
        if machine.changes:
            self._tell()
        if permit != REFUSED:
            return permit
        if state is BreakerState.OPEN:
            raise CircuitOpen(self.name, f"the circuit is open, since {reason}", left)
        raise CircuitOpen(self.name, "the circuit is half-open and all its probes are out", left)

    def _raised(self, error: BaseException, permit: int, now: float) -> None:
        machine = self._machine
        with self._lock:
            if not _tells(error, now):
                machine.returned(permit)
            elif isinstance(error, self._on):
                machine.failed(permit, now)
            else:
                machine.succeeded(permit, now)
        if machine.changes:
            self._tell()

    def _tell(self) -> None:
        """Publish what has changed; never while the lock is held."""
        machine = self._machine
        with self._lock:
            changes: list[Change]
            changes, machine.changes = machine.changes, []
        for before, after, at, reason in changes:
            publish(
                BreakerChanged(name=self.name, at=at, before=before, after=after, reason=reason)
            )


def _tells(error: BaseException, now: float) -> bool:
    """Whether an error says anything about the dependency."""
    if not isinstance(error, Exception) or isinstance(error, _NOT_ITS_FAULT):
        return False
    return not (isinstance(error, DeadlineExceeded) and time_is_up(now))
