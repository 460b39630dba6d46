"""Keys by region, each with a shard or a map of its own: data that has to stay where it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from escala.databases.pure.key_value import KeyValue, checked
from escala.databases.pure.one_shard import OneShard
from escala.databases.pure.shard_rule import SavedRegions, ShardRule, alike
from escala.databases.sharding.shard_move import ShardMove
from escala.errors import ConfigError, UnknownKey
from escala.kernel.wrong_value import not_among


class GeoRule:
    """A key is a region, or a region and what the region's own map goes by."""

    __slots__ = ("regions", "shards")

    def __init__(self, regions: Mapping[str, ShardRule]) -> None:
        names: list[object] = list(regions)
        for name in names:
            if not isinstance(name, str) or not name:
                raise ConfigError(f"ShardMap: expected the name of a region, found {name!r}")
        if not regions:
            raise ConfigError("ShardMap: expected a region at least, found none")
        self.regions = dict(sorted(regions.items()))
        self.shards = frozenset[str]().union(*(rule.shards for rule in regions.values()))

    def shard(self, key: KeyValue) -> str:
        """The shard of a region, or the one that its map says for the rest of the key."""
        region, *rest = key if key and isinstance(key, tuple) else (key,)
        rule = self.regions.get(region) if isinstance(region, str) else None
        if rule is None:
            raise UnknownKey(f"ShardMap: {not_among('regions', self.regions, str(region))}")
        if isinstance(rule, OneShard):
            return rule.name
        if not rest:
            raise UnknownKey(f"ShardMap: expected ({region!r}, key), since {region!r} has shards")
        return rule.shard(checked(rest[0] if len(rest) == 1 else tuple(rest)))

    def moves(self, new: GeoRule) -> Iterator[ShardMove]:
        """Region by region; what a region that is new has is not on any shard yet."""
        alike(self, new)
        for region, rule in self.regions.items():
            if region not in new.regions:
                raise ConfigError(f"ShardMap: plan: the new map has no region {region!r}")
            for move in rule.moves(new.regions[region]):
                within = f"{region}/{move.region}" if move.region else region
                yield msgspec.structs.replace(move, region=within)

    def saved(self) -> SavedRegions:
        """In the order of their names."""
        return SavedRegions({region: rule.saved() for region, rule in self.regions.items()})
