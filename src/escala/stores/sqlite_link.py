"""One SQLite file that the processes of a machine share, for short steps one at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from sqlite3 import SQLITE_BUSY, SQLITE_LOCKED, Connection, Error, connect
from typing import TypeVar
from urllib.parse import unquote

from escala.errors import ConfigError, DeadlineExceeded, StoreUnavailable
from escala.kernel.at_fork import begin_anew, free, hold
from escala.kernel.context import remaining
from escala.kernel.runtime import Runtime
from escala.kernel.wrong_value import shown
from escala.stores.url_parameters import checked

T = TypeVar("T")

_SCHEME = "sqlite:///"
_PATIENCE = 0.5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0002, 0.005


class SqliteLink:
    """Runs steps in the file, each in a transaction that begins when no other is under way.

    A step takes some microseconds, a tenth of what it costs to hand it to another thread, so it
    runs where it is asked for, in an event loop too. It is the wait for another process that
    must not block: SQLite is told not to wait, and the link does, through the runtime, for at
    most half a second. In write-ahead mode with `synchronous=normal` a file survives a crash of
    the process whole, and a power failure without its last moments.
    """

    def __init__(self, url: str, schema: str) -> None:
        checked(url, known=())
        if not url.startswith(_SCHEME) or len(url) == len(_SCHEME) or "?" in url:
            raise ConfigError(
                f"expected a file such as 'sqlite:///limits.db' or, from the root, "
                f"'sqlite:////var/lib/limits.db'; found {shown(url)}"
            )
        self.path, self._schema = unquote(url.removeprefix(_SCHEME)), schema
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._process = 0
        self._abandoned: list[Connection] = []
        hold(self, self._lock)  # SQLite has locks of its own, inside its library
        begin_anew(self, SqliteLink._forked)

    def _forked(self) -> None:
        free(self._lock)

    async def run(self, step: Callable[[Connection], T], runtime: Runtime) -> T:
        """What the step answers. Raises `StoreUnavailable`, and then nothing is written.

        When the caller's own time is up before others are done, that is `DeadlineExceeded`.
        """
        now, pause = runtime.now(), _FIRST_PAUSE
        left = remaining(now)
        until = now + min(_PATIENCE, left)
        while True:
            try:
                with self._lock:
                    return self._once(step)
            except Error as error:
                # The low byte is the error, the rest says which kind of it.
                busy = getattr(error, "sqlite_errorcode", 0) & 0xFF in (SQLITE_BUSY, SQLITE_LOCKED)
                if not busy:
                    self.close()
                    raise StoreUnavailable(f"the SQLite file {self.path}: {error}") from error
                if runtime.now() >= until:
                    if left < _PATIENCE:
                        raise DeadlineExceeded(
                            "the call's time was up before others were done with the store"
                        ) from error
                    raise StoreUnavailable(
                        f"the SQLite file {self.path} was locked by others for {_PATIENCE:g} s: "
                        "another program holds a transaction open"
                    ) from error
            await runtime.sleep(min(pause, max(0.0, until - runtime.now())))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def close(self) -> None:
        """Close the file; the next step opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and self._process == os.getpid():
                connection.close()

    def __del__(self) -> None:
        """A limiter that no one has closed and no one uses any more holds no file open."""
        if hasattr(self, "_lock"):  # not if its URL was refused
            self.close()

    def _once(self, step: Callable[[Connection], T]) -> T:
        connection = self._opened()
        connection.execute("BEGIN IMMEDIATE")
        try:
            answer = step(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return answer

    def _opened(self) -> Connection:
        if self._connection is not None and self._process == os.getpid():
            return self._connection
        if self._connection is not None:
            # Of a forked child neither to use nor to close: that would drop its parent's locks.
            self._abandoned.append(self._connection)
        connection = connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(self._schema)
        except BaseException:
            connection.close()
            raise
        self._connection, self._process = connection, os.getpid()
        return connection
