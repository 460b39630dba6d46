"""Everything on one shard: a region that needs no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from escala.databases.pure.key_value import KeyValue
from escala.databases.pure.shard_rule import SavedShard, alike, shard_name
from escala.databases.sharding.shard_move import ShardMove


class OneShard:
    """Whatever the key."""

    __slots__ = ("name", "shards")

    def __init__(self, name: str) -> None:
        self.name = shard_name(name)
        self.shards = frozenset([name])

    def shard(self, key: KeyValue) -> str:  # noqa: ARG002  as every rule
        """This one."""
        return self.name

    def moves(self, new: OneShard) -> Iterator[ShardMove]:
        """All of it, if it is another."""
        alike(self, new)
        if self.name != new.name:
            yield ShardMove(source=self.name, target=new.name, share=1.0)

    def saved(self) -> SavedShard:
        """Its name."""
        return SavedShard(self.name)

    @classmethod
    def restored(cls, saved: SavedShard) -> Self:
        """Make it again."""
        return cls(saved.shard)
