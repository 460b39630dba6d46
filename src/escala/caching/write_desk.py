"""Between the callers, the journal and the queue: one opening of a write-behind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from escala.caching.codec import Codec
from escala.caching.events import WriteShed
from escala.caching.pure.write_place import Entry
from escala.caching.pure.write_queue import WriteQueue
from escala.caching.write import ParkedWrite, Pending, Write, read_record, record_of
from escala.caching.write_flusher import WriteFlusher, compacted
from escala.caching.write_options import WriteOptions
from escala.caching.write_waiter import Waiter
from escala.errors import DeadlineExceeded, JournalFull, JournalTaken, Shed
from escala.kernel.events import publish
from escala.kernel.runtime import Runtime, colours
from escala.resilience.events import FunctionFailed
from escala.resilience.pure.backoff import Backoff
from escala.stores.journal import Journal, again
from escala.stores.memory_journal import MemoryJournal

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0  # seconds, while a journal has no room
_MANY_ROWS = 64  # of one key, after which the journal keeps them as one


class Given(NamedTuple):
    """What a write-behind was made of."""

    name: str
    options: WriteOptions
    save_many: Callable[[list[Write]], Any]
    merge: Callable[[Any, Any], Any] | None
    told: Callable[[Write], None] | None
    codec: Codec
    kind: Any
    draw: Callable[[], float]


class WriteDesk:
    """Takes writes until the journal is closed, or another's."""

    def __init__(
        self,
        given: Given,
        journal: Journal | MemoryJournal,
        lost: Callable[[WriteDesk, JournalTaken], None],
    ) -> None:
        self._given, self._journal = given, journal
        self._lost = partial(lost, self)
        opts = given.options
        self.queue: WriteQueue[Waiter] = WriteQueue(
            flush=opts.flush,
            max_batch=opts.max_batch,
            max_bytes=int(opts.max_bytes),
            max_pending=opts.max_pending,
            park_after=opts.park_after,
            backoff=Backoff(attempts=1, base=opts.backoff, cap=opts.max_backoff, jitter="equal"),
            merge=None if given.merge is None else self._merged,
        )
        self.flusher = WriteFlusher(
            given.save_many,
            self.queue,
            journal,
            self._decode,
            self._lost,
            merges=given.merge is not None,
            name=given.name,
            draw=given.draw,
        )
        self._lock = self.flusher.lock

    async def write(self, key: str, value: object, runtime: Runtime) -> int:
        """The write's sequence, once it is acknowledged."""
        deleted = value is Pending.DELETED
        payload = b"" if deleted else self._given.codec.dumps(value, self._given.kind, key)
        record = record_of(key, payload, deleted=deleted, sealed=False)
        write = Write(key, None if deleted else value, 0, deleted)
        pause = _FIRST_PAUSE
        while await self._admitted(key, runtime):
            try:
                return await self._journal.append(
                    record, runtime, partial(self._ended, write, payload, None)
                )
            except JournalFull as error:
                if self._goes_through(key, str(error)):
                    break
                await runtime.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except JournalTaken as error:
                self._lost(error)
                raise
        return await self._through(write, payload, runtime)

    async def _admitted(self, key: str, runtime: Runtime) -> bool:
        """Whether there is a place for this key, perhaps after a wait; or it is to go through."""
        waiter: Waiter | None = None
        with self._lock:
            if self.queue.admit(key):
                return True
            if self._given.options.on_full == "block":
                waiter = Waiter(runtime.parker(), place=key)
                self.queue.wait(key, waiter)
        if waiter is None:
            most = self._given.options.max_pending
            return not self._goes_through(key, f"writes of {most:,} keys are pending")
        try:
            await waiter.parker.park()
        except BaseException:
            with self._lock:
                left = self.queue.leave(waiter)
                wake = [] if left or waiter.error else self.flusher.give_back(waiter)
            self.flusher.hand_on(wake)
            raise
        if waiter.error is not None:
            raise waiter.error
        return True

    def _goes_through(self, key: str, reason: str) -> bool:
        """What becomes of a write for which there is no room."""
        name, opts = self._given.name, self._given.options
        if opts.on_full == "shed":
            publish(WriteShed(name=name, at=colours.thread.now(), key=key, reason=reason))
            raise Shed(name, reason, float(opts.flush))
        return opts.on_full == "write_through"

    async def _through(self, write: Write, payload: bytes, runtime: Runtime) -> int:
        waiter = Waiter(runtime.parker())
        with self._lock:
            self.queue.force(write.key)
        ended = partial(self._ended, write, payload, waiter)
        number = await self._journal.append(None, runtime, ended)
        await waiter.parker.park()
        if waiter.error is not None:
            raise waiter.error
        return number

    def _ended(
        self,
        write: Write,
        payload: bytes,
        through: Waiter | None,
        number: int,
        error: BaseException | None,
    ) -> None:
        """The journal has a write, or has refused it. In the journal's thread, in order."""
        if error is not None:
            with self._lock:
                wake = self.queue.withdraw(write.key)
            self.flusher.hand_on(wake)
            return
        tell = partial(self._tell, write._replace(sequence=number))
        entry = Entry(write.key, payload, number, deleted=write.deleted, through=through)
        if through is None:
            self._accept(entry, tell)
        else:
            through.saved = tell
            self._accept(entry)
        self.flusher.wake()

    def _tell(self, write: Write) -> None:
        if self._given.told is not None:
            try:
                self._given.told(write)
            except Exception:  # noqa: BLE001  the write is accepted; the bug is still shown
                sys.excepthook(*sys.exc_info())

    def replay(self, number: int, record: bytes) -> None:
        """Take a write out of the journal."""
        key, payload, deleted, sealed = read_record(record)
        with self._lock:
            self.queue.force(key)
        sealed = sealed and self._given.merge is not None
        self._accept(Entry(key, payload, number, deleted=deleted, sealed=sealed))

    def _accept(self, entry: Entry[Waiter], tell: Callable[[], None] | None = None) -> None:
        rows: dict[int, bytes | None] = {}
        with self._lock:
            if tell is not None:  # before it can be sent, and before anyone can see it
                tell()
            rows.update(dict.fromkeys(self.queue.accept(entry, colours.thread.now())))
            if len(entry.rows) >= _MANY_ROWS:
                rows.update(compacted(entry, sealed=False))
        if rows:
            self._journal.owe(rows)

    def _merged(self, key: str, older: bytes, newer: bytes) -> bytes | None:
        given = self._given
        assert given.merge is not None  # noqa: S101
        try:
            value = given.merge(self._decode(key, older), self._decode(key, newer))
            return given.codec.dumps(value, given.kind, key)
        except Exception as fault:  # noqa: BLE001  whatever a user's function may raise
            sys.excepthook(type(fault), fault, fault.__traceback__)
            at, cause = colours.thread.now(), type(fault).__name__
            publish(FunctionFailed(name=given.name, at=at, function="merge", cause=cause))
            return None

    def _decode(self, key: str, payload: bytes) -> object:
        return self._given.codec.loads(payload, self._given.kind, key)

    async def flush(self, limit: float | None, runtime: Runtime) -> None:
        """Return when all that has come is saved or parked."""
        waiter = Waiter(runtime.parker())
        with self._lock:
            if self.queue.flush(waiter):
                return
        self.flusher.wake()
        woken = False
        try:
            woken = await waiter.parker.park(limit)
        finally:
            if not woken:
                with self._lock:
                    self.queue.leave(waiter)
        if waiter.error is not None:
            raise waiter.error
        if not woken:
            raise DeadlineExceeded(
                f"{self._given.name}: the source has not taken all within {limit:g} s: "
                f"{self.queue.entries} writes are still pending"
            )

    def release(self, error: BaseException) -> None:
        """End every wait, and send no more."""
        self.flusher.stop()
        with self._lock:
            waiting = self.queue.everyone()
        for waiter in waiting:
            waiter.end(again(error))

    def look(self, key: str) -> Any:  # noqa: ANN401  the user's value
        """What is pending for a key."""
        with self._lock:
            found = self.queue.look(key)
        if found is None:
            return Pending.NOTHING
        deleted, payload = found
        return Pending.DELETED if deleted else self._decode(key, payload or b"")

    def parked(self) -> list[ParkedWrite]:
        """The first write of each key that is parked."""
        with self._lock:
            return [
                ParkedWrite(entry.key, entry.sequence, entry.deleted, cause)
                for entry, cause in self.queue.parked()
            ]

    def retry_parked(self) -> int:
        """Try them again, now."""
        with self._lock:
            count = self.queue.retry_parked(colours.thread.now())
        self.flusher.wake()
        return count

    def snapshot(self) -> dict[str, float]:
        """For metrics."""
        with self._lock:
            queue = self.queue
            return {
                "pending": float(queue.entries),
                "bytes": float(queue.bytes),
                "keys": float(queue.keys),
                "in_flight": float(queue.away),
                "suspects": float(queue.suspects),
                "parked": float(len(queue.parked())),
                "waiting": float(queue.waiting),
                "oldest": queue.oldest(colours.thread.now()),
            }
