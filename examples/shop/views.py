"""View counts: acknowledged by a journal, and added up in the database now and then."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from operator import add
from pathlib import Path
from urllib.parse import quote

from escala.caching import Write, WriteBehind
from shop.database import Database

# A write that comes again after a crash has the same sequence, and is not added again.
_ADD = (
    "INSERT INTO view VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET times = times + "
    "excluded.times, sequence = excluded.sequence WHERE excluded.sequence > view.sequence"
)
_SAVED = "INSERT INTO view_saves VALUES (?, 1) ON CONFLICT DO UPDATE SET saves = saves + 1"


class Views:
    """Views of one instance, which counts in rows of its own."""

    def __init__(self, database: Database, instance: str, journal: Path) -> None:
        self._database, self._instance = database, instance
        self._behind = WriteBehind(
            self._save,
            journal=f"sqlite:///{quote(str(journal.absolute()))}",
            merge=add,
            flush="2s",
            drain="3s",
            name="views",
        )

    async def open(self) -> None:
        """Save what this instance left in its journal when it was killed."""
        await self._behind.aopen()

    async def count(self, number: int) -> None:
        """Count a view, and return when it cannot be lost any more."""
        await self._behind.aset(str(number), 1)

    def close(self) -> None:
        """Save what is pending."""
        self._behind.close()

    def _save(self, writes: Sequence[Write]) -> None:
        rows = [(int(write.key), self._instance, write.value, write.sequence) for write in writes]

        def work(db: sqlite3.Connection) -> None:
            db.executemany(_ADD, rows)
            db.execute(_SAVED, (self._instance,))

        self._database.write(work)


_ONE = "INSERT INTO view VALUES (?, 'plain', 1, 0) ON CONFLICT DO UPDATE SET times = times + 1"


def count_at_once(database: Database, number: int) -> None:
    """What a shop does that has no write-behind: a transaction for each view."""

    def work(db: sqlite3.Connection) -> None:
        db.execute(_ONE, (number,))
        db.execute(_SAVED, ("plain",))

    database.write(work)
