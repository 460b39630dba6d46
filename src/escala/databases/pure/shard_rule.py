"""How a map of shards decides, apart from its epoch, its pins and what is on the move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from escala.databases.pure.key_value import KeyValue
from escala.databases.sharding.shard_move import ShardMove
from escala.errors import ConfigError


class ShardRule(Protocol):
    """A rule never changes; equal rules have equal `saved()`."""

    @property
    def shards(self) -> frozenset[str]:
        """All shards that it names."""

    def shard(self, key: KeyValue) -> str:
        """The shard of a key. Raises `UnknownKey`."""

    def moves(self, new: Any) -> Iterator[ShardMove]:  # noqa: ANN401  a rule of the same kind
        """What has to move so that `new`, a rule of the same kind, holds. Raises `ConfigError`."""

    def saved(self) -> Saved:
        """All of it, as plain values."""


class SavedSlots(msgspec.Struct, tag_field="kind", tag="slots", forbid_unknown_fields=True):
    """Of `SlotRule`: the first slot of each run, and who has it."""

    hash: str
    slots: int
    owners: list[tuple[int, str]]


class SavedRing(msgspec.Struct, tag_field="kind", tag="hash", forbid_unknown_fields=True):
    """Of `RingRule`: what `HashRing.to_json` writes."""

    ring: dict[str, Any]


class SavedRanges(msgspec.Struct, tag_field="kind", tag="range", forbid_unknown_fields=True):
    """Of `RangeRule`: from, to, shard."""

    ranges: list[tuple[Any, Any, str]]


class SavedDirectory(msgspec.Struct, tag_field="kind", tag="directory", forbid_unknown_fields=True):
    """Of `DirectoryRule`: key and shard, and the rule for keys that it does not name."""

    entries: list[tuple[Any, str]]
    otherwise: Saved | None = None


class SavedRegions(msgspec.Struct, tag_field="kind", tag="geo", forbid_unknown_fields=True):
    """Of `GeoRule`: region and its rule."""

    regions: dict[str, Saved]


class SavedShard(msgspec.Struct, tag_field="kind", tag="shard", forbid_unknown_fields=True):
    """Of `OneShard`."""

    shard: str


Saved = SavedSlots | SavedRing | SavedRanges | SavedDirectory | SavedRegions | SavedShard


def alike(old: ShardRule, new: ShardRule) -> None:
    """Refuse to compare rules of two kinds. Raises `ConfigError`."""
    if type(old) is not type(new):
        kinds = type(old.saved()).__struct_config__.tag, type(new.saved()).__struct_config__.tag
        raise ConfigError(
            f"ShardMap: plan: expected a map of the kind {kinds[0]}, found {kinds[1]}"
        )


def shard_name(found: object) -> str:
    """A name of a shard. Raises `ConfigError`."""
    if not isinstance(found, str) or not found:
        raise ConfigError(f"ShardMap: expected the name of a shard, found {found!r}")
    return found
