"""Let only so many calls in at once, so that one slow dependency cannot take every thread."""

from __future__ import annotations

import math
import threading
from typing import Annotated, ClassVar, Self, TypeVar

import msgspec

from escala.errors import BulkheadFull, DeadlineExceeded
from escala.kernel.config import options
from escala.kernel.context import remaining
from escala.kernel.policy import Next, Policy, Scope
from escala.kernel.runtime import Parker, Runtime
from escala.kernel.units import Duration
from escala.resilience.pure.bulkhead import BulkheadMachine, Entry
from escala.resilience.spelling import spelled

T = TypeVar("T")


class Bulkhead(Policy):
    """Run at most `slots` calls at once; let `queue` more wait their turn, and refuse the rest.

    - `slots`: how many calls may run at once. Threads, tasks and several event loops can share
      them.
    - `queue`: how many may wait, first come, first served; none by default. A slot that comes
      free is handed to the first of them, so no newcomer can snatch it.
    - `wait`: the longest wait in the queue. By default only the deadline around the call ends it.

    Raises `BulkheadFull`, or `DeadlineExceeded` when the deadline comes in the queue. Waiting in
    sync code inside a running event loop raises `WouldBlock`. Whatever ends a call, cancelled in
    the queue or inside, its slot goes on to the next.

    >>> bulkhead = Bulkhead(slots=1)
    >>> with bulkhead:
    ...     bulkhead.free
    0
    """

    kind: ClassVar[str] = "bulkhead"
    shorthand: ClassVar[str | None] = "slots"

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How many at once, and how many may wait."""

        slots: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 100
        """How many calls may run at once."""
        queue: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] = 0
        """How many more may wait."""
        wait: Duration | None = None
        """The longest wait; without it only the deadline ends a wait."""

    def __init__(
        self,
        slots: int = 100,
        *,
        queue: int = 0,
        wait: float | str | None = None,
        name: str = "bulkhead",
    ) -> None:
        self.name = name
        given = {"slots": slots, "queue": queue, "wait": wait}
        self.options = options(self.Options, given, where="Bulkhead")
        self._machine = BulkheadMachine[Parker](slots=self.options.slots, queue=self.options.queue)
        # Reentrant: the garbage collector may close an abandoned call, which gives its slot
        # back, in the middle of this thread's own turn.
        self._lock = threading.RLock()

    @classmethod
    def build(cls, options: Options, scope: Scope) -> Self:
        """Make the policy from its options; each of several processes gets its part."""
        return cls(
            -(-options.slots // scope.share),
            queue=-(-options.queue // scope.share),
            wait=options.wait,
            name=scope.label(cls.kind),
        )

    def __repr__(self) -> str:
        return spelled(self, self.options, name=self.name)

    @property
    def free(self) -> int:
        """How many slots no one has."""
        return self._machine.free

    @property
    def waiting(self) -> int:
        """How many calls wait for one."""
        return self._machine.waiting

    def snapshot(self) -> dict[str, float]:
        """For metrics: slots `in_use`, and calls `waiting` for one."""
        return {"in_use": float(self.options.slots - self.free), "waiting": float(self.waiting)}

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Run the call in a slot; see the class."""
        with self._lock:
            taken = self._machine.take()
        if not taken:
            await self._wait(runtime)
        try:
            return await call()
        finally:
            self._leave()

    async def _wait(self, runtime: Runtime) -> None:
        """Return with a slot, or raise without one."""
        left = remaining(runtime.now())
        limit = left if self.options.wait is None else min(self.options.wait, left)
        parker = runtime.parker()
        with self._lock:
            entry = self._machine.enter(parker)
        if entry is Entry.GRANTED:
            return
        if entry is Entry.FULL:
            raise BulkheadFull(self.name, self._full())
        try:
            await parker.park(None if limit == math.inf else limit)
        except BaseException as error:
            if not self._withdrawn(parker):
                self._leave()  # the slot came as we were leaving
            if isinstance(error, DeadlineExceeded):
                raise self._too_late() from error
            raise
        if not self._withdrawn(parker):
            return
        if limit == left:
            raise self._too_late()
        slots, wait = self.options.slots, self.options.wait
        raise BulkheadFull(self.name, f"none of {slots} slots came free within {wait:g} s")

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{self.name}: the deadline came before one of {self.options.slots} slots did; "
            "give the call more time, or shed load earlier"
        )

    def _full(self) -> str:
        slots, queue = self.options.slots, self.options.queue
        taken = f"all {slots} slots" if slots > 1 else "the only slot"
        if queue:
            return f"{taken} and {queue} places in the queue are taken"
        return f"{taken} {'are' if slots > 1 else 'is'} taken"

    def _withdrawn(self, parker: Parker) -> bool:
        with self._lock:
            return self._machine.withdraw(parker)

    def _leave(self) -> None:
        while True:
            with self._lock:
                waiter = self._machine.leave()
            if waiter is None or waiter.unpark():
                return
            # Its event loop is closed, so it cannot take the slot: on to the next, unless its
            # task was collected meanwhile and has already passed the slot on.
            if self._withdrawn(waiter):
                return
