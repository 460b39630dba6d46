"""A number of slots and a queue for them, shared by threads, tasks and event loops."""

from __future__ import annotations

import math
import threading
from collections.abc import Hashable
from typing import cast

from escala.errors import BulkheadFull, DeadlineExceeded
from escala.kernel.at_fork import free
from escala.kernel.context import remaining
from escala.kernel.runtime import Parker, Runtime
from escala.resilience.pure.bulkhead import BulkheadMachine, Entry


class Slots:
    """The bulkhead's machine with its lock, and how to wait for a slot of it.

    `take` is for a caller that has found no slot free: it returns with one or raises. `leave`
    gives it back. The lock may be shared with others; it is held for single steps only.
    """

    __slots__ = ("_first", "_name", "_queue", "count", "key", "lock", "machine", "users")

    def __init__(
        self, count: int, queue: int, *, name: str, lock: threading.RLock | None = None
    ) -> None:
        self._first, self._queue, self._name = count, queue, name
        # Reentrant: the garbage collector may close an abandoned call, which gives its slot
        # back, in the middle of this thread's own turn.
        self.lock = threading.RLock() if lock is None else lock
        # For who keeps many of these: callers inside or waiting, and which one it is.
        self.users, self.key = 0, cast("Hashable", "")
        self._begin()

    def _begin(self) -> None:
        self.count = self._first
        self.machine = BulkheadMachine[Parker](slots=self.count, queue=self._queue)

    def forked(self) -> None:
        """In a forked child: those inside and in the queue have stayed with the parent."""
        free(self.lock)
        self._begin()

    async def take(
        self, runtime: Runtime, wait: float | None = None, priority: int | None = None
    ) -> None:
        """Return with a slot, or raise without one.

        `wait` is the longest wait in seconds. With a `priority` a caller comes before all of a
        smaller number, and when the queue is full, the last of those gives way.
        """
        now = runtime.now()
        left = remaining(now)
        limit = left if wait is None else min(wait, left)
        parker = runtime.parker()
        pushed: Parker | None = None
        with self.lock:
            entry = self.machine.enter(parker, priority or 0, now)
            if entry is Entry.FULL and priority is not None:
                pushed = self.machine.push_out(priority)
                if pushed is not None:
                    entry = self.machine.enter(parker, priority, now)
        if pushed is not None:
            pushed.unpark()
        if entry is Entry.GRANTED:
            return
        if entry is Entry.FULL:
            raise BulkheadFull(self._name, self._full())
        await self._park(parker, limit, left)

    async def _park(self, parker: Parker, limit: float, left: float) -> None:
        try:
            woken = await parker.park(None if limit == math.inf else limit)
        except BaseException as error:
            if not self._withdrawn(parker):
                self.leave()  # the slot came as we were leaving
            if isinstance(error, DeadlineExceeded):
                raise self._too_late() from error
            raise
        if not self._withdrawn(parker):
            return
        if woken:
            reason = "its place in the full queue went to a call of higher priority"
            raise BulkheadFull(self._name, reason)
        if limit == left:
            raise self._too_late()
        reason = f"none of {self.count} slots came free within {limit:g} s"
        raise BulkheadFull(self._name, reason)

    def leave(self) -> None:
        """Give a slot back, and wake the one that has it now."""
        while True:
            try:  # half the cost of `with`, and no interrupt can leave the lock behind either
                self.lock.acquire()
                waiter = self.machine.leave()
            finally:
                self.lock.release()
            if waiter is None or waiter.unpark():
                return
            # Its event loop is closed, so it cannot take the slot: on to the next, unless its
            # task was collected meanwhile and has already passed the slot on.
            if self._withdrawn(waiter):
                return

    def resize(self, count: int) -> list[Parker]:
        """Have another number of slots from now on; those in use are not taken away.

        To be called with the lock. Who gets a new slot is to be given to `wake`, without it.
        """
        grown, self.count = count - self.count, count
        return self.machine.resize(grown)

    def wake(self, waiters: list[Parker]) -> None:
        """Wake those who have been handed a slot."""
        for waiter in waiters:
            if not waiter.unpark() and not self._withdrawn(waiter):
                self.leave()

    def _withdrawn(self, parker: Parker) -> bool:
        with self.lock:
            return self.machine.withdraw(parker)

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{self._name}: the deadline came before one of {self.count} slots did; "
            "give the call more time, or shed load earlier"
        )

    def _full(self) -> str:
        slots, queue = self.count, self._queue
        taken = f"all {slots} slots" if slots > 1 else "the only slot"
        if queue:
            return f"{taken} and {queue} places in the queue are taken"
        return f"{taken} {'are' if slots > 1 else 'is'} taken"
