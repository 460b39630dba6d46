"""The copies of one call: started beside the caller, who waits for the first good answer."""

from __future__ import annotations

import math
import threading
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from escala.kernel.policy import Next
from escala.kernel.runtime import Beside, HandOver, Parker, Runtime
from escala.resilience.hedge_desk import HedgeDesk
from escala.resilience.pure.hedge import Ending, HedgeRace

T = TypeVar("T")

_TURNS = 10  # of the loop, which the losers get to end in before the winner's answer is returned


class End(NamedTuple):
    """How a copy ended; `number` is 1 for the call itself."""

    number: int
    value: Any
    error: BaseException | None


class Copies(Generic[T]):
    """One hedged call. Copies report from any thread or task; only the caller decides."""

    def __init__(
        self,
        call: Next[T],
        runtime: Runtime,
        race: HedgeRace,
        desk: HedgeDesk,
        hand_over: HandOver,
    ) -> None:
        self._call, self._runtime, self._race, self._desk = call, runtime, race, desk
        self._hand_over = hand_over
        # Reentrant: the garbage collector may end an abandoned copy in the middle of our turn.
        self._lock = threading.RLock()
        self._reports: deque[End] = deque()
        self._waiter: Parker | None = None
        self._running: list[Beside] = []
        self._alive = 0
        self._closed = False
        self._first: End | None = None  # how the call itself has failed
        self._began = runtime.now()

    def start(self) -> bool:
        """Start the next copy beside the caller; False if there is no room for it."""
        number = self._race.started + 1
        with self._lock:
            self._alive += 1
        beside = self._runtime.beside(self._call, partial(self._ended, number), self._hand_over)
        if beside is None:
            with self._lock:
                self._alive -= 1
            return False
        self._running.append(beside)
        self._race.start(self._runtime.now())
        return True

    def _ended(self, number: int, value: T | None, error: BaseException | None) -> None:
        if number > 1:
            self._desk.give_back()
        with self._lock:
            self._alive -= 1
            late = self._closed
            if not late:
                self._reports.append(End(number, value, error))
            waiter, self._waiter = self._waiter, None
        if late and error is None:
            self._desk.drop(value)
        if waiter is not None:
            waiter.unpark()

    async def answer(self) -> T:
        """Wait for the first success, or for the failure of all; the others are cancelled."""
        try:
            won = await self._decided()
        except BaseException as error:
            await self._abandon(error)
            raise
        if won is None:
            first = self._first
            assert first is not None  # noqa: S101  all have ended, so the first one has
            if first.error is not None:
                raise first.error
            won = first
        elif self._first is not None:
            self._drop(self._first)
        if self._alive or self._reports:
            await self._leave(won)
        value: T = won.value
        return value

    async def _decided(self) -> End | None:
        """The first success; None when all have failed."""
        while True:
            now = self._runtime.now()
            if now >= self._race.due:
                self._start_another(now)
            due = self._race.due
            end = await self._next(None if due == math.inf else due - now)
            if end is None:
                continue
            if end.error is not None and not isinstance(end.error, Exception):
                raise end.error
            well = end.error is None and not self._failed(end)
            ending = self._race.end(well=well)
            if ending is Ending.WON:
                if self._first is None:
                    self._desk.learn(self._runtime.now() - self._began)
                if end.number > 1:
                    self._desk.won()
                return end
            if end.number == 1:
                self._first = end
            else:
                self._drop(end)
            if ending is Ending.LOST:
                return None

    def _failed(self, end: End) -> bool:
        try:
            return self._desk.failed(end.value)
        except BaseException:  # the judge was interrupted
            self._drop(end)
            raise

    def _start_another(self, now: float) -> None:
        if self._desk.may_copy(now):
            if self.start():
                self._desk.copied(self._race.started, self._race.delay, now)
                return
            self._desk.give_back()
        self._race.refuse()

    async def _next(self, timeout: float | None) -> End | None:
        with self._lock:
            if self._reports:
                return self._reports.popleft()
            parker = self._waiter = self._runtime.parker()
        await parker.park(timeout)
        with self._lock:
            self._waiter = None
            return self._reports.popleft() if self._reports else None

    def _close(self) -> bool:
        """Cancel what still runs; whether any of it can be waited for."""
        with self._lock:
            self._closed = True
            late = list(self._reports)
            self._reports.clear()
        for end in late:
            self._drop(end)
        cancelled = [beside.cancel() for beside in self._running]
        return any(cancelled)

    async def _leave(self, won: End) -> None:
        """Give the losers a few turns to end; one that needs longer ends behind our back."""
        if not self._close():
            return
        try:
            for _ in range(_TURNS):
                if not self._alive:
                    return
                await self._runtime.sleep(0)
        except BaseException:
            self._drop(won)
            raise

    async def _abandon(self, error: BaseException) -> None:
        """The caller was cancelled, and waits for the end of its copies as it would for a call."""
        if self._first is not None:
            self._drop(self._first)
        if isinstance(error, GeneratorExit):  # no one is there to wait, and perhaps no loop
            with suppress(RuntimeError):
                self._close()
        elif self._close():
            while True:
                with self._lock:
                    if not self._alive:
                        return
                    parker = self._waiter = self._runtime.parker()
                await parker.park()

    def _drop(self, end: End) -> None:
        if end.error is None:
            self._desk.drop(end.value)
