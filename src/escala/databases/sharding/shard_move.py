"""What goes from one shard to another when a map of shards changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from escala.databases.pure.key_value import KeyValue
from escala.databases.pure.slot_runs import members
from escala.errors import ConfigError

Slots = tuple[tuple[int, int], ...]


class ShardMove(msgspec.Struct, frozen=True, kw_only=True):
    """Keys that go from one shard to another. Of the fields only those that say which are set.

    - `slots`: runs of slots, first and last, of a map by slots. A pinned key stays.
    - `keys`: single keys, of a directory or pinned ones.
    - `ranges`: from (included) and to (excluded), of a map by ranges; `None` is without end.
    - `share`: how much of all keys, of a map by a ring, where there is no list of them.
    - `region`: the region in whose map this is.
    """

    source: str
    target: str
    slots: Slots = ()
    keys: tuple[KeyValue, ...] = ()
    ranges: tuple[tuple[Any, Any], ...] = ()
    share: float = 0.0
    region: str = ""


class Moving(msgspec.Struct, frozen=True, kw_only=True):
    """A move that is under way: both shards have rows of these keys, and one of them owns them.

    While `state` is "copying" the source owns them, and what the target has of them is not to be
    seen yet. With "left over" the target owns them, and the source still has what it had.
    """

    source: str
    target: str
    slots: Slots = ()
    keys: tuple[KeyValue, ...] = ()
    state: Literal["copying", "left over"] = "copying"

    @property
    def owner(self) -> str:
        """The shard whose rows count."""
        return self.source if self.state == "copying" else self.target

    @property
    def stranger(self) -> str:
        """The shard whose rows of these keys do not count."""
        return self.target if self.state == "copying" else self.source


class Rows(msgspec.Struct, frozen=True):
    """Which rows, by their shard key: all of these slots `but` some keys, and some `keys` more."""

    slots: Slots = ()
    keys: tuple[KeyValue, ...] = ()
    but: tuple[KeyValue, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.slots or self.keys)


def check_once(moves: Iterable[Moving]) -> None:
    """Refuse what is in two moves. Raises `ConfigError`."""
    slots = [slot for move in moves for slot in members(move.slots)]
    keys = [key for move in moves for key in move.keys]
    if len(slots) + len(keys) > len({*slots}) + len({*keys}):
        raise ConfigError("ShardMap: moving: expected each slot and key in one move only")
