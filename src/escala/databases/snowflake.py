"""Ids of 63 bits that need no database to be given."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from escala.databases.pure.snowflake_sequence import LAST_NODE, SnowflakeSequence, parts
from escala.errors import ConfigError
from escala.kernel.at_fork import begin_anew, free
from escala.kernel.config import options
from escala.kernel.runtime import Runtime, colours, drive, wall
from escala.kernel.units import Duration

_EPOCH = datetime(2025, 1, 1, tzinfo=UTC)


class _Options(msgspec.Struct, frozen=True):
    max_back: Duration


class SnowflakeParts(NamedTuple):
    """When and where an id was given, and its number among those of the same millisecond."""

    at: datetime
    node: int
    sequence: int


class Snowflake:
    """Reach for it when rows of many shards need unique ids that fit a `bigint` and grow.

    >>> ids = Snowflake(node=3)
    >>> first, second = ids.next(), ids.next()
    >>> first < second < 2**63, ids.decode(second).node
    (True, 3)

    An id is 41 bits of milliseconds since `epoch`, 10 bits of `node` and 12 bits that count within
    a millisecond, as Twitter's were. Give each process a `node` of its own, 0 to 1023, that no
    other has at the same time. `epoch` (2025 by default) must stay as it is; ids last for 69 years.

    One object gives each id once, in ascending order, to all threads and tasks. When the wall
    clock is set back, or after 4,096 ids in a millisecond, it waits until the clock is past the
    last id: `next` blocks, `anext` awaits. Further back than `max_back` (250 ms by default) it
    raises `ClockWentBack`.

    Nothing is written down, so what a restart promises is this: no id comes twice as long as the
    clock is not set back by more than `max_back` between the last id of the one process and the
    start of the other. For that the first id comes `max_back` after the object was made.

    A forked child would give its parent's ids: it raises `ConfigError` until it makes its own.
    """

    def __init__(
        self,
        *,
        node: int,
        epoch: datetime = _EPOCH,
        max_back: float | str = 0.25,
        clock: Callable[[], float] = wall,
    ) -> None:
        if type(node) is not int or not 0 <= node <= LAST_NODE:
            raise ConfigError(
                f"Snowflake: node: expected a whole number from 0 to {LAST_NODE}, found {node!r}"
            )
        given: object = epoch
        if not isinstance(given, datetime) or given.tzinfo is None:
            raise ConfigError(f"Snowflake: epoch: expected a time with its zone, found {epoch!r}")
        self._node, self._epoch, self._clock = node, epoch, clock
        self._since = round(epoch.timestamp() * 1000)
        started = self._now()
        if started < 0:
            raise ConfigError(f"Snowflake: epoch: expected a time that has been, found {epoch}")
        most = options(_Options, {"max_back": max_back}, where="Snowflake").max_back
        back = round(most * 1000)
        self._sequence: SnowflakeSequence | None = SnowflakeSequence(node, started, back)
        self._lock = threading.RLock()
        begin_anew(self, Snowflake._forked)

    def next(self) -> int:
        """The next id. Raises `ClockWentBack`, and `WouldBlock` if an event loop had to wait."""
        found = self._take()
        return found if found >= 0 else drive(self._waited(found, colours.thread))

    async def anext(self) -> int:
        """The next id. Raises `ClockWentBack`."""
        found = self._take()
        return found if found >= 0 else await self._waited(found, colours.loop)

    def decode(self, id_: int) -> SnowflakeParts:
        """When and where an id of this epoch was given."""
        moment, node, sequence = parts(id_)
        return SnowflakeParts(self._epoch + timedelta(milliseconds=moment), node, sequence)

    async def _waited(self, found: int, runtime: Runtime) -> int:
        while found < 0:
            await runtime.sleep(-found / 1000)
            found = self._take()
        return found

    def _take(self) -> int:
        sequence = self._sequence
        if sequence is None:
            raise ConfigError(
                f"Snowflake: this process was forked from the one that has node {self._node}: make "
                "a Snowflake with another node in it"
            )
        with self._lock:
            return sequence.take(int(self._clock() * 1000) - self._since)

    def _now(self) -> int:
        return int(self._clock() * 1000) - self._since

    def _forked(self) -> None:
        free(self._lock)
        self._sequence = None

    def __repr__(self) -> str:
        return f"Snowflake(node={self._node})"
