"""Invalidations as they are found in an SQLite file, by looking again and again."""

from __future__ import annotations

import os
import threading
from sqlite3 import Connection, Error, connect

from escala.caching.pure.signal import Signal, signal_of
from escala.caching.sqlite_life import prepare

_LOOK = 0.05  # parts of the bound
_EDGES = "SELECT min(id), max(id) FROM escala_value_signals"
_SINCE = "SELECT text FROM escala_value_signals WHERE id > ? AND id <= ? AND cache = ? ORDER BY id"


class SqliteWire:
    """Looks at the file's counter of changes twenty times in `bound`, which costs microseconds."""

    def __init__(self, path: str, cache: bytes, writer: str, *, bound: float) -> None:
        self.transport = "polling"
        self._path, self._cache, self._writer, self._bound = path, cache, writer.encode(), bound
        self._file: Connection | None = None
        self._process = os.getpid()
        self._quit = threading.Event()
        self._last, self._version = 0, -1

    def open(self) -> None:
        """Open the file, and begin with what comes from now on."""
        try:
            file = connect(
                self._path, timeout=self._bound, isolation_level=None, check_same_thread=False
            )
            self._file = file
            file.execute("PRAGMA journal_mode=WAL")
            prepare(file)
            _, last = file.execute(_EDGES).fetchone()
        except Error as error:
            raise OSError(str(error)) from error
        self._last = last or 0

    def hear(self) -> tuple[list[Signal], bool]:
        """Signals, at the next look."""
        if self._quit.wait(self._bound * _LOOK) or self._file is None:
            raise ConnectionAbortedError("it was closed")
        try:
            (version,) = self._file.execute("PRAGMA data_version").fetchone()
            if version == self._version:
                return [], False
            self._version = version
            return self._news(self._file)
        except Error as error:
            raise OSError(str(error)) from error

    def hang_up(self) -> None:
        """Have the thread that waits in `hear` end."""
        self._quit.set()

    def close(self) -> None:
        """Close the file; a forked child may not, since that would drop its parent's locks."""
        if self._file is None:
            return
        if self._process == os.getpid():
            self._file.close()
        else:
            _parents.append(self._file)

    def _news(self, file: Connection) -> tuple[list[Signal], bool]:
        file.execute("BEGIN")  # the edges and the texts as of one moment
        try:
            first, last = file.execute(_EDGES).fetchone()
            last = last or 0
            rows = file.execute(_SINCE, (self._last, last, self._cache)).fetchall()
        finally:
            file.execute("COMMIT")
        missed = last < self._last or (last > self._last and first > self._last + 1)
        self._last = last
        told: list[Signal] = []
        for (text,) in rows:
            try:
                signal = signal_of(text, self._writer)
            except ValueError:
                missed = True
            else:
                told += [signal] if signal else []
        return told, missed


_parents: list[Connection] = []  # not for a child to close, nor to lose
