"""The second level in PostgreSQL, for processes on many machines that share a database anyway."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TypeVar

from escala.caching import postgres_value_functions as functions
from escala.caching.listener import Listener
from escala.caching.postgres_names import cache_of, place_of, tag_of, told
from escala.caching.postgres_puts import Puts
from escala.caching.postgres_wire import PostgresWire
from escala.caching.pure.blob import Mark, unpack
from escala.caching.value_store import Ear, Found, Put, Signal
from escala.errors import BulkheadFull, ConfigError, StoreUnavailable
from escala.kernel.runtime import Runtime
from escala.kernel.units import PositiveDuration
from escala.kernel.wrong_value import WrongValue
from escala.resilience.bulkhead import Bulkhead
from escala.stores.postgres_binary import BYTEA, FLOAT, LONG, TEXT, array, bools
from escala.stores.postgres_link import PostgresLink
from escala.stores.url_parameters import taken_out

T = TypeVar("T")
Row = list[bytes | None]

_BATCH = 1000
_TOKEN = 16
_CONNECTIONS, _QUEUE = 8, 10_000
_MOST_TAGS = 100_000
_LONGEST = 3e8  # seconds: for ever
_YES = b"\1"


class PostgresValues:
    """The `ValueStore` behind "postgresql://host/database": one round trip for each verb.

    Guaranteed, on PostgreSQL 13 or newer, as long as one server answers: what was deleted is not
    served again, and a load that began before cannot store what it read; of many callers one
    gets the lease, until it stores, releases, or the lease's time is up. Time is the server's own.
    A hit writes nothing and waits for no one. Functions in the database decide; the first
    connection creates them and three tables, in the first schema of the search path, so the role
    must be allowed to create there, or someone else has done it before.

    Not guaranteed: anything over a crash. The tables are unlogged, so a server that crashed, a
    replica that took over, and a backup that was restored begin with none of it, under another
    epoch: nothing from before is valid, in the first levels either. There is no limit on the size
    of the tables; with each value that is stored up to eight rows that are over go. A transaction
    that someone holds open for long keeps PostgreSQL from cleaning up behind updates.

    Of 100,000 tags it is known when each was invalidated; one more, and whatever is older than
    that and has a tag counts as gone. `timeout` in the URL (500 ms) is how long a question may
    take, and values of megabytes may need more.

    Others hear of an invalidation by NOTIFY, when it is committed. To listen takes a connection of
    its own to the server itself: a pooler that shares connections by transaction (PgBouncer in
    that mode) hands LISTEN to no one in particular, and is not supported.
    """

    def __init__(self, url: str, name: str, writer: str) -> None:
        rest, said = taken_out(url, ("timeout",))
        try:
            timeout = float(PositiveDuration(said.get("timeout", "500ms")))
        except WrongValue as error:
            raise ConfigError(f"timeout: {error}") from error
        self._link = PostgresLink(rest, functions.SCHEMA, keep=_CONNECTIONS, patience=timeout)
        self._bulkhead = Bulkhead(_CONNECTIONS, queue=_QUEUE, wait=timeout)
        self._cache, self._writer = cache_of(name), writer
        self._most_tags, self._hand = _MOST_TAGS, b""
        wire = partial(PostgresWire, self._link, f"escala_{self._cache.hex()}", writer)
        self._listener = Listener(wire, name)

    @property
    def transport(self) -> str:
        """How invalidations are heard of: "notify", or "" while they are not."""
        return self._listener.transport

    async def read(
        self, keys: Sequence[str], lease: float, runtime: Runtime, *, early: bool = False
    ) -> list[Found]:
        """See `ValueStore.read`; two round trips if there is a blob that is not whole."""
        found = await self._read(keys, lease, runtime, early=early)
        cut = [nth for nth, each in enumerate(found) if _cut(each)]
        if not cut:
            return found
        # The server has not looked at the payload: what it thought to be fresh, it has not lent.
        unlent = [nth for nth in cut if found[nth].token is None]
        if unlent:
            again = await self._read([keys[nth] for nth in unlent], lease, runtime, early=True)
            for nth, each in zip(unlent, again, strict=True):
                found[nth] = each
        for nth in cut:
            if _cut(found[nth]):
                found[nth] = found[nth]._replace(blob=None, expired=False)
        return found

    async def claim(self, keys: Sequence[str], lease: float, runtime: Runtime) -> list[Found]:
        """See `ValueStore.claim`."""
        token, found = os.urandom(_TOKEN), list[Found]()
        for some in _batches(keys):
            places = {place_of(self._cache, key) for key in some}
            news = array(TEXT, told(self._writer, [Signal("key", key) for key in some]))
            values = (self._cache, array(BYTEA, [*places]), FLOAT.pack(lease), token, news)
            (row,) = await self._ask(functions.CLAIM, values, runtime)
            found += [Found(None, False, token, 0.0, _mark(row))] * len(some)  # noqa: FBT003
        return found

    async def store(
        self, puts: Sequence[Put], runtime: Runtime, *, tell: bool = False
    ) -> list[bool]:
        """See `ValueStore.store`. False, too, where it has stored but the answer was lost."""
        stored: list[bool] = []
        for some in _batches(puts):
            made = Puts(self._cache, some, self._writer if tell else None)
            values = (self._cache, *made.packed, self._hand)
            ((kept, hand),) = await self._ask(functions.STORE, values, runtime)
            self._hand = hand or b""
            stored += made.kept(kept or b"")
        return stored

    async def release(self, keys_and_tokens: Sequence[tuple[str, bytes]], runtime: Runtime) -> None:
        """See `ValueStore.release`."""
        for some in _batches(keys_and_tokens):
            pairs = sorted((place_of(self._cache, key), token) for key, token in some)
            places, tokens = zip(*pairs, strict=True)
            values = (array(BYTEA, places), array(BYTEA, tokens))
            await self._ask(functions.RELEASE, values, runtime)

    async def invalidate(
        self, signals: Sequence[Signal], runtime: Runtime, *, hold: float = 0.0
    ) -> None:
        """See `ValueStore.invalidate`."""
        for some in _batches(signals):
            # A key that is both deleted and expired is deleted.
            keys = sorted(
                {(place_of(self._cache, name), soft) for kind, name, soft in some if kind == "key"}
            )
            tags = sorted({(tag_of(name), soft) for kind, name, soft in some if kind == "tag"})
            everything = {2.0 if soft else 1.0 for kind, _, soft in some if kind == "all"}
            values = (
                self._cache,
                array(BYTEA, [place for place, _ in keys]),
                bools([soft for _, soft in keys]),
                array(BYTEA, [tag for tag, _ in tags]),
                bools([soft for _, soft in tags]),
                FLOAT.pack(sum(everything)),
                FLOAT.pack(min(hold, _LONGEST)),
                FLOAT.pack(self._most_tags),
                array(TEXT, told(self._writer, some)),
            )
            await self._ask(functions.INVALIDATE, values, runtime)

    def listen(self, ear: Ear) -> None:
        """See `ValueStore.listen`: in a thread of its own, which serves both colours."""
        self._listener.listen(ear)

    def close(self) -> None:
        """Stop listening and close the connections."""
        self._listener.close()
        self._link.close()

    async def _read(
        self, keys: Sequence[str], lease: float, runtime: Runtime, *, early: bool
    ) -> list[Found]:
        found: list[Found] = []
        for some in _batches(keys):
            places, token = [place_of(self._cache, key) for key in some], os.urandom(_TOKEN)
            asked = array(BYTEA, places if len(some) == 1 else [*set(places)])
            early_ = _YES if early else b"\0"
            values = (self._cache, asked, FLOAT.pack(lease), early_, token)
            rows = await self._ask(functions.READ, values, runtime)
            by_place = {row[0]: row for row in rows}
            found += [
                _found(by_place[place], key, token) for key, place in zip(some, places, strict=True)
            ]
        return found

    async def _ask(
        self, statement: str, values: Sequence[bytes | None], runtime: Runtime
    ) -> list[Row]:
        self._listener.go_on()
        ask = partial(self._link.ask, statement, values, runtime, binary=True)
        try:
            return await self._bulkhead.around(ask, runtime)
        except BulkheadFull as error:
            raise StoreUnavailable(f"PostgreSQL at {self._link.where}: {error}") from error


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    if len(items) <= _BATCH:
        if items:
            yield items
        return
    for begin in range(0, len(items), _BATCH):
        yield items[begin : begin + _BATCH]


def _cut(found: Found) -> bool:
    return found.blob is not None and found.whole is None


def _mark(row: Sequence[bytes | None]) -> Mark:
    epoch, clock, now = row
    return Mark(epoch or b"", LONG.unpack(clock or b"")[0], FLOAT.unpack(now or b"")[0])


def _found(row: Row, key: str, token: bytes) -> Found:
    _, epoch, clock, now, blob, expired, lent, wait = row
    return Found(
        blob,
        expired == _YES,
        token if lent == _YES else None,
        FLOAT.unpack(wait or b"")[0],
        _mark((epoch, clock, now)),
        None if blob is None else unpack(key, blob),
    )
