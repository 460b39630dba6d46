"""One database that is several: rows are on the shard of their key, sessions find it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Self

from escala.databases.replicas.commit_outcome import tell_unknown_commits
from escala.databases.replicas.database import Database
from escala.databases.replicas.database_url import node_urls
from escala.databases.replicas.node import Node
from escala.databases.sharding.hot_keys import HotKeys
from escala.databases.sharding.in_doubt import InDoubtSweeper
from escala.databases.sharding.shard_entry import look
from escala.databases.sharding.shard_events import MapReloaded
from escala.databases.sharding.shard_key import ShardKeys
from escala.databases.sharding.shard_map import ShardMap
from escala.databases.sharding.shard_server import ShardRow, install
from escala.databases.sharding.sharded_session import ShardedSession
from escala.databases.sharding.two_phase import TwoPhase
from escala.errors import ConfigError, MapOutdated, NoShardKey
from escala.kernel.at_fork import begin_anew, free
from escala.kernel.events import publish
from escala.kernel.runtime import colours

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncSession


class ShardedDatabase:
    """Reach for it when one server is too small for the writes: more servers, one session.

    - `shard_map` says which shard has a key. Each shard keeps the map of its own transactions,
      and the newest one holds: a router that comes with an older one takes over theirs.
    - `shards`: the URL of each shard, `postgresql://…` (psycopg; `postgresql+asyncpg://…` for the
      async side) or `sqlite:///file`, or a `Database` with its replicas, of which the primary is
      used. One that the map does not name yet is for rows to be moved to.
    - `tables`: the key column of each table that is spread over the shards.
    - `reference`: tables that are the same on all shards. They are read on any of them and
      written on each.
    - `two_phase`: whether one transaction may write on several shards (PostgreSQL only; it wants
      `max_prepared_transactions` > 0). Without it the second shard is refused. With it a thread
      looks, once it is open or has committed so, for what a killed process has left prepared.
    - `hot_keys` is told of every key that is asked for or written, and its shard.
    - Other options are those of `sqlalchemy.create_engine`, for each shard.

    `install()` prepares the databases, once. Raises `ConfigError` for what does not fit together.
    Threads and tasks share one; a session is for one of them.
    """

    def __init__(
        self,
        shard_map: ShardMap,
        shards: Mapping[str, str | Database],
        *,
        tables: Mapping[str, str | Sequence[str]],
        reference: Iterable[str] = (),
        two_phase: bool = True,
        hot_keys: HotKeys | None = None,
        name: str = "shards",
        **engine_options: Any,  # noqa: ANN401  of `create_engine`
    ) -> None:
        if not isinstance(shard_map, ShardMap):
            raise ConfigError(f"ShardedDatabase: expected a ShardMap, found {shard_map!r}")
        if not isinstance(shards, Mapping):
            raise ConfigError("ShardedDatabase: shards: expected a mapping of names to URLs")
        self.keys = ShardKeys(tables, reference)
        for table, columns in self.keys.tables.items():
            if len(columns) != len(shard_map.key):
                raise ConfigError(
                    f"ShardedDatabase: tables: {table}: expected a column for each of "
                    f"{', '.join(shard_map.key)}, found {', '.join(columns)}"
                )
        if engine_options.get("isolation_level") == "AUTOCOMMIT":
            raise ConfigError("ShardedDatabase: isolation_level: expected one with transactions")
        self.name, self.two_phase, self._two_phase = name, two_phase, TwoPhase(name)
        self.behind: str | None = None  # a shard whose map is another one than ours
        self._places = {
            shard: place if isinstance(place, Database) else _node(shard, place, engine_options)
            for shard, place in shards.items()
        }
        missing = self._missing(shard_map)
        if missing:
            raise ConfigError(f"ShardedDatabase: shards: expected a URL for {', '.join(missing)}")
        self._checked: set[str] = set()
        self._hot_keys = hot_keys
        self._map, self._lock, self._turn = shard_map, threading.RLock(), count()
        self._sweeper: InDoubtSweeper | None = None
        begin_anew(self, ShardedDatabase._forked)

    def _forked(self) -> None:
        free(self._lock)
        swept, self._sweeper = self._sweeper is not None, None  # its thread is the parent's
        if swept:
            self._sweep()

    @property
    def map(self) -> ShardMap:
        """The newest map that is known here."""
        return self._map

    @property
    def names(self) -> frozenset[str]:
        """The shards that it can reach, those included that the map does not name yet."""
        return frozenset(self._places)

    def session(self, *, key: Any = None, **options: Any) -> ShardedSession:  # noqa: ANN401  a key of the map
        """Open a session; with a `key` it is for the shard of that key, unless a statement says.

        The key chooses the shard, it hides no rows. Other options are those of `Session`.
        """
        return ShardedSession(self, shard_key=key, **options)

    def asession(self, *, key: Any = None, **options: Any) -> AsyncSession:  # noqa: ANN401  a key of the map
        """Open an `AsyncSession` that does the same."""
        from sqlalchemy.ext.asyncio import AsyncSession

        return AsyncSession(
            sync_session_class=ShardedSession,
            shards=self,
            shard_key=key,
            asynchronous=True,
            **options,
        )

    def install(self) -> None:
        """Make each database a shard: name, map and fence. To do it again changes nothing.

        Raises `ConfigError` for a database that is another shard. See `shard_server.install`.
        """
        for shard in self._places:
            with self.engine(shard).begin() as connection:
                install(connection, shard, self._map)

    async def ainstall(self) -> None:
        """Do what `install` does, in a loop."""
        for shard, place in self._places.items():
            engine = place.async_engine() if isinstance(place, Node) else place.async_engine
            async with engine.begin() as connection:
                await connection.run_sync(install, shard, self._map)

    def engine(self, shard: str, *, asynchronous: bool = False) -> Engine:
        """The engine of a shard; in the async colour the one below its `AsyncEngine`."""
        place = self._places.get(shard)
        if place is None:
            raise NoShardKey(f"ShardedDatabase: there is no shard {shard!r}")
        if isinstance(place, Node):
            return place.bind(writes=True, asynchronous=asynchronous)
        return place.async_engine.sync_engine if asynchronous else place.engine

    def open(self) -> None:
        """Open what is a `Database`, and begin to look for commits that no one will end."""
        for place in self._places.values():
            if isinstance(place, Database):
                place.open()
        self._sweep()

    async def aopen(self) -> None:
        """As `open`, in async code."""
        for place in self._places.values():
            if isinstance(place, Database):
                await place.aopen()
        self._sweep()

    def close(self) -> None:
        """Close the connections that no one uses; after async sessions, use `aclose`."""
        self._end_sweeps()
        for place in self._places.values():
            place.close()

    async def aclose(self) -> None:
        """As `close`, for both colours."""
        await asyncio.to_thread(self._end_sweeps)
        for place in self._places.values():
            await place.aclose()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await self.aopen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def learn(self, shard: str, row: ShardRow) -> None:
        """Take over the map of a shard if it is newer. Raises `MapOutdated` if that cannot be."""
        try:
            found = ShardMap.from_json(row.map)
        except ConfigError as error:
            raise MapOutdated(
                f"ShardedDatabase: the map of the shard {shard!r} has epoch {row.epoch}, ours "
                f"{self._map.epoch}, and this version cannot read it: {error}"
            ) from error
        missing = self._missing(found)
        if missing:
            raise MapOutdated(
                f"ShardedDatabase: the map of the shard {shard!r} has epoch {row.epoch}, ours "
                f"{self._map.epoch}, and it names shards without a URL here: {', '.join(missing)}"
            )
        with self._lock:
            if found.epoch <= self._map.epoch:
                return
            self._map = found
        at = colours.thread.now()
        publish(MapReloaded(name=self.name, at=at, shard=shard, epoch=found.epoch))

    def catch_up(self, *, asynchronous: bool) -> None:
        """Before a transaction: load the map that ended another one."""
        shard, self.behind = self.behind, None
        if shard is None:
            return
        with self.engine(shard, asynchronous=asynchronous).connect() as connection:
            row = look(connection, shard)
        if row.epoch > self._map.epoch:
            self.learn(shard, row)

    def any_shard(self, inside: Iterable[str], shard_map: ShardMap) -> str:
        """A shard to read what is the same on all: one that is in use already, else in turn."""
        for shard in inside:
            return shard
        return shard_map.shards[next(self._turn) % len(shard_map.shards)]

    def hit(self, keys: Iterable[Any], shard: str) -> None:
        """Count calls for keys of a shard."""
        if self._hot_keys is not None:
            for key in keys:
                self._hot_keys.hit(key, shard)

    def check_together(self, shards: Sequence[str]) -> None:
        """Refuse to write on several shards where they could not be committed together."""
        first, *_, last = shards
        place = f"ShardedSession: {last!r} would be written in one transaction with {first!r}"
        if not self.two_phase:
            raise ConfigError(f"{place}: two_phase is off; commit first, or write on one shard")
        if any(self._sqlite(shard) for shard in shards):
            raise ConfigError(f"{place}: SQLite cannot commit them together; commit first")

    def check_two_phase(self, connections: Mapping[str, Connection]) -> None:
        """See once that the servers can prepare a transaction. Raises `ConfigError`."""
        unknown = {shard: connections[shard] for shard in connections if shard not in self._checked}
        if unknown:
            self._two_phase.check(unknown)
            self._checked.update(unknown)

    def commit_together(self, connections: Mapping[str, Connection]) -> None:
        """Commit what one transaction has written on several shards: all of it, or nothing."""
        self._sweep()
        self._two_phase.commit(connections)

    def _sweep(self) -> None:
        servers = [shard for shard in self._places if not self._sqlite(shard)]
        with self._lock:
            if self._sweeper is None and self.two_phase and len(servers) > 1:
                engines = _Engines(self, servers)
                self._sweeper = InDoubtSweeper(engines, name=f"{self.name}.in_doubt")
                self._sweeper.start()

    def _end_sweeps(self) -> None:
        with self._lock:
            sweeper, self._sweeper = self._sweeper, None
        if sweeper is not None:
            sweeper.close()

    def _sqlite(self, shard: str) -> bool:
        place = self._places.get(shard)
        if place is None:
            raise NoShardKey(f"ShardedDatabase: there is no shard {shard!r}")
        return place.url.sqlite if isinstance(place, Node) else place.sqlite

    def _missing(self, shard_map: ShardMap) -> list[str]:
        return [shard for shard in shard_map.shards if shard not in self._places]


class _Engines(Mapping[str, "Engine"]):
    """The engines of the shards as they are now: a failover changes them."""

    def __init__(self, shards: ShardedDatabase, names: Sequence[str]) -> None:
        self._shards, self._names = shards, names

    def __getitem__(self, shard: str) -> Engine:
        if shard not in self._names:
            raise KeyError(shard)
        return self._shards.engine(shard)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _node(shard: str, url: str, options: Mapping[str, Any]) -> Node:
    urls = node_urls(url)
    if len(urls) > 1:
        raise ConfigError(
            f"ShardedDatabase: shards: {shard}: expected the URL of one server, found "
            f"{len(urls)} of them; give a Database"
        )
    return Node(urls[0], options, _prepare)


def _prepare(node: Node, engine: Engine, writes: bool) -> None:  # noqa: ARG001, FBT001
    if not node.url.sqlite:
        tell_unknown_commits(engine, node.name)
