"""A rule from what it was saved as."""

from __future__ import annotations

from escala.databases.pure.directory_rule import DirectoryRule
from escala.databases.pure.geo_rule import GeoRule
from escala.databases.pure.key_value import from_json
from escala.databases.pure.one_shard import OneShard
from escala.databases.pure.range_rule import RangeRule
from escala.databases.pure.ring_rule import RingRule
from escala.databases.pure.shard_rule import (
    Saved,
    SavedDirectory,
    SavedRanges,
    SavedRegions,
    SavedRing,
    SavedShard,
    SavedSlots,
    ShardRule,
)
from escala.databases.pure.slot_rule import SlotRule
from escala.errors import ConfigError


def restored(saved: Saved) -> ShardRule:
    """Make the rule again. Raises `ConfigError`, `ValueError` or `UnknownKey` if it is none."""
    match saved:
        case SavedSlots():
            return SlotRule.restored(saved)
        case SavedRing():
            return RingRule.restored(saved)
        case SavedRanges():
            return RangeRule.restored(saved)
        case SavedShard():
            return OneShard.restored(saved)
        case SavedRegions():
            return GeoRule({region: restored(rule) for region, rule in saved.regions.items()})
        case SavedDirectory():
            entries = {from_json(key): shard for key, shard in saved.entries}
            if len(entries) < len(saved.entries):
                raise ConfigError("ShardMap: entries: expected each key once")
            otherwise = None if saved.otherwise is None else restored(saved.otherwise)
            return DirectoryRule(entries, otherwise)
