"""The alarm of a time limit on an event loop; limits inside one another share one armed timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any


class Timer:
    """Cancels the current task at a moment, and tells its own cancellation from another's.

    A limit around another one is nearly always the later of the two, and begins its clock when
    the inner one has just armed its own. Then it becomes the inner one's heir instead: it takes
    over the armed handle when the inner one ends, and looks at its own moment when that rings.
    """

    __slots__ = ("_before", "_fired", "handle", "heir", "loop", "now", "task", "until")

    def __init__(self, waits_for: object, until: float, now: Callable[[], float]) -> None:
        # The future that a task waits for knows its loop at a tenth of the cost of asking for
        # the running one, which looks up the process's id each time.
        ask = getattr(waits_for, "get_loop", None)
        loop: asyncio.AbstractEventLoop = asyncio.get_running_loop() if ask is None else ask()
        task = asyncio.current_task(loop)
        if task is None:
            msg = "a timeout needs a running asyncio task"
            raise RuntimeError(msg)
        self.loop, self.until, self.now = loop, until, now
        self.task: asyncio.Task[Any] | None = task  # None when it is over
        self._before = task.cancelling()
        self._fired = False
        self.heir: Timer | None = None
        self.handle: asyncio.TimerHandle | None = None
        armed = _armed.get()
        last = None if armed is None or armed.handle is None else armed.last_heir()
        if last is not None and last.task is task and last.until <= until:
            last.heir = self
        else:
            self.handle = loop.call_later(until - now(), self.ring)
            _armed.set(self)

    def stop(self) -> bool:
        """Disarm; take back a cancellation of our own; True when there was no other."""
        task, self.task = self.task, None
        handle, self.handle = self.handle, None
        if handle is not None:
            heir = self._live_heir()
            if heir is None:
                handle.cancel()
            else:
                heir.handle = handle
        return self._fired and task is not None and task.uncancel() <= self._before

    def ring(self) -> None:
        """The moment has come, for this one or for its heir to look at its own."""
        task, heir = self.task, self._live_heir()
        if task is not None:
            self.handle = None
            self._fired = True
            task.cancel()
        if heir is not None:
            left = heir.until - self.now()
            if left > 0:
                heir.handle = heir.loop.call_later(left, heir.ring)
            else:
                heir.ring()

    def last_heir(self) -> Timer:
        """The outermost of those that rely on this one's handle, itself if there is none."""
        last = self
        while last.heir is not None:
            last = last.heir
        return last

    def _live_heir(self) -> Timer | None:
        heir = self.heir
        while heir is not None and heir.task is None:
            heir = heir.heir
        return heir


_armed: ContextVar[Timer | None] = ContextVar("escala_armed_timer", default=None)
