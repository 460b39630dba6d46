"""Run blocking functions from async code in a few threads of their own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Annotated, Any, ParamSpec, Self, TypeVar

import msgspec

from escala.errors import BulkheadFull
from escala.kernel.at_fork import begin_anew
from escala.kernel.config import options
from escala.kernel.runtime import colours
from escala.kernel.units import Duration
from escala.kernel.writer import differing
from escala.resilience.slots import Slots

T = TypeVar("T")
P = ParamSpec("P")


class _Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    threads: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 8
    queue: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] = 0
    wait: Duration | None = None

    def __post_init__(self) -> None:
        if self.wait is not None and not self.queue:
            raise ValueError(f"expected a queue for who waits {self.wait.text}, found none")


class ThreadBulkhead:
    """A bulkhead whose slots are threads, so that a blocking library stops no event loop.

    - `threads`: how many calls may run at once; started when first needed.
    - `queue`: how many more may wait; none by default. `wait`: the longest wait; by default only
      the deadline around the call ends it.

    It turns a `def` into something to await, as a decorator or by `run`. The function sees the
    caller's context: its deadline (`escala.time_left()`), its request. Any number of event loops
    may share one. It is no `Policy`, since it changes what a function is.

    A caller that is cancelled, or whose deadline ends, leaves at once; but no one can stop a
    thread, so its slot comes free only **when the function has really ended**: a library that
    hangs takes these threads and no others.

    Raises `BulkheadFull`, or `DeadlineExceeded` when the deadline comes in the queue.

    >>> import asyncio
    >>> pool = ThreadBulkhead(2)
    >>> asyncio.run(pool.run(len, "tea"))
    3
    >>> pool.close()
    """

    def __init__(
        self,
        threads: int = 8,
        *,
        queue: int = 0,
        wait: float | str | None = None,
        name: str = "thread_bulkhead",
    ) -> None:
        self.name = name
        given = {"threads": threads, "queue": queue, "wait": wait}
        self.options = options(_Options, given, where="ThreadBulkhead")
        self._slots = Slots(threads, queue, name=name)
        self._lock = self._slots.lock
        self._closed = False
        self._begin()
        begin_anew(self, ThreadBulkhead._forked)

    def _begin(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = self._started = 0

    def _forked(self) -> None:
        self._slots.forked()
        self._begin()

    def __repr__(self) -> str:
        words = [f"{key}={value!r}" for key, value in differing(self.options).items()]
        if self.name != "thread_bulkhead":
            words.append(f"name={self.name!r}")
        return f"ThreadBulkhead({', '.join(words)})"

    def snapshot(self) -> dict[str, float]:
        """For metrics: slots `in_use`, and calls `waiting` for one."""
        with self._lock:
            machine = self._slots.machine
            busy = self._slots.count - machine.free
            return {"in_use": float(busy), "waiting": float(machine.waiting)}

    def __call__(self, fn: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
        """Decorate a blocking function: what comes out is to be awaited.

        Raises `TypeError` for an async function: that is for `Bulkhead`.
        """
        if inspect.iscoroutinefunction(fn):
            msg = f"{fn.__qualname__} is async, so it needs no thread: decorate it with a Bulkhead"
            raise TypeError(msg)

        @functools.wraps(fn)
        async def in_a_thread(*args: P.args, **kwargs: P.kwargs) -> T:
            return await self.run(fn, *args, **kwargs)

        return in_a_thread

    async def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function in one of the threads and return what it returns."""
        loop = asyncio.get_running_loop()  # where there is none, no slot has been taken yet
        with self._lock:
            taken = self._slots.machine.take()
        if not taken:
            await self._slots.take(colours.loop, self.options.wait)
        return await self._handed(functools.partial(fn, *args, **kwargs), loop)

    async def _handed(self, fn: Callable[[], T], loop: asyncio.AbstractEventLoop) -> T:
        """Give the call to a thread, and with it the slot."""
        answer: asyncio.Future[T] = loop.create_future()
        context = copy_context()

        def job() -> None:
            outcome = (None, None) if answer.cancelled() else _outcome(context, fn)
            with self._lock:
                self._idle += 1  # before anyone can use the slot, so that no new thread is started
            self._slots.leave()
            with contextlib.suppress(RuntimeError):  # its loop is closed: no one is left to tell
                loop.call_soon_threadsafe(_settle, answer, *outcome)

        try:
            self._submit(job)
        except BaseException:
            self._slots.leave()
            raise
        return await answer

    def _submit(self, job: Callable[[], None]) -> None:
        with self._lock:  # so that no job comes behind what `close` puts there
            if self._closed:
                raise BulkheadFull(self.name, "it is closed")
            if self._idle:
                self._idle -= 1
            elif self._started < self.options.threads:
                self._start()
            self._jobs.put(job)

    def _start(self) -> None:
        name = f"{self.name}-{self._started + 1}"
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except RuntimeError as error:
            reason = f"the system gives it no thread: {error}"
            raise BulkheadFull(self.name, reason) from error
        self._started += 1

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            job()
            del job  # and what it holds, before the wait for the next one

    def close(self) -> None:
        """Take no more calls; each thread ends after the one that it is in."""
        with self._lock:
            if not self._closed:
                self._closed = True
                for _ in range(self._started):
                    self._jobs.put(None)

    def __enter__(self) -> Self:
        """Use it in a block that closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def _outcome(context: Context, fn: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return context.run(fn), None
    except BaseException as error:  # noqa: BLE001  all of it belongs to the caller
        return None, error


def _settle(answer: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if answer.done():  # its caller has gone
        return
    if error is None:
        answer.set_result(result)
    elif isinstance(error, StopIteration):  # no future may raise it
        wrapped = RuntimeError("the function raised StopIteration")
        wrapped.__cause__ = error
        answer.set_exception(wrapped)
    else:
        answer.set_exception(error)
