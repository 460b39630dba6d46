"""Under too much load, turn away what matters least and stay fast for the rest."""

from __future__ import annotations

import random
from typing import Annotated, ClassVar, Self, TypeVar

import msgspec

from escala import errors
from escala.kernel.at_fork import begin_anew
from escala.kernel.config import options
from escala.kernel.context import current
from escala.kernel.events import publish
from escala.kernel.policy import Next, Policy, Scope
from escala.kernel.runtime import Runtime
from escala.kernel.units import PositiveDuration
from escala.resilience.events import Shedding
from escala.resilience.pure.shed import ShedMachine
from escala.resilience.slots import Slots
from escala.resilience.spelling import spelled

T = TypeVar("T")


class Shed(Policy):
    """Run at most `slots` calls at once, and shed by priority when the queue does not drain.

    Put it around the work of your own service, outermost. A burst waits in the queue and is
    served; only a queue that stands, whose oldest call has waited longer than `target` whenever
    one looks for a whole `interval`, means more load than there is capacity. Then calls with the
    smallest `Request.priority` are refused on arrival, step by step more of them, until the queue
    drains; and when it does, step by step fewer. A priority is refused only when calls of it, or
    of a greater one, stand in the queue.

    - `slots`: how many calls run at once: what your service can do at the same time.
    - `queue`: how many may wait. The greatest priority is served first, and into a full queue it
      comes in place of the last with the smallest one.
    - `target`, `interval`: how long the oldest may wait, and for how long in a row it must be
      longer before that counts. A target shorter than a call takes sheds what is no overload.
    - `rng` (code only): who of the priority on the edge is refused is drawn from it.

    Calls without a request have priority 0. Raises `escala.errors.Shed`, or `BulkheadFull` when
    the queue is full, or `DeadlineExceeded` when the deadline comes in it. `Shedding` events tell
    when the share changes from none to some and back.

    >>> shed = Shed(slots=4)
    >>> shed.call(len, "tea"), shed.share
    (3, 0.0)
    """

    kind: ClassVar[str] = "shed"
    shorthand: ClassVar[str | None] = "slots"

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How many at once, how many may wait, and what is too long."""

        slots: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 100
        """How many calls may run at once."""
        queue: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 1000
        """How many more may wait."""
        target: PositiveDuration = PositiveDuration(0.02)
        """How long the oldest call may wait."""
        interval: PositiveDuration = PositiveDuration(0.1)
        """For how long in a row it must be longer, before that counts."""

    def __init__(
        self,
        slots: int = 100,
        *,
        queue: int = 1000,
        target: float | str = "20ms",
        interval: float | str = "100ms",
        rng: random.Random | None = None,
        name: str = "shed",
    ) -> None:
        self.name = name
        given = {"slots": slots, "queue": queue, "target": target, "interval": interval}
        self.options = options(self.Options, given, where="Shed")
        self._slots = Slots(slots, queue, name=name)
        self._lock = self._slots.lock
        self._rng = rng
        self._begin()
        begin_anew(self, Shed._forked)

    def _begin(self) -> None:
        self._machine = ShedMachine(interval=self.options.interval)
        self._draw = (self._rng or random.Random()).random
        self._told = False

    def _forked(self) -> None:
        self._slots.forked()
        self._begin()

    @classmethod
    def build(cls, options: Options, scope: Scope) -> Self:
        """Make the policy from its options; each of several processes gets its part."""
        given = msgspec.structs.asdict(options)
        given["slots"] = -(-options.slots // scope.share)
        given["queue"] = -(-options.queue // scope.share)
        return cls(**given, name=scope.label(cls.kind))

    def __repr__(self) -> str:
        return spelled(self, self.options, name=self.name)

    @property
    def share(self) -> float:
        """How much of all calls is turned away, from 0 to 1, as of the last call."""
        return self._machine.share

    def snapshot(self) -> dict[str, float]:
        """For metrics: the `share` turned away, slots `in_use`, and calls `waiting` for one."""
        with self._lock:
            machine = self._slots.machine
            return {
                "share": self._machine.share,
                "in_use": float(self._slots.count - machine.free),
                "waiting": float(machine.waiting),
            }

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Run the call in a slot, or refuse it; see the class."""
        request = current.get()
        priority = 0 if request is None else request.priority
        now = runtime.now()
        with self._lock:
            let_in = self._machine.arrived(priority, self._stands(now), self._draw(), now)
            taken = let_in and self._slots.machine.take()
            news = self._news(now)
        if news is not None:
            publish(news)
        if not let_in:
            reason = f"too much load for calls of priority {priority}"
            raise errors.Shed(self.name, reason, float(self.options.interval))
        if not taken:
            await self._slots.take(runtime, priority=priority)
            now = runtime.now()
            with self._lock:
                self._machine.began(self._stands(now), now)
        try:
            return await call()
        finally:
            self._slots.leave()

    def _stands(self, now: float) -> int | None:
        return self._slots.machine.standing(now - self.options.target)

    def _news(self, now: float) -> Shedding | None:
        share = self._machine.share
        if (share > 0) is self._told:
            return None
        self._told = share > 0
        return Shedding(name=self.name, at=now, share=share)
