"""Writes that are acknowledged once a journal has them, and reach the source in batches."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from escala.caching.codec import Codec, codec_of
from escala.caching.events import WriteBehindStopped
from escala.caching.write import ParkedWrite, Pending, Write
from escala.caching.write_desk import Given, WriteDesk
from escala.caching.write_options import Durability, OnFull, WriteOptions
from escala.caching.write_waiter import Waiter
from escala.errors import ConfigError, DeadlineExceeded, EscalaError, JournalTaken, Shed
from escala.kernel.config import options
from escala.kernel.events import publish
from escala.kernel.runtime import Runtime, colours, drive, wall
from escala.kernel.units import Duration
from escala.stores.journal import Journal, again
from escala.stores.memory_journal import MemoryJournal

_CLOSE = 1.0  # seconds for a batch to end, when the time to drain is up


class WriteBehind:
    """Acknowledge writes once a journal has them, and save them at the source in batches.

    For counters, last-seen times and other values that are written far more often than anyone
    reads them from the source. `save_many` is a `def` or `async def` that gets a list of `Write`
    and returns when the source has them. It runs in a thread of this object (an async one on a
    loop of its own there), one batch at a time, with each key at most once. It must not write to
    the same `WriteBehind`.

    - `journal`: the file, such as "sqlite:///wb.db". One process owns it at a time, and
      `JournalTaken` refuses others; see `Journal`.
    - `flush`: a write is sent at the latest so long after it came (seconds, or "200ms"); sooner
      when `max_batch` keys or `max_bytes` are pending. Writes of one key within that time are
      one: the last, or what `merge(older, newer)` makes of them.
    - `max_pending`: how many keys may be pending. `on_full` says what becomes of a write above
      that, or when the journal's disk is full: "block" waits, up to the deadline around the call;
      "shed" raises `Shed`; "write_through" waits until the source has it.
    - `durability`: "journal" loses no acknowledged write, neither by a SIGKILL nor by a power
      failure, if the disk keeps what it has synced. "memory" acknowledges at once and loses all
      that is pending when the process is killed: what came within `flush`, or while the source
      was away.
    - `park_after`: a batch that fails is halved until the write is found that the source does not
      take. It is tried again alone, with a growing wait from `backoff` to `max_backoff`, and is
      parked after so many failures if the source meanwhile took others; a source that takes
      nothing at all is away, and its writes are tried for as long as that lasts. A newer write of
      the key replaces a parked one. A restart tries them again.
    - `drain`: how long `close`, and the end of the program, wait for the source.
    - `codec` and `kind`: how values are kept, and the type they are read back as (`Codec`).
      `save_many` gets them as they are read back, the same before a crash and after it.
    - `told`: is called with each accepted write, in order, from the journal's thread.

    Writes are at least once: after a failure or a crash a write may come again, with the same
    `sequence`. A source that ignores a sequence not above the one it has saves each once, also
    with `merge`: what may have been sent is not merged again. It is also what keeps a process
    that slept, and lost its journal to another, from overwriting newer values.

    >>> saved = {}
    >>> def save_many(writes):
    ...     saved.update((write.key, write.value) for write in writes)
    >>> with WriteBehind(save_many, durability="memory", merge=lambda old, new: old + new) as views:
    ...     _ = [views.set("page:1", 1) for _ in range(2)]
    >>> saved
    {'page:1': 2}
    """

    Options = WriteOptions

    def __init__(
        self,
        save_many: Callable[[list[Write]], Any],
        *,
        journal: str | None = None,
        flush: float | str = "200ms",
        max_batch: int = 500,
        max_bytes: int | str = "4MiB",
        max_pending: int = 100_000,
        on_full: OnFull = "block",
        durability: Durability = "journal",
        merge: Callable[[Any, Any], Any] | None = None,
        park_after: int = 5,
        backoff: float | str = "100ms",
        max_backoff: float | str = "10s",
        drain: float | str = "10s",
        codec: str | Codec = "msgpack",
        kind: Any = None,  # noqa: ANN401  any type form
        told: Callable[[Write], None] | None = None,
        name: str = "write_behind",
        rng: random.Random | None = None,
    ) -> None:
        given = {
            "flush": flush,
            "max_batch": max_batch,
            "max_bytes": max_bytes,
            "max_pending": max_pending,
            "on_full": on_full,
            "durability": durability,
            "park_after": park_after,
            "backoff": backoff,
            "max_backoff": max_backoff,
            "drain": drain,
        }
        self.options = options(self.Options, given, where="WriteBehind")
        functions: dict[str, object] = {"save_many": save_many, "merge": merge, "told": told}
        for word, function in functions.items():
            if not (callable(function) or (function is None and word != "save_many")):
                raise ConfigError(f"WriteBehind: {word}: expected a function, found {function!r}")
        if (journal is None) is (self.options.durability == "journal"):
            expected, found = ("none", "one") if journal else ("a file", "none")
            raise ConfigError(
                f"WriteBehind: journal: expected {expected} for durability "
                f"{self.options.durability!r}, found {found}"
            )
        self.name, self._url = name, journal
        self._given = Given(
            name=name,
            options=self.options,
            save_many=save_many,
            merge=merge,
            told=told,
            codec=codec_of(codec),
            kind=kind,
            draw=(rng or random.Random()).random,
        )
        self._journal = _journal(journal)
        self._desk = WriteDesk(self._given, self._journal, self._lose)
        self._lock = threading.RLock()  # of opening and closing; the queue has its own
        self._open = self._opening = False
        self._waiting_to_open: list[Waiter] = []
        self._process = os.getpid()
        self._abandoned: list[object] = []

    def __repr__(self) -> str:
        source = getattr(self._given.save_many, "__qualname__", None)
        source = source or repr(self._given.save_many)
        where = f"journal={self._url!r}" if self._url else "durability='memory'"
        return f"WriteBehind({source}, {where}, name={self.name!r})"

    # Writing

    def set(self, key: str, value: object) -> int:
        """Have the value saved, and return its sequence once it is as safe as `durability` says.

        Raises `Shed` when there is no room and `on_full` says so, `JournalTaken`,
        `StoreUnavailable`, `CannotEncode`, and `DeadlineExceeded`. With any of them the write was
        not acknowledged; it may be saved all the same if waiting for it was given up. Where
        `on_full="write_through"` steps in, the source's own error is raised.
        """
        return drive(self._write(key, value, colours.thread))

    async def aset(self, key: str, value: object) -> int:
        """Have the value saved; `set` in the other colour."""
        return await self._write(key, value, colours.loop)

    def delete(self, key: str) -> int:
        """Have the key deleted at the source, as `set` has a value saved."""
        return drive(self._write(key, Pending.DELETED, colours.thread))

    async def adelete(self, key: str) -> int:
        """Have the key deleted; `delete` in the other colour."""
        return await self._write(key, Pending.DELETED, colours.loop)

    # Reading

    def pending(self, key: str) -> Any:  # noqa: ANN401  the user's value
        """The key's value that the source may not have yet, also a parked one.

        `Pending.NOTHING` without one: ask the source. `Pending.DELETED` if it is to be deleted.
        With `merge` it is what is to be merged into the source. Raises `Undecodable`.
        """
        return drive(self.look(key, colours.thread))

    async def look(self, key: str, runtime: Runtime) -> Any:  # noqa: ANN401
        """`pending`, of the colour of a runtime: it waits while the journal is being opened."""
        return (await self._opened(runtime)).look(key)

    def parked(self) -> list[ParkedWrite]:
        """The writes that the source does not take, and the error it gave last."""
        return self._desk.parked()

    def retry_parked(self) -> int:
        """Try them again, now. Answers how many there are."""
        return self._desk.retry_parked()

    def snapshot(self) -> dict[str, float]:
        """For metrics.

        `pending` writes and their `bytes`, `keys` in use, how many writes are `in_flight`,
        `suspects`, `parked`, callers `waiting` for a place, and the age of the `oldest` write in
        seconds.
        """
        return self._desk.snapshot()

    # Life

    def open(self) -> Self:
        """Open the journal, and begin to save what is in it; the first use does so by itself."""
        drive(self._opened(colours.thread))
        return self

    async def aopen(self) -> Self:
        """Open the journal; `open` in the other colour."""
        await self._opened(colours.loop)
        return self

    def flush(self, limit: float | str | None = "30s") -> None:
        """Return when all that came before is saved, or parked.

        Raises `DeadlineExceeded` after `limit` (seconds, or text such as "5s"; None: no limit).
        """
        drive(self._flush(limit, colours.thread))

    async def aflush(self, limit: float | str | None = "30s") -> None:
        """Return when all is saved; `flush` in the other colour."""
        await self._flush(limit, colours.loop)

    def close(self) -> int:
        """Save what is pending, for at most `drain`, and close the journal.

        Answers how many writes are left: in the journal, for the next one who opens it, or lost
        without one. A write that comes later opens it again.
        """
        return drive(self._close(colours.thread))

    async def aclose(self) -> int:
        """Save what is pending and close; `close` in the other colour."""
        return await self._close(colours.loop)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await self.aopen()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _write(self, key: str, value: object, runtime: Runtime) -> int:
        if not isinstance(key, str):
            raise TypeError(f"{self.name}: expected a key that is text, found {key!r}")
        return await (await self._opened(runtime)).write(key, value, runtime)

    async def _flush(self, limit: float | str | None, runtime: Runtime) -> None:
        seconds = None if limit is None else float(Duration(limit))
        await (await self._opened(runtime)).flush(seconds, runtime)

    # Opening and closing

    async def _opened(self, runtime: Runtime) -> WriteDesk:
        """What takes the writes, when the journal is open and what it held is pending."""
        while not self._is_open():
            waiter = Waiter(runtime.parker())
            with self._lock:
                if self._process != os.getpid():
                    self._forget_parent()
                if self._open:
                    break
                self._waiting_to_open.append(waiter)
                first, self._opening = not self._opening, True
            if first:
                await self._begin(runtime)
            await waiter.parker.park()
            if waiter.error is not None:
                raise waiter.error
        return self._desk

    def _is_open(self) -> bool:
        return self._open and self._process == os.getpid()

    async def _begin(self, runtime: Runtime) -> None:
        try:
            await self._journal.close(runtime)  # it may be open still, and another's
            desk = WriteDesk(self._given, self._journal, self._lose)
            self._desk = desk
            self._journal.open(desk.replay, self._has_opened)
        except (EscalaError, OSError) as error:
            # The deadline is this caller's own; one of the others has another try.
            self._has_opened(None if isinstance(error, DeadlineExceeded) else error, opened=False)
            raise
        except BaseException:
            self._has_opened(None, opened=False)
            raise

    def _has_opened(self, error: BaseException | None, *, opened: bool = True) -> None:
        with self._lock:
            self._open, self._opening = opened and error is None, False
            waiting, self._waiting_to_open = self._waiting_to_open, []
        if self._open:
            self._desk.flusher.start()
            if colours.real:
                atexit.register(self._at_exit)
        for waiter in waiting:
            waiter.end(error if error is None else again(error))

    def _forget_parent(self) -> None:
        """This is a forked child: the journal and all that is pending are its parent's."""
        self._process = os.getpid()
        self._open = self._opening = False
        self._waiting_to_open = []
        # Neither to use nor to close: SQLite would drop locks that are the parent's.
        self._abandoned.append(self._journal)
        self._journal = _journal(self._url)

    def _lose(self, desk: WriteDesk, error: JournalTaken) -> None:
        """The journal is another's, and so is all that is pending."""
        with self._lock:
            if desk is not self._desk or not self._open:
                return
            self._open = False
        desk.release(error)
        publish(WriteBehindStopped(name=self.name, at=colours.thread.now(), reason=str(error)))

    async def _close(self, runtime: Runtime) -> int:
        if not self._is_open():
            return 0
        desk = self._desk
        with contextlib.suppress(EscalaError):
            await desk.flush(float(self.options.drain), runtime)
        with self._lock:
            if not self._is_open() or desk is not self._desk:
                return 0  # someone else was quicker
            self._open = False
        desk.release(Shed(self.name, "it is being closed"))
        with contextlib.suppress(DeadlineExceeded):
            await desk.flusher.join(_CLOSE, runtime)
        await self._journal.close(runtime)
        atexit.unregister(self._at_exit)
        return desk.queue.entries

    def _at_exit(self) -> None:
        if self._process == os.getpid():
            self.close()


def _journal(url: str | None) -> Journal | MemoryJournal:
    if url is None:
        # Microseconds: no one writes so fast that the next run would count below this one.
        return MemoryJournal(int(wall() * 1e6) if colours.real else 1)
    try:
        return Journal(url)
    except ConfigError as error:
        raise ConfigError(f"WriteBehind: journal: {error}") from error
