"""The second level in an SQLite file that the processes of one machine share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from sqlite3 import Connection
from typing import Any, TypeVar

from escala.caching.listener import Listener
from escala.caching.pure.blob import Mark, unpack
from escala.caching.pure.slot import Slot
from escala.caching.sqlite_life import VALUES, SqliteLife, prepare, text_of
from escala.caching.sqlite_wire import SqliteWire
from escala.caching.value_store import Ear, Found, Put, Signal, kept_of
from escala.kernel.runtime import Runtime
from escala.stores.sqlite_link import SqliteLink

T = TypeVar("T")

_READ = (
    "SELECT blob, ends, expired, token, until, held FROM escala_values WHERE cache = ? AND key = ?"
)
_LEASE = "SELECT token, until, held FROM escala_values WHERE cache = ? AND key = ?"
_WRITE = "REPLACE INTO escala_values VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LEND = """
    INSERT INTO escala_values VALUES (?, ?, NULL, 0, 0, ?, ?, 0, ?)
    ON CONFLICT DO UPDATE SET token = excluded.token, until = excluded.until,
        over = max(over, excluded.over)
"""
_RELEASE = """
    UPDATE escala_values SET token = NULL, until = 0 WHERE cache = ? AND key = ? AND token = ?
"""
_EXPIRE = """
    UPDATE escala_values
    SET expired = 1, token = NULL, until = 0, held = max(held, ?), over = max(over, ?)
    WHERE cache = ? AND key = ?
"""
_DROP = "DELETE FROM escala_values WHERE cache = ? AND key = ?"
_SWEEP = """
    DELETE FROM escala_values WHERE rowid IN
        (SELECT rowid FROM escala_values WHERE over <= ? LIMIT 8)
"""
_MOST_TAGS = 100_000
_LONGEST = 3e8  # seconds: for ever


class SqliteValues:
    """The `ValueStore` behind "sqlite:///cache.db": one file, one machine, no server.

    Guaranteed: each verb is one transaction, decided by the same machine as in memory, so what
    was deleted is not served again, and one caller has the lease; also when a process is killed
    in the middle. Time is the machine's monotonic clock, which no one sets. After a restart of
    the machine there is another epoch and nothing from before is valid. The others hear of an
    invalidation within a twentieth of their ear's `bound`.

    Not guaranteed: a limit on the size of the file, which is about that of what is kept, since
    eight rows that are over go with each new one. A file that is deleted or replaced while it is
    open goes unnoticed. A step runs where it is asked for, in an event loop too, and for a value
    of 64 MB it takes its time. Of 100,000 tags it is known when each was invalidated; one more,
    and whatever is older than that and has a tag counts as gone.
    """

    def __init__(self, url: str, name: str, writer: str) -> None:
        self._link = SqliteLink(url, VALUES)
        self._cache, self._writer = text_of(name), writer
        self._most_tags = _MOST_TAGS
        self._prepared: Connection | None = None
        self._listener = Listener(self._wire, name)

    @property
    def transport(self) -> str:
        """How invalidations are heard of: "polling", or "" while they are not."""
        return self._listener.transport

    async def read(
        self, keys: Sequence[str], lease: float, runtime: Runtime, *, early: bool = False
    ) -> list[Found]:
        """See `ValueStore.read`."""
        token = os.urandom(16)

        def one(file: Connection, life: SqliteLife, key: str, mark: Mark) -> Found:
            slot, now = self._slot(file, key), mark.now
            look = slot.look(now, life)
            lent = lease > 0 and (early or look.due) and slot.lend(token, lease, now)
            if lent:
                row = (self._cache, text_of(key), token, slot.until, slot.until)
                file.execute(_LEND, row)
            return Found(
                blob=slot.blob if look.there else None,
                expired=look.expired,
                token=token if lent else None,
                wait=0.0 if lent else slot.wait(now),
                mark=mark,
            )

        def step(file: Connection, life: SqliteLife, now: float) -> list[Found]:
            mark = Mark(life.epoch, life.clock, now)
            return [one(file, life, key, mark) for key in keys]

        return await self._step(step, runtime)

    async def claim(self, keys: Sequence[str], lease: float, runtime: Runtime) -> list[Found]:
        """See `ValueStore.claim`."""
        token = os.urandom(16)

        def step(file: Connection, life: SqliteLife, now: float) -> list[Found]:
            for key in keys:
                slot = self._lease(file, key)
                slot.claim(token, lease, now)
                self._write(file, key, slot)
            life.tell(self._writer, [Signal("key", key) for key in keys])
            mark = Mark(life.epoch, life.clock, now)
            return [Found(None, False, token, 0.0, mark) for _ in keys]  # noqa: FBT003

        return await self._step(step, runtime)

    async def store(
        self, puts: Sequence[Put], runtime: Runtime, *, tell: bool = False
    ) -> list[bool]:
        """See `ValueStore.store`."""
        whole = [unpack(put.key, put.blob) for put in puts]

        def one(file: Connection, life: SqliteLife, nth: int, now: float) -> bool:
            (key, token, blob, keep), found = puts[nth], whole[nth]
            slot, kept = self._lease(file, key), min(keep, _LONGEST)
            if found is None or not slot.store(
                token, now, life, blob=blob, header=found[0], keep=kept
            ):
                file.execute(_RELEASE, (self._cache, text_of(key), token))
                return False
            self._write(file, key, slot)
            return True

        def step(file: Connection, life: SqliteLife, now: float) -> list[bool]:
            file.execute(_SWEEP, (now,))
            kept = [one(file, life, nth, now) for nth in range(len(puts))]
            if tell:
                life.tell(self._writer, kept_of(puts, kept))
            return kept

        return await self._step(step, runtime)

    async def release(self, keys_and_tokens: Sequence[tuple[str, bytes]], runtime: Runtime) -> None:
        """See `ValueStore.release`."""
        rows = [(self._cache, text_of(key), token) for key, token in keys_and_tokens]
        await self._step(lambda file, _life, _now: file.executemany(_RELEASE, rows), runtime)

    async def invalidate(
        self, signals: Sequence[Signal], runtime: Runtime, *, hold: float = 0.0
    ) -> None:
        """See `ValueStore.invalidate`."""

        def one(file: Connection, key: str, now: float, *, soft: bool) -> None:
            name, until = text_of(key), now + hold
            if soft and file.execute(_EXPIRE, (until, until, self._cache, name)).rowcount:
                return
            slot = self._lease(file, key)
            slot.invalidate(now, hold, soft=False)
            if slot.held > now:
                self._write(file, key, slot)
            else:
                file.execute(_DROP, (self._cache, name))

        def step(file: Connection, life: SqliteLife, now: float) -> None:
            for kind, name, soft in signals:
                if kind == "key":
                    one(file, name, now, soft=soft)
            life.invalidate(signals)
            if hold > 0:
                life.hold(signals, now, hold)
            life.tell(self._writer, signals)

        await self._step(step, runtime)

    def listen(self, ear: Ear) -> None:
        """See `ValueStore.listen`: in a thread of its own, which looks into the file."""
        self._listener.listen(ear)

    def close(self) -> None:
        """Stop listening and close the file."""
        self._listener.close()
        self._link.close()

    def _wire(self, bound: float) -> SqliteWire:
        return SqliteWire(self._link.path, self._cache, self._writer, bound=bound)

    async def _step(
        self, step: Callable[[Connection, SqliteLife, float], T], runtime: Runtime
    ) -> T:
        self._listener.go_on()

        def within(file: Connection) -> tuple[T, Connection]:
            if file is not self._prepared:
                prepare(file)
            life = SqliteLife(file, self._cache, most_tags=self._most_tags)
            # The clock is read here: no one else writes from here on.
            return step(file, life, runtime.now()), file

        answer, self._prepared = await self._link.run(within, runtime)
        return answer

    def _slot(self, file: Connection, key: str) -> Slot:
        slot = Slot()
        row = file.execute(_READ, (self._cache, text_of(key))).fetchone()
        if row is not None:
            blob, ends, expired, *lease = row
            whole = unpack(key, blob) if isinstance(blob, bytes) else None
            if whole is not None:
                slot.blob, slot.header = blob, whole[0]
                slot.ends, slot.expired = _number(ends), bool(expired)
            _fill(slot, *lease)
        return slot

    def _lease(self, file: Connection, key: str) -> Slot:
        """Without the blob."""
        slot = Slot()
        row = file.execute(_LEASE, (self._cache, text_of(key))).fetchone()
        if row is not None:
            _fill(slot, *row)
        return slot

    def _write(self, file: Connection, key: str, slot: Slot) -> None:
        file.execute(
            _WRITE,
            (
                self._cache,
                text_of(key),
                slot.blob or None,
                slot.ends,
                int(slot.expired),
                slot.token,
                slot.until,
                slot.held,
                slot.over,
            ),
        )


def _fill(slot: Slot, token: Any, until: Any, held: Any) -> None:  # noqa: ANN401
    slot.token = token if isinstance(token, bytes) else None
    slot.until = 0.0 if slot.token is None else _number(until)
    slot.held = _number(held)


def _number(found: Any) -> float:  # noqa: ANN401
    return float(found) if isinstance(found, (int, float)) else 0.0
