"""What sends the writes: a thread of its own, for both colours; in virtual time a task."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import math
import sys
import threading
from collections.abc import Callable
from typing import Any

from escala.caching.events import WriteFailed, WriteFlushed, WriteParked
from escala.caching.pure.write_place import Done, Entry
from escala.caching.pure.write_queue import WriteQueue
from escala.caching.write import Write, record_of
from escala.caching.write_waiter import Waiter
from escala.errors import JournalTaken, StoreUnavailable
from escala.kernel.events import publish
from escala.kernel.runtime import Parker, Runtime, colours, drive
from escala.stores.journal import Journal
from escala.stores.memory_journal import MemoryJournal

_JOURNAL_PAUSE = 1.0  # seconds, while the journal cannot say whether it is still ours


class WriteFlusher:
    """Takes what is due out of the queue, and tells the queue how it fared."""

    def __init__(
        self,
        save_many: Callable[[list[Write]], Any],
        queue: WriteQueue[Waiter],
        journal: Journal | MemoryJournal,
        decode: Callable[[str, bytes], object],
        lost: Callable[[JournalTaken], None],
        *,
        merges: bool,
        name: str,
        draw: Callable[[], float],
    ) -> None:
        self.queue, self.lock, self._name = queue, threading.RLock(), name
        self._save_many, self._journal, self._decode = save_many, journal, decode
        self._lost, self._merges = lost, merges
        self._draw = draw
        self._parker: Parker | None = None
        self._until = math.inf
        self._stopping = False
        self._started = self._running = False
        self._joining: list[Parker] = []
        self._now = colours.thread.now

    def start(self) -> None:
        """Begin; the loop that virtual time runs in has to be running."""
        self._now = colours.thread.now
        self._started = self._running = True
        if colours.real:
            threading.Thread(target=self._thread, name="escala-write-behind", daemon=True).start()
            return
        # In a context of its own: the deadline of who happened to be first is not ours.
        runtime = colours.loop
        contextvars.Context().run(
            runtime.beside, lambda: self._run(runtime), self._end, lambda _: False
        )

    def wake(self) -> None:
        """Something may have become due earlier."""
        with self.lock:
            if self._started and not self._running and not self._stopping:
                self.start()  # the loop of virtual time ended, and another began
            elif self._parker is not None and (
                self._stopping or self.queue.due(self._now()) < self._until
            ):
                self._parker.unpark()
                self._parker = None

    def stop(self) -> None:
        """End after the batch that is being sent."""
        with self.lock:
            self._stopping = True
        self.wake()

    async def join(self, limit: float, runtime: Runtime) -> None:
        """Wait until it has ended, but not for longer than `limit` seconds."""
        parker = runtime.parker()
        with self.lock:
            if not self._running:
                return
            self._joining.append(parker)
        await parker.park(limit)

    def do(self, done: Done[Waiter], error: BaseException | None = None) -> None:
        """What follows from an outcome. To be called without the lock."""
        for waiter in done.through:
            if error is None and waiter.saved is not None:
                waiter.saved()
            waiter.end(error)
        for entry in done.parked:
            publish(
                WriteParked(name=self._name, at=self._now(), key=entry.key, sequence=entry.sequence)
            )
        self.hand_on(done.wake)

    def hand_on(self, wake: list[Waiter]) -> None:
        """Wake them; the place of one whose loop is gone goes to the next."""
        while wake:
            waiter = wake.pop()
            if not waiter.end(None):
                with self.lock:
                    wake += self.give_back(waiter)

    def give_back(self, waiter: Waiter) -> list[Waiter]:
        """Take back the place that a waiter has got, unless it has none. With the lock."""
        key, waiter.place = waiter.place, None
        return [] if key is None else self.queue.withdraw(key)

    def _end(self, _: object = None, __: object = None) -> None:
        with self.lock:
            self._running, self._parker = False, None
            joining, self._joining = self._joining, []
        for parker in joining:
            parker.unpark()

    def _thread(self) -> None:
        try:
            if is_async(self._save_many):
                asyncio.run(self._run(colours.loop))
            else:
                drive(self._run(colours.thread))
        except BaseException:  # noqa: BLE001  a thread has no one to raise to
            sys.excepthook(*sys.exc_info())
        finally:
            self._end()

    async def _run(self, runtime: Runtime) -> None:
        while True:
            batch: list[Entry[Waiter]] = []
            parker: Parker | None = None
            with self.lock:
                if self._stopping:
                    return
                now = runtime.now()
                at = self.queue.due(now)
                if at <= now:
                    batch = self.queue.take(now)
                else:
                    self._parker = parker = runtime.parker()
                    self._until = at
            if parker is not None:
                await parker.park(None if at == math.inf else at - now)
            else:
                await self._send(batch, runtime)

    async def _send(self, batch: list[Entry[Waiter]], runtime: Runtime) -> None:
        try:
            writes = self._writes(batch)
            if sealed := self._sealed(batch):
                await self._journal.commit(sealed, runtime)
            else:  # is it still ours? What another has taken over is its own.
                await self._journal.confirm(runtime)
        except JournalTaken as error:
            self._return(math.inf)
            self.stop()
            self._lost(error)
            return
        except StoreUnavailable:
            self._return(runtime.now() + _JOURNAL_PAUSE)
            return
        except BaseException:
            self._return(-math.inf)
            raise
        if writes:
            await self._save(writes, runtime)

    async def _save(self, writes: list[Write], runtime: Runtime) -> None:
        began = runtime.now()
        try:
            answer = self._save_many(writes)
            if inspect.isawaitable(answer):
                await answer
        except BaseException as error:
            if _being_cancelled():
                self._return(-math.inf)
                raise
            self._failed(writes, error)
            return
        with self.lock:
            done = self.queue.saved()
        self._forget(done)
        unsettled = await self._settled(runtime) if done.through else None
        publish(
            WriteFlushed(
                name=self._name, at=runtime.now(), count=len(writes), took=runtime.now() - began
            )
        )
        self.do(done, unsettled)

    def _failed(self, writes: list[Write], error: BaseException) -> None:
        cause = f"{type(error).__name__}: {error}"
        with self.lock:
            done = self.queue.failed(self._now(), self._draw(), cause)
        self._forget(done)
        publish(WriteFailed(name=self._name, at=self._now(), count=len(writes), cause=cause))
        self.do(done, error)

    def _forget(self, done: Done[Waiter]) -> None:
        if done.rows:
            # The next commit says so; whoever has the journal now saves them once more.
            with contextlib.suppress(JournalTaken):
                self._journal.change(dict.fromkeys(done.rows))

    async def _settled(self, runtime: Runtime) -> BaseException | None:
        """An error if the journal may still hold what a write that went through has overwritten."""
        try:
            await self._journal.commit({}, runtime)
        except (StoreUnavailable, JournalTaken) as error:
            return error
        return None

    def _return(self, until: float) -> None:
        with self.lock:
            self.queue.returned(until)

    def _writes(self, batch: list[Entry[Waiter]]) -> list[Write]:
        writes = []
        for entry in batch:
            try:
                value = None if entry.deleted else self._decode(entry.key, entry.payload)
            except Exception as error:  # noqa: BLE001  whatever a user's codec may raise
                with self.lock:
                    done = self.queue.reject(entry, f"{type(error).__name__}: {error}")
                self.do(done, error)
            else:
                writes.append(Write(entry.key, value, entry.sequence, entry.deleted))
        return writes

    def _sealed(self, batch: list[Entry[Waiter]]) -> dict[int, bytes | None]:
        """Of merged writes one row, as it is going to be sent: it cannot be merged any more."""
        rows: dict[int, bytes | None] = {}
        if self._merges:
            with self.lock:
                for entry in batch:
                    if entry.through is None:
                        rows.update(compacted(entry, sealed=True))
        return rows


def compacted(entry: Entry[Waiter], *, sealed: bool) -> dict[int, bytes | None]:
    """How to make one row of an entry's many. With the lock."""
    rows: dict[int, bytes | None] = dict.fromkeys(entry.rows)
    rows[entry.sequence] = record_of(entry.key, entry.payload, deleted=entry.deleted, sealed=sealed)
    entry.rows = [entry.sequence]
    return rows


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a call of it has to be awaited."""
    runs: Any = getattr(function, "func", function)  # of a partial
    return inspect.iscoroutinefunction(runs if inspect.isroutine(runs) else type(runs).__call__)


def _being_cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return task is not None and task.cancelling() > 0
