"""What a file knows of one cache's invalidations, and how it tells others of them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from sqlite3 import Connection

from escala.caching.pure.signal import Signal
from escala.caching.pure.versions import Standing

VALUES = """
    CREATE TABLE IF NOT EXISTS escala_values (
        cache BLOB NOT NULL, key BLOB NOT NULL, blob BLOB, ends REAL NOT NULL,
        expired INTEGER NOT NULL, token BLOB, until REAL NOT NULL, held REAL NOT NULL,
        over REAL NOT NULL, PRIMARY KEY (cache, key)
    )
"""
_OTHERS = (
    "CREATE INDEX IF NOT EXISTS escala_values_over ON escala_values (over)",
    """
    CREATE TABLE IF NOT EXISTS escala_value_lives (
        cache BLOB PRIMARY KEY, epoch BLOB NOT NULL, boot TEXT NOT NULL, clock INTEGER NOT NULL,
        floor INTEGER NOT NULL, gone INTEGER NOT NULL, expired INTEGER NOT NULL,
        tags INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS escala_value_tags (
        cache BLOB NOT NULL, tag BLOB NOT NULL, soft INTEGER NOT NULL, clock INTEGER NOT NULL,
        PRIMARY KEY (cache, tag, soft)
    ) WITHOUT ROWID
    """,
    # For a tag, "t" and its name, or "a" for all: who loaded before then may not store.
    """
    CREATE TABLE IF NOT EXISTS escala_value_holds (
        cache BLOB NOT NULL, what BLOB NOT NULL, until REAL NOT NULL, PRIMARY KEY (cache, what)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS escala_value_signals (
        id INTEGER PRIMARY KEY AUTOINCREMENT, cache BLOB NOT NULL, text BLOB NOT NULL
    )
    """,
)
_LIFE = (
    "SELECT epoch, clock, floor, gone, expired, tags FROM escala_value_lives "
    "WHERE cache = ? AND boot = ?"
)
_BEGIN = "REPLACE INTO escala_value_lives VALUES (?, ?, ?, 0, 0, 0, 0, 0)"
_CHANGE = (
    "UPDATE escala_value_lives SET clock = ?, floor = ?, gone = ?, expired = ?, tags = ? "
    "WHERE cache = ?"
)
_TAG = "SELECT soft, clock FROM escala_value_tags WHERE cache = ? AND tag = ?"
_SET_TAG = "REPLACE INTO escala_value_tags VALUES (?, ?, ?, ?)"
_DROP_TAGS = "DELETE FROM escala_value_tags WHERE cache = ?"
_HOLD = """
    INSERT INTO escala_value_holds VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET until = max(until, excluded.until)
"""
_HELD = "SELECT 1 FROM escala_value_holds WHERE cache = ? AND what = ? AND until > ?"
_DROP_HOLDS = "DELETE FROM escala_value_holds WHERE cache = ? AND until < ?"
_LONGEST_LOAD = 3600.0
_TELL = "INSERT INTO escala_value_signals (cache, text) VALUES (?, ?)"
_FORGET = "DELETE FROM escala_value_signals WHERE id <= ?"
_REMEMBERED = 10_000


def prepare(file: Connection) -> None:
    """Make what is not there yet."""
    for statement in (VALUES, *_OTHERS):
        file.execute(statement)


def text_of(name: str) -> bytes:
    """Any text, as the file keeps it."""
    return name.encode(errors="surrogatepass")


class SqliteLife:
    """The clock of one cache's invalidations, as it stands within one transaction.

    Times in the file are of the machine's monotonic clock, which begins anew with the machine,
    so what was kept before that is of another life, with another epoch.
    """

    def __init__(self, file: Connection, cache: bytes, *, most_tags: int) -> None:
        self._file, self._cache, self._most_tags = file, cache, most_tags
        row = file.execute(_LIFE, (cache, _boot())).fetchone()
        if row is None:
            epoch = os.urandom(8)
            row = (epoch, 0, 0, 0, 0, 0)
            file.execute(_BEGIN, (cache, epoch, _boot()))
            file.execute(_DROP_TAGS, (cache,))
            file.execute(_DROP_HOLDS, (cache, math.inf))
            self._send(b"- epoch 0 0 ")
        self.epoch: bytes
        self.clock: int
        self.epoch, self.clock, self._floor, self._gone, self._expired, self._tags = row

    def standing(self, clock: int, tags: tuple[str, ...]) -> Standing:
        """What happened since that moment to a value with these tags."""
        if clock < self._gone or (tags and clock < self._floor):
            return Standing.GONE
        found = Standing.EXPIRED if clock < self._expired else Standing.VALID
        for tag in tags:
            for soft, moment in self._file.execute(_TAG, (self._cache, text_of(tag))):
                if clock < moment:
                    if not soft:
                        return Standing.GONE
                    found = Standing.EXPIRED
        return found

    def invalidate(self, signals: Sequence[Signal]) -> None:
        """Note tags and all; keys are none of its business."""
        if all(signal.kind == "key" for signal in signals):
            return
        self.clock += 1
        for kind, name, soft in signals:
            if kind == "tag":
                self._note(text_of(name), soft=soft)
            elif kind == "all" and soft:
                self._expired = self.clock
            elif kind == "all":
                self._gone = self.clock
                self._drop_tags()
        row = (self.clock, self._floor, self._gone, self._expired, self._tags, self._cache)
        self._file.execute(_CHANGE, row)

    def hold(self, signals: Sequence[Signal], now: float, seconds: float) -> None:
        """No load of these tags, or of all, that begins within so many seconds may store."""
        self._file.execute(_DROP_HOLDS, (self._cache, now - _LONGEST_LOAD))
        for kind, name, _ in signals:
            if kind != "key":
                what = b"t" + text_of(name) if kind == "tag" else b"a"
                self._file.execute(_HOLD, (self._cache, what, now + seconds))

    def held_off(self, born: float, tags: tuple[str, ...]) -> bool:
        """Whether a load that began then may have read what a lagging replica still had."""
        ask = self._file.execute
        return any(
            ask(_HELD, (self._cache, what, born)).fetchone()
            for what in (b"a", *(b"t" + text_of(tag) for tag in tags))
        )

    def tell(self, writer: str, signals: Sequence[Signal]) -> None:
        """Let the others know, the last ten thousand times."""
        for kind, name, soft in signals:
            self._send(
                b"%b %b %d %d %b"
                % (writer.encode(), kind.encode(), soft, self.clock, text_of(name))
            )

    def _note(self, tag: bytes, *, soft: bool) -> None:
        known = dict(self._file.execute(_TAG, (self._cache, tag)))
        if int(soft) not in known:
            if self._tags >= self._most_tags:
                self._drop_tags()
                return
            self._tags += 1
        self._file.execute(_SET_TAG, (self._cache, tag, int(soft), self.clock))

    def _drop_tags(self) -> None:
        self._file.execute(_DROP_TAGS, (self._cache,))
        self._floor, self._tags = self.clock, 0

    def _send(self, text: bytes) -> None:
        last = self._file.execute(_TELL, (self._cache, text)).lastrowid or 0
        self._file.execute(_FORGET, (last - _REMEMBERED,))


@cache
def _boot() -> str:
    """Which start of the machine this is."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
