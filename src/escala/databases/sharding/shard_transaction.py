"""One transaction over shards: the map that it goes by, and the shards that let it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import event

from escala.databases.sharding.shard_entry import OtherEpoch, enter, leave, settle
from escala.databases.sharding.shard_events import MapInstalled, MapRefused
from escala.errors import MapOutdated
from escala.kernel.events import publish
from escala.kernel.runtime import colours

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from escala.databases.sharding.shard_map import ShardMap
    from escala.databases.sharding.sharded_database import ShardedDatabase

T = TypeVar("T")
_TRIES = 5  # maps that may come out while one statement asks to be let in


class ShardTransaction:
    """It keeps the map that it began with. `connect` gives the connection to a shard.

    When the first statement of all is refused, nothing has happened yet: the newer map is taken
    over, and the statement goes where that one says.
    """

    def __init__(self, shards: ShardedDatabase, connect: Callable[[str], Connection]) -> None:
        self.map = shards.map
        self.written: dict[str, Connection] = {}
        self._inside: dict[str, bool] = {}  # shard: whether it lets us write
        self._shards, self._connect = shards, connect
        self._ran = self._decided = False

    def enter(
        self, place: Callable[[ShardMap], Mapping[str, T]], *, writes: bool
    ) -> Mapping[str, T]:
        """Be let in by all shards that `place` says by the map. Raises `MapOutdated`."""
        for _ in range(_TRIES):
            placed = place(self.map)
            shard = ""
            try:
                for shard in placed:
                    self._enter(shard, writes=writes)
            except OtherEpoch as refused:
                self._catch_up(shard, refused)
            else:
                self._ran = True
                return placed
        raise MapOutdated(f"ShardedSession: the map changed {_TRIES} times meanwhile; try again")

    @property
    def inside(self) -> Mapping[str, bool]:
        """The shards that it is on, and whether they let it write."""
        return self._inside

    def savepoint_gone(self) -> None:
        """What it locked after the savepoint, the fences perhaps too, is unlocked."""
        self._inside = dict.fromkeys(self._inside, False)

    def _enter(self, shard: str, *, writes: bool) -> None:
        may_write = self._inside.get(shard)
        if may_write or (may_write is not None and not writes):
            return
        if writes and self.written and shard not in self.written:
            self._shards.check_together([*self.written, shard])
        connection = self._connect(shard)
        enter(connection, shard, self.map.epoch, writes=writes)
        self._inside[shard] = writes
        if writes and shard not in self.written:
            self.written[shard] = connection
            self._watch(connection)
            if len(self.written) > 1:
                self._shards.check_two_phase(self.written)

    def _watch(self, connection: Connection) -> None:
        """From the second shard on, the first commit is that of all."""
        if len(self.written) == 2:  # noqa: PLR2004  what is shared by two
            for each in self.written.values():
                event.listen(each, "commit", self._commit)
        elif self.written[next(iter(self.written))] is not connection:
            event.listen(connection, "commit", self._commit)

    def _commit(self, _connection: Connection) -> None:
        if len(self.written) > 1 and not self._decided:
            self._decided = True
            self._shards.commit_together(self.written)

    def _catch_up(self, shard: str, refused: OtherEpoch) -> None:
        """Make the maps of the shard and of this transaction the same, or raise `MapOutdated`."""
        if shard in self._inside and self._ran:
            self._shards.behind = shard
            raise refused.conflict or self._outdated(shard)
        if not self._ran:
            for other in self._inside:
                leave(self._connect(other))
            self._inside.clear()
            self.written.clear()
        row = settle(self._connect(shard), self.map)
        now, ours = colours.thread.now(), self.map.epoch
        name = self._shards.name
        if row.epoch != ours:
            publish(MapRefused(name=name, at=now, shard=shard, epoch=row.epoch, ours=ours))
        if row.epoch < ours:
            publish(MapInstalled(name=name, at=now, shard=shard, epoch=ours))
        elif row.epoch > ours:
            self._shards.learn(shard, row)
            if self._ran:
                raise self._outdated(shard)
            self.map = self._shards.map

    def _outdated(self, shard: str) -> MapOutdated:
        return MapOutdated(
            f"ShardedSession: the shard {shard!r} has another map than the one that this "
            f"transaction began with (epoch {self.map.epoch}); roll back and repeat all of it"
        )
