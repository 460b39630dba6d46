"""A map of shards as JSON: with a format and a version, so that no one misreads one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from escala.databases.pure.key_value import KeyValue, as_json, from_json
from escala.databases.pure.saved_rule import restored
from escala.databases.pure.shard_rule import Saved, ShardRule, shard_name
from escala.databases.sharding.shard_move import Moving
from escala.errors import ConfigError, UnknownKey

_FORMAT, _VERSION = "escala.shard_map", 1
_MOST = 2**62  # epochs: a column of 64 bits has room for more


class SavedMap(NamedTuple):
    """All that a map is."""

    epoch: int
    key: tuple[str, ...]
    rule: ShardRule
    pins: Mapping[KeyValue, str]
    moving: tuple[Moving, ...]


class _Head(msgspec.Struct):
    format: str
    version: int
    epoch: int = 1


class _Moving(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    source: str
    target: str
    state: Literal["copying", "left over"]
    slots: list[tuple[int, int]] = []
    keys: list[Any] = []


class _Text(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    version: int
    epoch: int
    key: tuple[str, ...]
    rule: Saved
    pins: list[tuple[Any, str]]
    moving: list[_Moving]


def as_text(saved: SavedMap) -> str:
    """The same text for the same map."""
    pins = sorted(saved.pins.items(), key=lambda item: repr(item[0]))
    text = _Text(
        format=_FORMAT,
        version=_VERSION,
        epoch=saved.epoch,
        key=saved.key,
        rule=saved.rule.saved(),
        pins=[(as_json(key), shard) for key, shard in pins],
        moving=[
            _Moving(
                move.source, move.target, move.state, list(move.slots), [*map(as_json, move.keys)]
            )
            for move in saved.moving
        ],
    )
    return msgspec.json.encode(text).decode()


def from_text(text: str | bytes) -> SavedMap:
    """Read it, and check each part as if it were new. Raises `ConfigError`."""
    try:
        _check(msgspec.json.decode(text, type=_Head))
        found = msgspec.json.decode(text, type=_Text)
        return SavedMap(
            found.epoch,
            found.key,
            restored(found.rule),
            _pins(found.pins),
            tuple(_moving(move) for move in found.moving),
        )
    except ConfigError:
        raise
    except (msgspec.DecodeError, ValueError, TypeError, UnknownKey, RecursionError) as error:
        raise ConfigError(f"ShardMap: expected what to_json writes: {error}") from error


def _check(head: _Head) -> None:
    if head.format != _FORMAT:
        raise ConfigError(f"ShardMap: expected the format {_FORMAT!r}, found {head.format!r}")
    if head.version != _VERSION:
        raise ConfigError(
            f"ShardMap: expected version {_VERSION} of the format, found {head.version}: a newer "
            "Escala has written it"
        )
    if not 1 <= head.epoch <= _MOST:
        raise ConfigError(
            f"ShardMap: epoch: expected a number from 1 to {_MOST}, found {head.epoch}"
        )


def _pins(found: list[tuple[Any, str]]) -> dict[KeyValue, str]:
    pins = {from_json(key): shard_name(shard) for key, shard in found}
    if len(pins) < len(found):
        raise ConfigError("ShardMap: pins: expected each key once")
    return pins


def _moving(found: _Moving) -> Moving:
    for first, last in found.slots:
        if not 0 <= first <= last:
            raise ValueError(f"there are no slots from {first} to {last}")
    return Moving(
        source=shard_name(found.source),
        target=shard_name(found.target),
        slots=tuple(found.slots),
        keys=tuple(map(from_json, found.keys)),
        state=found.state,
    )
