"""One SQLite connection per thread, and a transaction that tries again while another writes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from escala import Retry

T = TypeVar("T")


class Busy(ConnectionError):
    """Another process holds SQLite's write lock; nothing was written, so trying again is safe."""


class Database:
    """The shop's database file, shared by all instances of the shop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            # `rw`, not `rwc`: a mistyped path is an error, not a new empty shop.
            uri = f"{self._path.absolute().as_uri()}?mode=rw"
            # Each thread uses its own; only `close` reaches for those of others.
            found = sqlite3.connect(
                uri, uri=True, timeout=0.05, isolation_level=None, check_same_thread=False
            )
            self._opened.append(found)
            found.row_factory = sqlite3.Row
            found.execute("PRAGMA synchronous = NORMAL")
            found.execute("PRAGMA cache_size = -8000")
            self._local.connection = found
        return found

    def close(self) -> None:
        """Close the connections of all threads, once none of them works any more."""
        while self._opened:
            self._opened.pop().close()
        self._local = threading.local()

    @Retry(on=(Busy,), attempts=6, base=0.01, cap=0.1)
    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction: all of it is kept, or none."""
        db = self.connection
        try:
            db.execute("BEGIN IMMEDIATE")  # take the write lock first, before anything is read
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise Busy(str(error)) from error
            raise
        try:
            result = work(db)
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
        return result
