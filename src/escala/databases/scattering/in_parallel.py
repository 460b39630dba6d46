"""Wait for several connections at once, in both colours: the first error ends the others."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection
from sqlalchemy.util import await_only, greenlet_spawn

from escala.errors import DeadlineExceeded
from escala.kernel.context import deadline
from escala.kernel.runtime import TOO_LATE, colours, drive
from escala.resilience.spare_threads import SpareThreads

T = TypeVar("T")
_THREADS = SpareThreads(128, name="escala-scatter")
_GRACE = 2.0  # seconds that a server has to end what was cancelled


def on_each(
    connections: Mapping[str, Connection], call: Callable[[str, Connection], T]
) -> dict[str, T]:
    """Run `call(name, connection)` for each of them at the same time; give what they return.

    Obeys the deadline in force (`DeadlineExceeded`). After the first error the others are
    cancelled on their servers, waited for, and the error is raised: no connection is left busy.
    SQLite's are asked in turn, since they may belong to a thread.
    """
    first = next(iter(connections.values()))
    if first.dialect.is_async:
        found: dict[str, T] = await_only(_on_loop(connections, call))
        return found
    if colours.thread.now() >= deadline():
        raise DeadlineExceeded(TOO_LATE)
    if len(connections) == 1 or first.dialect.name == "sqlite":
        return {name: call(name, connection) for name, connection in connections.items()}
    return _Threads(connections, call).run()


async def _on_loop(
    connections: Mapping[str, Connection], call: Callable[[str, Connection], T]
) -> dict[str, T]:
    async def together() -> dict[str, T]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    name: group.create_task(greenlet_spawn(call, name, connection))
                    for name, connection in connections.items()
                }
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return {name: task.result() for name, task in tasks.items()}

    return await colours.loop.race(together, deadline())


class _Threads(Generic[T]):
    """One scatter over threads: the caller waits for the last of them, or for the first error."""

    def __init__(
        self, connections: Mapping[str, Connection], call: Callable[[str, Connection], T]
    ) -> None:
        self._connections, self._call = connections, call
        self._lock = threading.RLock()
        self._found: dict[str, T] = {}
        self._failed: dict[str, BaseException] = {}
        self._first, self._last = colours.thread.parker(), colours.thread.parker()

    def run(self) -> dict[str, T]:
        for name in self._connections:
            context = contextvars.copy_context()
            work = partial(context.run, partial(self._work, name))
            if not _THREADS.hand_over(work):
                work()  # so many threads are busy that it is as well done here
        try:
            drive(self._first.park())
        except BaseException:
            self._end()
            raise
        if self._failed:
            error = next(iter(self._failed.values()))
            self._end()
            raise error
        return {name: self._found[name] for name in self._connections}

    def _work(self, name: str) -> None:
        try:
            found = self._call(name, self._connections[name])
        except BaseException as error:  # noqa: BLE001  it belongs to the caller
            with self._lock:
                self._failed[name] = error
                first, last = len(self._failed) == 1, self._ended()
        else:
            with self._lock:
                self._found[name] = found
                last = self._ended()
                first = last and not self._failed
        if first:
            self._first.unpark()
        if last:
            self._last.unpark()

    def _ended(self) -> bool:
        return len(self._found) + len(self._failed) == len(self._connections)

    def _busy(self) -> list[str]:
        with self._lock:
            return [
                name
                for name in self._connections
                if name not in self._found and name not in self._failed
            ]

    def _end(self) -> None:
        """Cancel what still runs, and wait until no thread uses a connection any more."""
        # Waited for: a cancellation that is late would end whatever the connection does next.
        _together([partial(_cancel, self._connections[name]) for name in self._busy()])
        if self._wait(_GRACE):
            return
        for name in self._busy():
            _cut(self._connections[name])
        self._wait(_GRACE)

    def _wait(self, seconds: float) -> bool:
        # In a context of its own: the deadline may be what ended the call.
        return contextvars.Context().run(lambda: drive(self._last.park(seconds)))


def _together(calls: Sequence[Callable[[], None]]) -> None:
    """Run what takes no longer than the grace by itself, and wait for all of it."""
    gate = threading.Semaphore(0)

    def run(call: Callable[[], None]) -> None:
        try:
            call()
        finally:
            gate.release()

    for call in calls:
        if not _THREADS.hand_over(partial(run, call)):
            run(call)
    for _ in calls:
        gate.acquire()


def _cancel(connection: Connection) -> None:
    """Ask the server to end what this connection waits for."""
    driver: Any = connection.connection.dbapi_connection
    with contextlib.suppress(Exception):
        if hasattr(driver, "cancel_safe"):
            driver.cancel_safe(timeout=_GRACE)
        else:
            driver.cancel()


def _cut(connection: Connection) -> None:
    """End a connection whose server does not answer: whoever waits for it gets an error."""
    driver: Any = connection.connection.dbapi_connection
    with contextlib.suppress(Exception), socket.socket(fileno=os.dup(driver.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)
