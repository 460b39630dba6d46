"""Keys on a ring of hashes: for shards that come and go without a table of slots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

import msgspec

from escala.databases.pure.key_value import KeyValue, as_bytes, checked
from escala.databases.pure.shard_rule import SavedRing, alike
from escala.databases.sharding.shard_move import ShardMove
from escala.errors import ConfigError
from escala.hashing.hash_ring import HashRing

_AROUND = 2**64


class RingRule:
    """A key belongs to the next point on the ring, and points to shards."""

    __slots__ = ("ring", "shards")

    def __init__(self, ring: HashRing) -> None:
        self.ring, self.shards = ring, frozenset(ring.nodes)

    @classmethod
    def over(cls, shards: Iterable[str] | Mapping[str, float]) -> Self:
        """Give each shard points in proportion to its weight."""
        return cls(HashRing(shards))

    def shard(self, key: KeyValue) -> str:
        """The shard of the next point."""
        return self.ring.node(as_bytes(checked(key)))

    def moves(self, new: RingRule) -> Iterator[ShardMove]:
        """For each pair of shards how much of all keys goes from one to the other."""
        alike(self, new)
        arcs: dict[tuple[str, str], int] = {}
        begin = -1
        for end, source, target in _arcs(self.ring, new.ring):
            if source != target:
                arcs[source, target] = arcs.get((source, target), 0) + end - begin
            begin = end
        for (source, target), length in sorted(arcs.items()):
            yield ShardMove(source=source, target=target, share=length / _AROUND)

    def saved(self) -> SavedRing:
        """What the ring says of itself."""
        return SavedRing(msgspec.json.decode(self.ring.to_json(), type=dict))

    @classmethod
    def restored(cls, saved: SavedRing) -> Self:
        """Make it again, and check it as if it were new."""
        ring = HashRing.from_json(msgspec.json.encode(saved.ring))
        if (kept := msgspec.json.decode(ring.to_json(), type=dict))["hash"] != "xxh3":
            raise ConfigError(
                f"ShardMap: expected a ring with the hash 'xxh3', found {kept['hash']!r}"
            )
        return cls(ring)


def _arcs(old: HashRing, new: HashRing) -> Iterator[tuple[int, str, str]]:
    """Where each arc ends, and who has it on either ring."""
    last = _AROUND - 1
    points, others = old._points, new._points  # noqa: SLF001  one library; a ring shows no points
    owners, other_owners = old._owners, new._owners  # noqa: SLF001
    index = other = 0
    end = -1
    while end < last:
        end = min(points[index], others[other], last)
        yield end, owners[index], other_owners[other]
        index += points[index] == end
        other += others[other] == end
