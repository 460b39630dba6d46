"""Find out how many calls at once a dependency bears, and let in no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias, TypeVar

import msgspec

from escala.kernel.at_fork import begin_anew
from escala.kernel.config import options
from escala.kernel.events import publish
from escala.kernel.policy import Next, Policy, Scope
from escala.kernel.runtime import Runtime
from escala.kernel.units import Duration, PositiveDuration
from escala.resilience.breaker_verdict import Verdict, verdict
from escala.resilience.events import LimitChanged
from escala.resilience.failure_kinds import BY_CHANCE, Failures, failures
from escala.resilience.pure.adaptive_limit import AdaptiveMachine, Aimd, Gradient, Rule
from escala.resilience.slots import Slots
from escala.resilience.spelling import spelled
from escala.resilience.user_function import Asker

T = TypeVar("T")
Algorithm: TypeAlias = Literal["gradient", "aimd"]


class AdaptiveLimit(Policy):
    """A bulkhead that sets its own number of slots by how long calls take.

    - `algorithm`: "gradient" compares latency now with latency when there was no queue, and needs
      no figure from you; "aimd" grows by one while the mean latency is at most `target` and loses
      a tenth when it is above.
    - `initial`, `least`, `most`: where the number of slots begins, and its bounds.
    - `queue`, `wait`: as in `Bulkhead`. What waits here is not part of the latency.
    - `target`: seconds; for "aimd" only, which needs it.
    - `on` (code only): errors that mean overload, which lower the limit; by default those that
      `Retry` repeats, so timeouts and broken connections. Other errors say nothing, and neither
      do refusals by Escala, cancelled calls, and calls that the deadline around this ended.
    - `judge` (code only): says of a returned value whether it means overload, such as a 503.

    The limit moves after rounds of at least 30 calls and 100 ms, and only while at least half of
    it is in use: a quiet night does not open the gate. Raises `BulkheadFull`, or
    `DeadlineExceeded` when the deadline comes in the queue. `LimitChanged` events tell each step.

    >>> limit = AdaptiveLimit(initial=8)
    >>> limit.call(len, "tea"), limit.slots
    (3, 8)
    """

    kind: ClassVar[str] = "adaptive_limit"

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How the limit moves, and between which bounds."""

        algorithm: Algorithm = "gradient"
        """What moves it: "gradient" or "aimd"."""
        initial: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 20
        """With how many slots it begins."""
        least: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 1
        """The fewest slots there will be."""
        most: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 1000
        """The most slots there will be."""
        queue: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] = 0
        """How many calls may wait for a slot."""
        wait: Duration | None = None
        """The longest wait; without it only the deadline ends a wait."""
        target: PositiveDuration | None = None
        """The mean latency that "aimd" keeps."""

        def __post_init__(self) -> None:
            if self.wait is not None and not self.queue:
                raise ValueError(f"expected a queue for who waits {self.wait.text}, found none")
            if not self.least <= self.initial <= self.most:
                found = f"found {self.least}, {self.initial} and {self.most}"
                raise ValueError(f"expected least <= initial <= most, {found}")
            if self.algorithm == "gradient" and self.target is not None:
                raise ValueError('expected a target for "aimd" only, found one for "gradient"')
            if self.algorithm == "aimd" and self.target is None:
                raise ValueError('expected a target for "aimd", such as "100ms", found none')

    def __init__(
        self,
        *,
        algorithm: Algorithm = "gradient",
        initial: int = 20,
        least: int = 1,
        most: int = 1000,
        queue: int = 0,
        wait: float | str | None = None,
        target: float | str | None = None,
        on: Failures = BY_CHANCE,
        judge: Callable[[Any], bool] | None = None,
        name: str = "adaptive_limit",
    ) -> None:
        self.name = name
        given = {
            "algorithm": algorithm,
            "initial": initial,
            "least": least,
            "most": most,
            "queue": queue,
            "wait": wait,
            "target": target,
        }
        self.options = options(self.Options, given, where="AdaptiveLimit")
        asker = Asker("AdaptiveLimit", name)
        self._on = failures(on, default=BY_CHANCE, asker=asker)
        self._judge = asker.judge(judge)
        self._slots = Slots(initial, queue, name=name)
        self._lock = self._slots.lock
        self._begin()
        begin_anew(self, AdaptiveLimit._forked)

    def _begin(self) -> None:
        chosen = self.options
        self._machine = AdaptiveMachine(
            _rule(chosen), initial=chosen.initial, least=chosen.least, most=chosen.most
        )

    def _forked(self) -> None:
        self._slots.forked()
        self._begin()

    @classmethod
    def build(cls, options: Options, scope: Scope) -> Self:
        """Make the policy from its options; each of several processes finds its own limit."""
        given = {name: getattr(options, name) for name in options.__struct_fields__}
        return cls(**given, judge=scope.judge, name=scope.label(cls.kind))

    def __repr__(self) -> str:
        on = self._on if self._on != BY_CHANCE else None
        return spelled(self, self.options, name=self.name, on=on, judge=self._judge)

    @property
    def slots(self) -> int:
        """How many calls may run at once, now."""
        return self._slots.count

    def snapshot(self) -> dict[str, float]:
        """For metrics: the `limit` now, slots `in_use`, and calls `waiting` for one."""
        with self._lock:
            count, machine = self._slots.count, self._slots.machine
            return {
                "limit": float(count),
                "in_use": float(count - machine.free),
                "waiting": float(machine.waiting),
            }

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Run the call in a slot and learn from its latency; see the class."""
        with self._lock:
            taken = self._slots.machine.take()
        if not taken:
            await self._slots.take(runtime, self.options.wait)
        began = runtime.now()
        try:
            result = await call()
            lost = self._judge is not None and self._judge(result)
        except Exception as error:
            now = runtime.now()
            if verdict(error, self._on, now) is Verdict.FAILED:
                self._learn(None, now)
            raise
        else:
            now = runtime.now()
            self._learn(None if lost else now - began, now)
            return result
        finally:
            self._slots.leave()

    def _learn(self, seconds: float | None, now: float) -> None:
        with self._lock:
            before = self._slots.count
            busy = before - self._slots.machine.free
            if not self._machine.ended(seconds, busy, now):
                return
            after = self._machine.limit
            woken = self._slots.resize(after)
        self._slots.wake(woken)
        publish(LimitChanged(name=self.name, at=now, before=before, after=after))


def _rule(chosen: AdaptiveLimit.Options) -> Rule:
    return Gradient() if chosen.target is None else Aimd(chosen.target)
