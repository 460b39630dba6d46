"""A durable journal in one SQLite file: what `append` has returned from is on the disk."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import unquote

from escala.errors import ConfigError, EscalaError, JournalFull, JournalTaken, StoreUnavailable
from escala.kernel.runtime import Parker, Runtime, colours, drive
from escala.kernel.units import PositiveDuration
from escala.kernel.wrong_value import WrongValue, shown
from escala.stores.journal_file import JournalFile, Owner, Rows
from escala.stores.url_parameters import checked

Replay: TypeAlias = Callable[[int, bytes], None]
Ended: TypeAlias = Callable[[int, BaseException | None], None]
"""Told once how a record fared: its number, or the error and 0. Quick; in the order of numbers."""

_SCHEME = "sqlite:///"
_MOST_WAITING = 100_000  # records
_LARGEST_COMMIT = 8 * 2**20  # bytes
_BEATS = 4  # in a lease
_NUMBERS = 40  # bits that are counted through by one owner: a billion records a day for 3 years


class _Ticket:
    """What is asked of the I/O thread, and where the one who asked waits for it."""

    __slots__ = ("body", "ended", "error", "number", "parker", "rows", "takes_number")

    def __init__(
        self,
        parker: Parker | None = None,
        *,
        rows: Rows | None = None,
        body: bytes | None = None,
        ended: Ended | None = None,
    ) -> None:
        self.parker, self.rows, self.body, self.ended = parker, rows, body, ended
        self.takes_number = ended is not None
        self.number = 0
        self.error: BaseException | None = None

    def end(self) -> None:
        if self.ended is not None:
            try:
                self.ended(self.number, self.error)
            except Exception:  # noqa: BLE001  the others' records go on; the bug is still shown
                sys.excepthook(*sys.exc_info())


class Journal:
    """Numbered records that survive a crash, from threads and tasks at once.

    One thread owns the file. It takes all that waits, writes it in one commit, syncs that
    (`synchronous=FULL`), and only then tells those who wait: the more of them, the less each pays
    for the sync. `url` is "sqlite:///wb.db", with "?lease=5s" for another lease.

    Numbers only grow, also from one process to the next, since their upper bits are the owner's
    token. One process owns the file at a time. Another is refused (`JournalTaken`) while the
    first lives; it takes over at once when the first has ended, and when the first has given no
    sign of life for a whole lease. Then the first one's next write is refused with `JournalTaken`
    and changes nothing. No clock is compared: a lease is time that the other one has watched.

    Every method raises `JournalTaken`, `JournalFull` when the disk is full, or else
    `StoreUnavailable`. A caller that is cancelled while it waits does not know whether its record
    was written.
    """

    def __init__(self, url: str) -> None:
        found = checked(url, {"lease"}) if url.startswith(_SCHEME) else {}
        path = unquote(url.partition("?")[0].removeprefix(_SCHEME))
        if not url.startswith(_SCHEME) or not path:
            raise ConfigError(
                "expected a file such as 'sqlite:///wb.db' or, from the root, "
                f"'sqlite:////var/lib/wb.db'; found {shown(url)}"
            )
        try:
            self.lease = float(PositiveDuration(found.get("lease", "5s")))
        except WrongValue as error:
            raise ConfigError(f"lease: {error}") from error
        self._file = JournalFile(path)
        self._inbox: queue.SimpleQueue[_Ticket | None] = queue.SimpleQueue()
        self._owed: dict[int, bytes | None] = {}
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._lost: BaseException | None = JournalTaken(f"the journal {path} is not open")
        self._process = self._last = 0
        self._holds = False
        self._runtime, self._beaten = colours.thread, 0.0

    def open(self, replay: Replay, opened: Callable[[BaseException | None], None]) -> None:
        """Become the file's owner, in the I/O thread, which tells `opened` how that went.

        Before, `replay` is told every record in the file, in order. It may take a lease until it
        is known whether another owner lives.
        """
        with self._lock:
            if not _claim_path(self._file.path):
                raise JournalTaken(f"the journal {self._file.path}: this process has it open")
            self._holds, self._process, self._runtime = True, os.getpid(), colours.thread
            self._inbox = queue.SimpleQueue()
            self._thread = None
            if colours.real:
                self._thread = threading.Thread(
                    target=self._serve, args=(replay, opened), name="escala-journal", daemon=True
                )
                self._thread.start()
                return
        error = self._begin(replay)
        if error is not None:
            self._end()
        opened(error)

    async def append(
        self, body: bytes | None, runtime: Runtime, ended: Ended = lambda *_: None
    ) -> int:
        """The record's number, once the record is on the disk; None takes a number, and no room.

        `ended` is told the outcome, from the I/O thread and before this returns; also when the
        caller has been cancelled. What it does has been done for all smaller numbers before.
        """
        ticket = _Ticket(runtime.parker(), body=body, ended=ended)
        try:
            if self._inbox.qsize() >= _MOST_WAITING:
                raise JournalFull(
                    f"the journal {self._file.path}: {_MOST_WAITING:,} records wait for the disk"
                )
            self._post(ticket)
        except EscalaError as error:
            ticket.error = error
            ticket.end()
            raise
        return await self._outcome(ticket)

    async def commit(self, rows: Rows, runtime: Runtime) -> None:
        """Change records that are there; nothing that was to change before is left undone then."""
        ticket = _Ticket(runtime.parker(), rows=rows)
        self._post(ticket)
        await self._outcome(ticket)

    async def confirm(self, runtime: Runtime) -> None:
        """Return if this process is still the owner. It needs no room, and mostly no sync."""
        ticket = _Ticket(runtime.parker())
        self._post(ticket)
        await self._outcome(ticket)

    def change(self, rows: Rows) -> None:
        """Change records soon, without waiting for it; what fails is tried again with the next."""
        self._post(_Ticket(rows=rows))

    def owe(self, rows: Rows) -> None:
        """As `change`, but only beside the next commit. To be called by an `Ended` or a replay."""
        self._owed.update(rows)

    async def close(self, runtime: Runtime) -> None:
        """Write what is asked for, let the next process have the file, and close it."""
        if self._process != os.getpid() or not self._holds:
            return
        thread = self._thread
        if thread is None:
            self._work([])
            self._end()
            return
        ticket = _Ticket(runtime.parker())
        self._inbox.put(ticket)
        self._inbox.put(None)
        assert ticket.parker is not None  # noqa: S101
        await ticket.parker.park()
        thread.join()

    def _post(self, ticket: _Ticket) -> None:
        if self._process not in {0, os.getpid()}:
            raise JournalTaken(
                f"the journal {self._file.path} was opened before this process was forked, and "
                "belongs to its parent: open one of its own in each process"
            )
        thread = self._thread
        if thread is not None and thread is threading.current_thread() and ticket.parker:
            raise RuntimeError("a function that the journal calls cannot wait for the journal")
        with self._lock:  # so that nothing is put into the inbox after it was emptied for good
            if self._lost is not None:
                raise again(self._lost)
            if thread is None:
                self._work([ticket])
            else:
                self._inbox.put(ticket)

    async def _outcome(self, ticket: _Ticket) -> int:
        if self._thread is not None:
            assert ticket.parker is not None  # noqa: S101
            await ticket.parker.park()
        if ticket.error is not None:
            raise ticket.error
        return ticket.number

    # What follows runs in the I/O thread; in virtual time where it is asked for.

    def _serve(self, replay: Replay, opened: Callable[[BaseException | None], None]) -> None:
        error = self._begin(replay)
        closing = error is not None
        if closing:
            self._end()
        opened(error)
        del replay, opened
        while not closing:
            batch, closing = self._batch()
            self._work(batch)
            if closing:
                self._end()

    def _begin(self, replay: Replay) -> BaseException | None:
        try:
            self._file.open()
            self._own()
            self._last = self._file.token << _NUMBERS
            for number, body in self._file.rows():
                replay(number, body)
        except BaseException as error:  # noqa: BLE001  it belongs to the caller of `open`
            return error
        self._beaten = self._runtime.now()
        self._lost = None
        return None

    def _own(self) -> None:
        owner: Owner | None = self._file.claim()
        runtime = self._runtime
        until = runtime.now() + self.lease
        while owner is not None:
            if runtime.now() < until:
                drive(runtime.sleep(self.lease / _BEATS / 4))
            silent = owner if runtime.now() >= until else None
            before, owner = owner, self._file.claim(silent)
            if owner not in {before, None}:
                raise JournalTaken(
                    f"the journal {self._file.path}: another process owns it, and lives: give "
                    "each process a file of its own, or let the other one end first"
                )

    def _batch(self) -> tuple[list[_Ticket], bool]:
        batch: list[_Ticket] = []
        size = 0
        try:
            ticket = self._inbox.get(timeout=self.lease / _BEATS)
            while ticket is not None:
                batch.append(ticket)
                size += len(ticket.body or b"")
                if size >= _LARGEST_COMMIT:
                    return batch, False
                ticket = self._inbox.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _work(self, batch: list[_Ticket]) -> None:
        fresh = self._numbered(batch)
        now = self._runtime.now()
        beat = now >= self._beaten + self.lease / _BEATS
        try:
            if fresh:
                self._file.need_room()
            self._file.write({**self._owed, **fresh}, beat=beat)
        except Exception as error:  # noqa: BLE001  whatever it is, those who wait are told
            self._failed(batch, fresh, error)
        else:
            self._owed.clear()
            if beat:
                self._beaten = now
        for ticket in batch:
            ticket.end()
        for ticket in batch:
            if ticket.parker is not None:
                ticket.parker.unpark()

    def _numbered(self, batch: list[_Ticket]) -> dict[int, bytes | None]:
        fresh: dict[int, bytes | None] = {}
        for ticket in batch:
            if ticket.rows:
                self._owed.update(ticket.rows)
            elif ticket.takes_number:
                self._last += 1
                ticket.number = self._last
                if ticket.body is not None:
                    fresh[self._last] = ticket.body
        return fresh

    def _failed(
        self, batch: list[_Ticket], fresh: dict[int, bytes | None], error: BaseException
    ) -> None:
        fresh_error: BaseException | None = error
        owed_error: BaseException | None = error
        owner_error: BaseException | None = error
        if isinstance(error, JournalFull):
            # Records that go make room, if they are not held up by those that come.
            with contextlib.suppress(StoreUnavailable):
                self._file.reclaim()
            made_room = bool(self._owed)
            owed_error = self._tried(self._owed)
            owner_error = None if owed_error is None else self._tried({})
            if made_room and owed_error is None:
                fresh_error = self._tried(fresh, comes=True)
        if not isinstance(fresh_error, JournalFull | None):
            # They may be on the disk though no one is told so: they must not come back after
            # what is written later.
            self._owed.update(dict.fromkeys(fresh))
        for each in (fresh_error, owner_error):
            if isinstance(each, JournalTaken):
                self._lost = each
        for ticket in batch:
            refused = owner_error
            if ticket.body is not None:
                refused = fresh_error
            elif ticket.rows is not None:
                refused = owed_error
            if refused is not None:
                ticket.error, ticket.number = again(refused), 0

    def _tried(self, rows: dict[int, bytes | None], *, comes: bool = False) -> BaseException | None:
        try:
            if comes and rows:
                self._file.need_room()
            self._file.write(rows)
        except Exception as error:  # noqa: BLE001  whatever it is, those who wait are told
            return error
        rows.clear()
        return None

    def _end(self) -> None:
        """Let go of the file."""
        with self._lock:
            ours, self._lost = (
                self._lost is None,
                self._lost or JournalTaken(f"the journal {self._file.path} is closed"),
            )
        if ours:
            with contextlib.suppress(StoreUnavailable):  # the next owner finds that we are gone
                self._file.release()
        while not self._inbox.empty():
            ticket = self._inbox.get()
            if ticket is not None:
                ticket.error = again(self._lost)
                ticket.end()
                if ticket.parker is not None:
                    ticket.parker.unpark()
        self._file.close()
        self._holds = False
        _release_path(self._file.path)


def again(error: BaseException) -> BaseException:
    """For each who waits an error of its own, since tracebacks and notes are not to be shared."""
    return type(error)(*error.args) if isinstance(error, EscalaError) else error


_open_paths: dict[str, int] = {}
_paths_lock = threading.Lock()


def _claim_path(path: str) -> bool:
    """Whether this process has not opened the file yet: the kernel's locks are a process's own."""
    real = os.path.realpath(path)
    with _paths_lock:
        if _open_paths.get(real) == os.getpid():
            return False
        _open_paths[real] = os.getpid()
        return True


def _release_path(path: str) -> None:
    with _paths_lock:
        _open_paths.pop(os.path.realpath(path), None)
