"""Keys that are listed with their shard, and a rule for the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from escala.databases.pure.key_value import KeyValue, as_json, checked, hashable
from escala.databases.pure.shard_rule import SavedDirectory, ShardRule, alike, shard_name
from escala.databases.sharding.shard_move import ShardMove
from escala.errors import ConfigError, UnknownKey


class DirectoryRule:
    """Who is not listed goes by `otherwise`, and is unknown without it."""

    __slots__ = ("entries", "otherwise", "shards")

    def __init__(self, entries: Mapping[Any, str], otherwise: ShardRule | None = None) -> None:
        self.entries = {checked(key): shard_name(shard) for key, shard in entries.items()}
        self.otherwise = otherwise
        others = otherwise.shards if otherwise is not None else frozenset[str]()
        self.shards = frozenset(self.entries.values()) | others
        if not self.shards:
            raise ConfigError("ShardMap: expected a key and its shard at least, found none")

    def shard(self, key: KeyValue) -> str:
        """The shard that is listed, or the one that the other rule says."""
        shard = self.entries.get(hashable(key))
        if shard is not None:
            return shard
        if self.otherwise is None:
            raise UnknownKey(f"ShardMap: {key!r} is not in the directory, which has no `otherwise`")
        return self.otherwise.shard(key)

    def moves(self, new: DirectoryRule) -> Iterator[ShardMove]:
        """The listed keys first: they do not go with the others of their slot or range."""
        alike(self, new)
        pairs: dict[tuple[str, str], list[KeyValue]] = {}
        for key in {**self.entries, **new.entries}:
            try:
                pair = self.shard(key), new._for(key)
            except UnknownKey:  # it comes with the new map
                continue
            if pair[0] != pair[1]:
                pairs.setdefault(pair, []).append(key)
        for (source, target), keys in sorted(pairs.items(), key=lambda item: item[0]):
            yield ShardMove(source=source, target=target, keys=tuple(sorted(keys, key=repr)))
        if self.otherwise is not None:
            if new.otherwise is None:
                raise ConfigError("ShardMap: plan: expected a map with `otherwise` too, found none")
            yield from self.otherwise.moves(new.otherwise)

    def saved(self) -> SavedDirectory:
        """With the keys in the order of their text."""
        entries = sorted(self.entries.items(), key=lambda item: repr(item[0]))
        return SavedDirectory(
            [(as_json(key), shard) for key, shard in entries],
            None if self.otherwise is None else self.otherwise.saved(),
        )

    def _for(self, key: KeyValue) -> str:
        try:
            return self.shard(key)
        except UnknownKey as error:
            raise ConfigError(
                f"ShardMap: plan: the new map does not know the key {key!r}"
            ) from error
