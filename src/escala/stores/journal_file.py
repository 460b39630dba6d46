"""The file of a journal: its form, its one owner, and its rows."""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from escala.errors import ConfigError, JournalFull, JournalTaken, StoreUnavailable
from escala.stores.ballast import Ballast
from escala.stores.life_lock import LifeLock

Rows: TypeAlias = Mapping[int, bytes | None]
"""What is to stand in the rows of these numbers from now on; None: nothing."""

APPLICATION = int.from_bytes(b"EsJo")  # in the file's header, where `file` and SQLite show it
VERSION = 1

_CHECKPOINT = 250  # pages of 4 KiB, after which the log's are moved into the file
_ROOM = 2**20  # bytes: what a checkpoint may need on a full disk
_PATIENCE = 5.0  # seconds; no other program has a reason to hold a transaction open
_TABLES = """
    CREATE TABLE owner (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        token INTEGER NOT NULL,
        beats INTEGER NOT NULL,
        held INTEGER NOT NULL
    );
    CREATE TABLE row (number INTEGER PRIMARY KEY, crc INTEGER NOT NULL, body BLOB NOT NULL);
    INSERT INTO owner VALUES (1, 0, 0, 0);
"""


class Owner(NamedTuple):
    """Who owned the file when it was read, and how often it had said that it lives."""

    token: int
    beats: int


class JournalFile:
    """Rows in an SQLite file in write-ahead mode, each commit synced, of one owner at a time.

    Each owner has a greater `token` than all before. Every commit compares it first, in the same
    transaction: an owner that has been replaced, even one that slept for hours, writes nothing.
    For one thread at a time.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.token, self._released = 0, False
        self._connection: sqlite3.Connection | None = None
        self._life: LifeLock | None = None
        self._ballast = Ballast(f"{path}-room", _ROOM)

    def open(self) -> None:
        """Open the file, or make one.

        Raises `ConfigError` for a file of something else or of a newer Escala, and
        `StoreUnavailable` for one that cannot be opened or is damaged.
        """
        with self._told():
            connection = sqlite3.connect(
                self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        if self._life is None:
            try:
                self._life = LifeLock(f"{self.path}-owner")
            except OSError as error:
                raise StoreUnavailable(f"the journal {self.path}: {error}") from error

    def _prepare(self, connection: sqlite3.Connection) -> None:
        ours, version = _number(connection, "application_id"), _number(connection, "user_version")
        others = _value(connection, "SELECT count(*) FROM sqlite_master")
        if ours != APPLICATION and (ours or version or others):
            raise ConfigError(
                f"the journal {self.path}: expected a file that Escala made, or none; found an "
                "SQLite file of another program: name another file"
            )
        if version > VERSION:
            raise ConfigError(
                f"the journal {self.path}: expected version {VERSION} or older, found version "
                f"{version}: a newer Escala wrote it; use that one, at least until it has drained "
                "the file"
            )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT}")
        if ours == APPLICATION:
            report = _value(connection, "PRAGMA quick_check(1)")
            if report != "ok":
                raise self._damaged(str(report))
            return
        with _transaction(connection):
            if _number(connection, "user_version") == 0:  # otherwise another was quicker
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={APPLICATION}")
                connection.execute(f"PRAGMA user_version={VERSION}")

    def claim(self, silent: Owner | None = None) -> Owner | None:
        """Become the owner: then None, otherwise who is it.

        The file is free when its owner has let go of it, when the kernel knows that the owner's
        process has ended, or when the owner is still `silent`, as it was when last asked.
        """
        with self._told(), _transaction(self._opened()) as connection:
            assert self._life is not None  # noqa: S101  `open` came before
            row = connection.execute("SELECT token, beats, held FROM owner").fetchone()
            owner, held = Owner(*row[:2]), row[2]
            if held and owner != silent and not self._life.is_free(owner.token):
                return owner
            # Held before anyone can read of it, so that no one finds it free.
            self._life.hold(owner.token + 1)
            connection.execute("UPDATE owner SET token = ?, held = 1", (owner.token + 1,))
        self.token, self._released = owner.token + 1, False
        return None

    def rows(self) -> Iterator[tuple[int, bytes]]:
        """All that is in it, in the order of the numbers. Raises `StoreUnavailable`."""
        with self._told():
            query = "SELECT number, crc, body FROM row ORDER BY number"
            for number, crc, body in self._opened().execute(query):
                if crc != zlib.crc32(body):
                    raise self._damaged(f"row {number} is not what was written")
                yield number, body

    def write(self, rows: Rows, *, beat: bool = False) -> None:
        """Change rows in one commit, which is on the disk when this returns.

        With a `beat` it also says that the owner lives; with neither it only asks whether this
        is still the owner, and costs no sync. Raises `JournalTaken` if it is not, `JournalFull`
        when the disk is, and else `StoreUnavailable`; after the last one it is not known whether
        the rows were changed.
        """
        with self._told(), _transaction(self._opened()) as connection:
            token = _value(connection, "SELECT token FROM owner")
            if token != self.token:
                raise JournalTaken(
                    f"the journal {self.path}: another process has taken it over (its token is "
                    f"{token}, ours was {self.token}), since this one gave no sign of life; "
                    "nothing more is written here, and what was acknowledged is in its hands"
                )
            gone = [(number,) for number, body in rows.items() if body is None]
            put = [(n, zlib.crc32(body), body) for n, body in rows.items() if body is not None]
            connection.executemany("DELETE FROM row WHERE number = ?", gone)
            connection.executemany("REPLACE INTO row VALUES (?, ?, ?)", put)
            if beat:
                connection.execute("UPDATE owner SET beats = beats + 1")

    def reclaim(self) -> None:
        """After `JournalFull`: move what the write-ahead log holds into the file, to reuse it.

        A row that goes has to be written down too, so without this a full disk would stay full.
        """
        self._ballast.drop()
        with self._told():
            self._opened().execute("PRAGMA wal_checkpoint(RESTART)")

    def need_room(self) -> None:
        """Raise `JournalFull` if neither disk nor file has room for more than rows that go."""
        if self._ballast.keep():
            return
        with self._told():
            free = _number(self._opened(), "freelist_count") * _number(self._opened(), "page_size")
        if free < _ROOM:
            raise JournalFull(
                f"the journal {self.path}: the disk is full: make room; nothing was written"
            )

    def release(self) -> None:
        """Let the next one have it at once, if this is still the owner."""
        with self._told(), _transaction(self._opened()) as connection:
            connection.execute("UPDATE owner SET held = 0 WHERE token = ?", (self.token,))
        self._released = True

    def close(self) -> None:
        """Close the file."""
        self._drop()
        if self._life is not None:
            self._life.close()
            self._life = None
            if self._released:
                self._ballast.drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self.open()
        assert self._connection is not None  # noqa: S101
        return self._connection

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors in our words; after one that may mean anything, the file is reopened."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says which kind of it
            if code == sqlite3.SQLITE_FULL:
                raise JournalFull(
                    f"the journal {self.path}: {error}: make room; nothing was written"
                ) from error
            self._drop()
            if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise self._damaged(str(error)) from error
            raise StoreUnavailable(f"the journal {self.path}: {error}") from error

    def _damaged(self, how: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"the journal {self.path} is damaged ({how}): move it and its -wal file aside, get out "
            f"what can be read with `sqlite3 {self.path} .recover`, and start without it; writes "
            "that it holds and the source does not are lost otherwise"
        )


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    value = _value(connection, f"PRAGMA {pragma}")
    assert isinstance(value, int)  # noqa: S101
    return value


def _value(connection: sqlite3.Connection, query: str) -> object:
    value: object = connection.execute(query).fetchone()[0]
    return value
