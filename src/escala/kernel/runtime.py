"""The only place where Escala waits: in a thread, on an event loop, or (`testing`) in virtual time.

Every policy is written once, as `async def`, against this protocol. `ThreadRuntime`'s coroutines
block instead of suspending, so `drive` runs them to their end in the caller's thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

from escala.errors import DeadlineExceeded, WouldBlock
from escala.kernel.context import remaining, restore, shorten
from escala.kernel.timer import Timer

T = TypeVar("T")

wall = time.time  # only for protocols that need a date; decisions use `Runtime.now`


class Parker(Protocol):
    """One wait of one caller: `park` once, `unpark` at most once, from any thread."""

    async def park(self, timeout: float | None = None) -> bool:
        """Wait for `unpark`; False when `timeout` seconds passed first."""
        ...

    def unpark(self) -> bool:
        """Wake the waiter, or let its coming `park` return at once; False if no one is left."""
        ...


class Beside(Protocol):
    """A call that runs beside the one that started it."""

    def cancel(self) -> bool:
        """Ask it to end soon; False where nothing can make it (a thread), or if it has ended."""
        ...


Ended: TypeAlias = Callable[[T | None, BaseException | None], None]
HandOver: TypeAlias = Callable[[Callable[[], None]], bool]


class Runtime(Protocol):
    """What a policy may ask of the world."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        ...

    def parker(self) -> Parker:
        """A fresh place to wait, bound to the caller's thread or task."""
        ...

    async def race(self, call: Callable[[], Awaitable[T]], until: float) -> T:
        """Run `call` against the clock: `DeadlineExceeded` when `until` comes first.

        While it runs, `context.deadline()` is no later than `until`. Threads cannot be
        interrupted: there the call runs to its end, and it is the leaves (sockets, sleeps,
        parks) that look at that deadline.
        """
        ...

    def timed(self, call: Awaitable[T], until: float) -> Awaitable[T]:
        """Only the clock of `race`: what to await instead of `call`, so that it ends at `until`.

        For those who set the deadline themselves; a thread's call comes back as it is.
        """
        ...

    def beside(
        self, call: Callable[[], Awaitable[T]], ended: Ended[T], hand_over: HandOver
    ) -> Beside | None:
        """Start `call` beside the caller, with a copy of its context; None if there is no room.

        A task on a loop; for a thread, what `hand_over` finds another one for, unless it returns
        False. `ended` is told the value or the error, once, from wherever the call has run.
        """
        ...


def _refuse_in_loop(what: str) -> None:
    if asyncio._get_running_loop() is not None:  # noqa: SLF001  the public twin raises, at 10x the cost
        msg = (
            f"a sync call would have to {what} inside a running event loop, which would stop "
            "every other task: await the `a` twin instead (`acall`, `aacquire`, `async with`)"
        )
        raise WouldBlock(msg)


Hold: TypeAlias = Callable[[threading.Lock, float], bool]


class _ThreadParker:
    __slots__ = ("_hold", "_lock", "_now")

    def __init__(self, now: Callable[[], float], hold: Hold) -> None:
        self._now, self._hold = now, hold
        self._lock = threading.Lock()  # a held lock is the cheapest one-shot event
        self._lock.acquire()

    async def park(self, timeout: float | None = None) -> bool:
        if self._lock.acquire(blocking=False):
            return True
        if timeout is not None and timeout <= 0:
            return False
        left = remaining(self._now())
        wait = left if timeout is None else min(timeout, left)
        woken = self._hold(self._lock, max(wait, 0.0))
        if not woken and wait == left:
            raise DeadlineExceeded(_TIME_UP)
        return woken

    def unpark(self) -> bool:
        self._lock.release()
        return True


class ThreadRuntime:
    """Waits by blocking the calling thread, and never past the deadline in force there."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now

    def parker(self) -> Parker:
        """A place for this thread to wait; its `park` raises `DeadlineExceeded` at the deadline."""
        return _ThreadParker(self.now, self._hold)

    async def sleep(self, seconds: float) -> None:
        """Block for `seconds`, or until the deadline, which raises `DeadlineExceeded`."""
        if seconds > 0:
            left = remaining(self.now())
            self._block(min(seconds, max(left, 0.0)))
            if left < seconds:
                raise DeadlineExceeded(_TIME_UP)

    def _block(self, seconds: float) -> None:
        _refuse_in_loop("sleep")
        time.sleep(seconds)

    def _hold(self, lock: threading.Lock, seconds: float) -> bool:
        _refuse_in_loop("wait")
        return lock.acquire(
            timeout=-1 if seconds == math.inf else min(seconds, threading.TIMEOUT_MAX)
        )

    async def race(self, call: Callable[[], Awaitable[T]], until: float) -> T:
        """Refuse a call whose time is already up; one that began cannot be interrupted."""
        if self.now() >= until:
            raise DeadlineExceeded(TOO_LATE)
        before = shorten(until)
        try:
            return await call()
        finally:
            restore(before)

    @staticmethod
    def timed(call: Awaitable[T], until: float) -> Awaitable[T]:  # noqa: ARG004  no clock stops a thread
        """The call itself: what waits inside it obeys the deadline."""
        return call

    @staticmethod
    def beside(
        call: Callable[[], Awaitable[T]], ended: Ended[T], hand_over: HandOver
    ) -> Beside | None:
        """In another thread; inside a running event loop there is none that could be waited for."""
        if asyncio._get_running_loop() is not None:  # noqa: SLF001
            return None
        run = partial(contextvars.copy_context().run, _run_beside, call, ended)
        return _THREAD if hand_over(run) else None


class _Thread:
    @staticmethod
    def cancel() -> bool:
        return False


_THREAD = _Thread()


def _run_beside(call: Callable[[], Awaitable[T]], ended: Ended[T]) -> None:
    async def run() -> T:
        return await call()

    try:
        result = drive(run())
    except BaseException as error:  # noqa: BLE001  it belongs to the caller
        ended(None, error)
    else:
        ended(result, None)


class _LoopParker:
    __slots__ = ("_future", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[bool] = self._loop.create_future()

    async def park(self, timeout: float | None = None) -> bool:
        if timeout is None or self._future.done():
            return await self._future
        if timeout <= 0:
            return False
        timer = self._loop.call_later(timeout, self._wake, False)  # noqa: FBT003
        try:
            return await self._future
        finally:
            timer.cancel()

    def unpark(self) -> bool:
        if asyncio._get_running_loop() is self._loop:  # noqa: SLF001
            self._wake(True)  # noqa: FBT003
            return True
        try:
            self._loop.call_soon_threadsafe(self._wake, True)  # noqa: FBT003
        except RuntimeError:
            # That loop is closed: its tasks are gone, and what they waited for goes to another.
            return False
        return True

    def _wake(self, woken: bool) -> None:  # noqa: FBT001
        if not self._future.done():
            self._future.set_result(woken)


class LoopRuntime:
    """Waits by yielding to the running asyncio (or uvloop) event loop."""

    parker = staticmethod(_LoopParker)

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now

    async def sleep(self, seconds: float) -> None:
        """Suspend the task for `seconds`."""
        await asyncio.sleep(seconds)

    async def race(self, call: Callable[[], Awaitable[T]], until: float) -> T:
        """Cancel `call` at `until`; a call that never suspends never pays for a timer."""
        if self.now() >= until:
            raise DeadlineExceeded(TOO_LATE)
        before = shorten(until)
        try:
            if until == math.inf:
                return await call()
            return await _timed(call(), until, self.now)
        finally:
            restore(before)

    def timed(self, call: Awaitable[T], until: float) -> Awaitable[T]:
        """The call, cancelled at `until`."""
        return _timed(call, until, self.now)

    @staticmethod
    def beside(
        call: Callable[[], Awaitable[T]],
        ended: Ended[T],
        hand_over: HandOver,  # noqa: ARG004  for threads
    ) -> Beside | None:
        """In a task, which starts in the loop's next turn."""

        async def run() -> T:
            return await call()

        def tell(task: asyncio.Task[T]) -> None:
            _tasks.discard(task)
            if task.cancelled():
                ended(None, asyncio.CancelledError())
            elif (error := task.exception()) is not None:
                ended(None, error)
            else:
                ended(task.result(), None)

        task = asyncio.get_running_loop().create_task(run())
        _tasks.add(task)
        task.add_done_callback(tell)
        return task


_tasks: set[asyncio.Task[Any]] = set()  # the loop itself keeps only weak references


@types.coroutine
def _timed(call: Awaitable[T], until: float, now: Callable[[], float]) -> Generator[Any, Any, T]:
    """Take the call's first step by hand, so that a timer is armed only when it suspends.

    Expiry cancels the task and turns the cancellation back into `DeadlineExceeded` at this
    frame, as `asyncio.timeout` does; a cancellation from outside passes through untouched.
    """
    steps: Any = call.__await__()
    try:
        waits_for = next(steps)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    timer = Timer(waits_for, until, now)
    try:
        while True:
            try:
                yield waits_for
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as error:  # noqa: BLE001  all of it belongs to the call
                waits_for = steps.throw(error)
            else:
                break
        answer: T = yield from steps
    except StopIteration as end:
        timer.stop()
        return end.value  # type: ignore[no-any-return]
    except asyncio.CancelledError as error:
        if timer.stop():
            raise DeadlineExceeded(_TIME_UP) from error
        raise
    except BaseException:
        timer.stop()
        raise
    timer.stop()
    return answer


TOO_LATE = "the deadline was over before the call began; give it more time or shed it earlier"
_TIME_UP = "the call took longer than the time it was given"


class Colours:
    """Where sync and async entry points find their runtime; virtual time replaces both."""

    __slots__ = ("loop", "thread")

    def __init__(self) -> None:
        self.thread: Runtime = ThreadRuntime()
        self.loop: Runtime = LoopRuntime()

    @property
    def real(self) -> bool:
        """Whether time passes by itself; in virtual time threads of our own have no place."""
        return type(self.thread) is ThreadRuntime


colours = Colours()


def time_left() -> float:
    """Seconds until the deadline around the current call; inf without one, negative when late.

    Give it to whatever client you call as its timeout: `get(url, timeout=escala.time_left())`.
    In sync code nothing else can end a call that takes too long.
    """
    return remaining(colours.thread.now())


_STOPPED = ("coroutine raised StopIteration",)


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to its end a coroutine whose leaves all block instead of suspending."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    except RuntimeError as error:
        # A sync `__next__` ends its iteration with an error that no coroutine may raise.
        if isinstance(error.__cause__, StopIteration) and error.args == _STOPPED:
            raise error.__cause__ from None
        raise
    coroutine.close()
    msg = "a suspending leaf was reached from sync code: call the `a` twin from async code"
    raise WouldBlock(msg)
