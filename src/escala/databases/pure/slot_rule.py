"""Keys in slots, and a table that says which shard has which slot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

from escala.databases.pure.key_hash import HASHES
from escala.databases.pure.key_value import KeyValue
from escala.databases.pure.shard_rule import SavedSlots, alike
from escala.databases.pure.slot_runs import packed, runs, unpacked
from escala.databases.sharding.shard_move import ShardMove
from escala.errors import ConfigError
from escala.hashing.pure.members import counted, members
from escala.hashing.pure.redis_slot import REDIS_SLOTS
from escala.hashing.pure.slot_shares import resettled

_MOST_SLOTS = 65_536


class SlotRule:
    """The slot of a key is the low bits of its hash, so their number is a power of two."""

    __slots__ = ("_hash", "_mask", "hash", "owners", "shards")

    def __init__(self, owners: tuple[str, ...], hash: str) -> None:  # noqa: A002  as in the JSON
        if hash not in [*HASHES]:  # found by equality, whatever it is
            raise ConfigError(
                f"ShardMap: hash: expected one of {', '.join(HASHES)}, found {hash!r}"
            )
        if hash == "redis" and len(owners) != REDIS_SLOTS:
            raise ConfigError(
                f"ShardMap: slots: redis has {REDIS_SLOTS} of them, found {len(owners)}"
            )
        self.hash, self.owners, self.shards = hash, owners, frozenset(owners)
        self._hash, self._mask = HASHES[hash], len(owners) - 1

    @classmethod
    def over(cls, shards: Iterable[str] | Mapping[str, float], slots: int, hash: str) -> Self:  # noqa: A002
        """Deal the slots to the shards in proportion to their weights."""
        counted("ShardMap", "slots", slots, 1, _MOST_SLOTS)
        if slots & (slots - 1):
            raise ConfigError(f"ShardMap: slots: expected a power of two, found {slots}")
        return cls(cls._settled((), slots, shards), hash)

    def slot(self, key: KeyValue) -> int:
        """The slot of a key, from 0."""
        return self._hash(key) & self._mask

    def shard(self, key: KeyValue) -> str:
        """The shard that has the key's slot."""
        return self.owners[self._hash(key) & self._mask]

    def over_others(self, shards: Iterable[str] | Mapping[str, float]) -> Self:
        """Deal them to these shards, so that as few slots move as their shares allow."""
        return type(self)(self._settled(self.owners, len(self.owners), shards), self.hash)

    def handed(self, slots: Iterable[int], shard: str) -> Self:
        """Give some slots to a shard."""
        owners = list(self.owners)
        for slot in slots:
            owners[slot] = shard
        return type(self)(tuple(owners), self.hash)

    def moves(self, new: SlotRule) -> Iterator[ShardMove]:
        """For each pair of shards the slots that go from one to the other."""
        alike(self, new)
        ours, theirs = (self.hash, len(self.owners)), (new.hash, len(new.owners))
        if ours != theirs:
            raise ConfigError(
                f"ShardMap: plan: expected a map of the same (hash, slots) {ours}, found {theirs}"
            )
        pairs: dict[tuple[str, str], list[int]] = {}
        for slot, pair in enumerate(zip(self.owners, new.owners, strict=True)):
            if pair[0] != pair[1]:
                pairs.setdefault(pair, []).append(slot)
        for (source, target), slots in sorted(pairs.items()):
            yield ShardMove(source=source, target=target, slots=runs(slots))

    def saved(self) -> SavedSlots:
        """As runs of slots."""
        return SavedSlots(self.hash, len(self.owners), packed(self.owners))

    @classmethod
    def restored(cls, saved: SavedSlots) -> Self:
        """Make it again, and check it as if it were new."""
        blank = cls.over(["any"], saved.slots, saved.hash)
        if not saved.owners:
            raise ConfigError("ShardMap: owners: expected who has each slot, found none")
        members("ShardMap", {owner for _, owner in saved.owners})
        return cls(unpacked(saved.owners, len(blank.owners)), saved.hash)

    @staticmethod
    def _settled(
        owners: tuple[str, ...], slots: int, shards: Iterable[str] | Mapping[str, float]
    ) -> tuple[str, ...]:
        weights = members("ShardMap", shards)
        if len(weights) > slots:
            raise ConfigError(
                f"ShardMap: expected at most as many shards as slots, {slots}, found {len(weights)}"
            )
        return resettled(owners, slots, dict(sorted(weights.items())), {})
