"""Real threads in virtual time, of which one runs at once: each wait is a step, drawn by a seed."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from escala.errors import DeadlineExceeded, Deadlock
from escala.kernel.context import remaining
from escala.kernel.runtime import Beside, Ended, HandOver, Parker, ThreadRuntime, colours

T = TypeVar("T")

PATIENCE = 20.0  # real seconds in which a step has to end


class _Stepped:
    """A thread that runs when it is told to, until it waits."""

    def __init__(self, name: str, run: Callable[[], None], stage: SteppedThreads) -> None:
        self.go, self.due, self.name = threading.Semaphore(0), 0.0, name
        self.place: Place | None = None  # where it is parked
        self.done = False
        self.thread = threading.Thread(target=self._main, args=(run, stage), daemon=True)
        self.thread.start()

    def _main(self, run: Callable[[], None], stage: SteppedThreads) -> None:
        self.go.acquire()
        stage.here.thread = self
        try:
            run()
        except BaseException as error:  # noqa: BLE001  raised by `SteppedThreads.run`
            stage.errors.append(error)
        finally:
            self.done = True
            stage.back.release()


class Place:
    """A parker of a stepped thread."""

    def __init__(self, stage: SteppedThreads) -> None:
        self._stage, self.woken = stage, False

    async def park(self, timeout: float | None = None) -> bool:
        stage = self._stage
        left = remaining(stage.now())
        stage.wait(self, left if timeout is None else min(timeout, left))
        if not self.woken and (timeout is None or left <= timeout):
            raise DeadlineExceeded("parked for too long")
        return self.woken

    def unpark(self) -> bool:
        self.woken = True
        return True


class SteppedThreads(ThreadRuntime):
    """The sync colour for threads that `spawn` starts; `run` steps them until all have ended.

    A thread gives up its turn where it sleeps, parks, or calls `step`. Whose turn is next is
    drawn; the clock moves when nobody else can go on. `Deadlock` names those who wait for ever.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(now=lambda: self._clock)
        self._clock = 0.0
        self._draw = random.Random(seed)
        self._threads: list[_Stepped] = []
        self.here: Any = threading.local()
        self.back = threading.Semaphore(0)
        self.errors: list[BaseException] = []

    def spawn(self, run: Callable[[], None], name: str = "thread") -> None:
        self._threads.append(_Stepped(name, run, self))

    @contextmanager
    def on(self) -> Iterator[None]:
        """Make it the runtime of all sync calls."""
        before, colours.thread = colours.thread, self
        try:
            yield
        finally:
            colours.thread = before

    def run(self) -> None:
        """Step the threads, one at a time, until all have ended; the first error is raised."""
        while threads := [each for each in self._threads if not each.done]:
            self._threads = threads
            ready = [each for each in threads if self._is_ready(each)]
            if not ready:
                self._clock = min(each.due for each in threads)
                if self._clock == math.inf:
                    names = ", ".join(each.name for each in threads)
                    raise Deadlock(f"these threads wait for ever: {names}")
                continue
            self._draw.choice(ready).go.release()
            if not self.back.acquire(timeout=PATIENCE):
                raise Deadlock("a thread does not come back: it waits where no one sees it")
        if self.errors:
            raise self.errors[0]

    def _is_ready(self, each: _Stepped) -> bool:
        return each.due <= self._clock or (each.place is not None and each.place.woken)

    def wait(self, place: Place | None, seconds: float) -> None:
        """Give up the turn until then, or until the place is woken."""
        me: _Stepped = self.here.thread
        me.place, me.due = place, self._clock + max(seconds, 0.0)
        self.back.release()
        me.go.acquire()
        me.place = None

    def step(self) -> None:
        """Give up the turn: another thread may go first."""
        if getattr(self.here, "thread", None) is not None:
            self.wait(None, 0.0)

    def parker(self) -> Parker:
        return Place(self)

    async def sleep(self, seconds: float) -> None:
        left = remaining(self._clock)
        self.wait(None, min(seconds, left))
        if left < seconds:
            raise DeadlineExceeded("slept for too long")

    def beside(  # type: ignore[override]  # of this stage, and not of any
        self,
        call: Callable[[], Awaitable[T]],
        ended: Ended[T],
        hand_over: HandOver,
    ) -> Beside | None:
        def hand(run: Callable[[], None]) -> bool:
            self.spawn(run, "beside")
            return True

        return ThreadRuntime.beside(call, ended, hand)
