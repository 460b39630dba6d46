"""Which shard has a key: a map that all routers and the shards themselves agree on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self

from escala.databases.pure.directory_rule import DirectoryRule
from escala.databases.pure.geo_rule import GeoRule
from escala.databases.pure.key_hash import postgres_function
from escala.databases.pure.key_value import KeyValue, checked, hashable
from escala.databases.pure.map_text import SavedMap, as_text, from_text
from escala.databases.pure.one_shard import OneShard
from escala.databases.pure.range_rule import RangeRule
from escala.databases.pure.ring_rule import RingRule
from escala.databases.pure.rows_sql import in_slots, is_key, quoted
from escala.databases.pure.shard_rule import ShardRule
from escala.databases.pure.slot_rule import SlotRule
from escala.databases.pure.slot_runs import members, runs
from escala.databases.sharding.shard_move import Moving, Rows, ShardMove, check_once
from escala.errors import ConfigError

Shards = Iterable[str] | Mapping[str, float]


class ShardMap:
    """Reach for it when one database is too small: it says which of several has a key.

    >>> shards = ShardMap.slots(["s0", "s1"], key="tenant_id")
    >>> shards.shard("acme"), shards.slot("acme")
    ('s0', 110)
    >>> more = shards.with_shards(["s0", "s1", "s2"])
    >>> [(move.source, move.target) for move in shards.plan(more)], more.epoch
    ([('s0', 's2'), ('s1', 's2')], 2)

    `key` is the column that says which shard a row is on. There are five ways to place a key:

    - `slots`: hashed into slots that can be moved one by one while all is in use. The usual one.
    - `hash`: on a `HashRing`, without a table.
    - `range`: by order, from (included) to (excluded); `None` is without end.
    - `directory`: each key listed.
    - `geo`: by region, each with a shard or a map of its own.

    A key is text, a whole number of 64 bits, a UUID, bytes or a date. `"7"` and `7` are two keys:
    give it in the type of the column. Raises `UnknownKey` for a key that no shard has, and
    `ConfigError` for what makes no map.

    A map never changes: what changes one makes another, with the next epoch. Threads, tasks and
    processes share one without a lock.
    """

    __slots__ = ("__dict__", "_epoch", "_key", "_moving", "_pins", "_rule")

    def __init__(
        self,
        rule: ShardRule,
        key: str | tuple[str, ...],
        *,
        epoch: int = 1,
        pins: Mapping[KeyValue, str] | None = None,
        moving: tuple[Moving, ...] = (),
    ) -> None:
        self._rule, self._epoch, self._moving = rule, epoch, moving
        self._key = key if isinstance(key, tuple) else (key,)
        self._pins = dict(pins or {})
        if not self._key or not all(map(_named, self._key)):
            raise ConfigError(f"ShardMap: key: expected the name of a column, found {key!r}")
        if len(self._key) > 1 and not isinstance(rule, GeoRule):
            raise ConfigError(f"ShardMap: key: expected one column, found {key!r}")

    @classmethod
    def slots(
        cls,
        shards: Shards,
        *,
        key: str,
        slots: int = 4096,
        hash: str = "postgres",  # noqa: A002
    ) -> Self:
        """Hash keys into `slots`, a power of two, each of which is on one shard.

        - `shards` are names, or a mapping of names to weights.
        - `slots` is their number for ever: they move whole, so take some hundred for each shard
          that there may ever be.
        - `hash` is "postgres" (what PostgreSQL itself gives for text, whole numbers and UUIDs, so
          that the server can tell the slot of a row: needed to move slots between servers),
          "xxh3" (the fastest) or "redis" (Redis Cluster's CRC16, with 16,384 slots).
        """
        return cls(SlotRule.over(shards, slots, hash), key)

    @classmethod
    def hash(cls, shards: Shards, *, key: str) -> Self:
        """Hash keys onto a ring: see `HashRing`."""
        return cls(RingRule.over(shards), key)

    @classmethod
    def range(cls, ranges: Mapping[str, object], *, key: str) -> Self:
        """Give each shard a range of keys, or a list of them.

        >>> years = ShardMap.range({"old": (None, 2020), "new": (2020, None)}, key="year")
        >>> years.shard(2019), years.shard(2020)
        ('old', 'new')

        Text goes by code points, as in PostgreSQL with the collation C. Ranges that overlap are
        refused; a key in a gap between them is an `UnknownKey`.
        """
        return cls(RangeRule.of(_mapping(ranges, "of shards to their ranges")), key)

    @classmethod
    def directory(
        cls, entries: Mapping[Any, str], *, key: str, otherwise: str | ShardMap | None = None
    ) -> Self:
        """List each key with its shard; `otherwise` has those that are not listed."""
        rest = None if otherwise is None else _rule(otherwise)
        return cls(DirectoryRule(_mapping(entries, "of keys to their shards"), rest), key)

    @classmethod
    def geo(cls, regions: Mapping[str, str | ShardMap], *, key: str | tuple[str, ...]) -> Self:
        """Give each region a shard, or a map of its own that the rest of the key goes by.

        >>> eu = ShardMap.slots(["eu0", "eu1"], key="tenant_id")
        >>> world = ShardMap.geo({"eu": eu, "us": "us0"}, key=("region", "tenant_id"))
        >>> world.shard(("eu", "acme")), world.shard(("us", "acme"))
        ('eu0', 'us0')
        """
        places = _mapping(regions, "of regions to their shards")
        return cls(GeoRule({region: _rule(place) for region, place in places.items()}), key)

    def shard(self, key: KeyValue) -> str:
        """The shard that owns this key. Raises `UnknownKey`."""
        if self._pins:
            shard = self._pins.get(hashable(key))
            if shard is not None:
                return shard
        return self._rule.shard(key)

    def slot(self, key: KeyValue) -> int:
        """The slot of this key, from 0. Raises `ConfigError` when the map has no slots."""
        return self._slot_rule.slot(key)

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that say which shard a row is on: one, or those of `geo`."""
        return self._key

    @property
    def epoch(self) -> int:
        """How many maps there have been, this one included: of two the higher one holds."""
        return self._epoch

    @property
    def slot_count(self) -> int:
        """How many slots there are. Raises `ConfigError` when the map has none."""
        return len(self._slot_rule.owners)

    @property
    def owners(self) -> tuple[str, ...]:
        """The shard of each slot. Raises `ConfigError` when the map has no slots."""
        return self._slot_rule.owners

    @cached_property
    def shards(self) -> tuple[str, ...]:
        """All shards, those included that something is on its way to, in the order of names."""
        names = {*self._rule.shards, *self._pins.values()}
        names.update(shard for move in self._moving for shard in (move.source, move.target))
        return tuple(sorted(names))

    @property
    def pins(self) -> Mapping[KeyValue, str]:
        """Key to shard, for the keys that stay where they are."""
        return MappingProxyType(self._pins)

    @property
    def rule(self) -> DirectoryRule:
        """How it decides: the pinned keys first."""
        return DirectoryRule(self._pins, self._rule)

    @property
    def moving(self) -> tuple[Moving, ...]:
        """The moves that are under way."""
        return self._moving

    def pin(self, key: KeyValue, shard: str) -> Self:
        """Make the map in which that key is on that shard, whatever becomes of the others."""
        if shard not in self.shards:
            raise ConfigError(f"ShardMap: pin: there is no shard {shard!r}")
        return self._next(pins={**self._pins, checked(key): shard})

    def unpin(self, key: KeyValue) -> Self:
        """Make the map in which that key goes with the others. Raises `ConfigError` if it does."""
        if hashable(key) not in self._pins:
            raise ConfigError(f"ShardMap: unpin: {key!r} is not pinned")
        return self._next(pins={each: self._pins[each] for each in self._pins if each != key})

    def with_shards(self, shards: Shards) -> Self:
        """Make the map over exactly these shards, in which as few keys as can be have moved.

        For maps by slots and by a ring. Raises `ConfigError` for another one, and when a key is
        pinned to a shard that goes.
        """
        rule: ShardRule
        if isinstance(self._rule, SlotRule):
            rule = self._rule.over_others(shards)
        elif isinstance(self._rule, RingRule):
            rule = RingRule.over(shards)
        else:
            raise ConfigError("ShardMap: with_shards: expected a map by slots or by a ring")
        for key, shard in self._pins.items():
            if shard not in rule.shards:
                raise ConfigError(f"ShardMap: {key!r} is pinned to {shard!r}, which goes; unpin it")
        return self._next(rule=rule)

    def plan(self, new: ShardMap) -> list[ShardMove]:
        """List what has to move from this map to a new one: single keys first, then the others.

        To do them one by one begin with `toward(new)`. Raises `ConfigError` when the two cannot be
        compared, or keys would belong to no shard.
        """
        if self._key != new.key:
            raise ConfigError(f"ShardMap: plan: expected the key {self._key}, found {new.key}")
        return list(self.rule.moves(new.rule))

    def toward(self, new: ShardMap) -> Self:
        """Make the map with which the moves of `plan(new)` begin; no key is elsewhere in it.

        A key that is pinned in the new map to the shard that it is on stays there, so it is pinned
        before its slot moves.
        """
        stay = {key: shard for key, shard in new.pins.items() if self.shard(key) == shard}
        return self._next(pins={**self._pins, **stay})

    def with_moving(self, *moves: ShardMove) -> Self:
        """Make the map in which these moves have begun: the sources still own the keys.

        Raises `ConfigError` when a source does not own them, or they are on the move already.
        """
        begun = tuple(
            Moving(source=each.source, target=each.target, slots=each.slots, keys=each.keys)
            for each in moves
        )
        for move in begun:
            self._check(move)
        everything = (*self._moving, *begun)
        check_once(everything)
        return self._next(moving=everything)

    def moved(self, move: Moving) -> Self:
        """Make the map in which the other shard owns what moves, and this one has it left over.

        For a move that is being copied that is the target. For one that is left over it is the
        source: the way back, after which the move is listed the other way round.
        """
        self._known(move)
        to = move.stranger
        after = Moving(
            source=move.owner, target=to, slots=move.slots, keys=move.keys, state="left over"
        )
        rule = self._rule
        if move.slots:
            rule = self._slot_rule.handed(members(move.slots), to)
        pins = dict(self._pins)
        for key in move.keys:
            if rule.shard(key) == to:
                pins.pop(key, None)
            else:
                pins[key] = to
        moving = tuple(after if each == move else each for each in self._moving)
        return self._next(rule=rule, pins=pins, moving=moving)

    def without_moving(self, move: Moving) -> Self:
        """Make the map in which that move is over: only the owner has rows of it."""
        self._known(move)
        return self._next(moving=tuple(each for each in self._moving if each != move))

    def rows(self, move: ShardMove | Moving) -> Rows:
        """Which rows a move takes along: pinned keys stay, whatever becomes of their slots."""
        slots = {*members(move.slots)}
        but = tuple(key for key in self._pins if slots and self.slot(key) in slots)
        return Rows(runs(slots), move.keys, but)

    def foreign(self, shard: str) -> Rows:
        """Which rows may be on a shard without being its own, because a move is under way."""
        parts = [self.rows(move) for move in self._moving if move.stranger == shard]
        return Rows(
            runs(slot for part in parts for slot in members(part.slots)),
            tuple(key for part in parts for key in part.keys),
            tuple(key for part in parts for key in part.but),
        )

    def slot_sql(self, column: str, type: str) -> str:  # noqa: A002  the type of a column
        """The slot of a row as SQL that PostgreSQL can compute, also in a publication's filter.

        `type` is the type of the column: text, varchar, smallint, integer, bigint or uuid. Raises
        `ConfigError` for another one, and for a map whose hash PostgreSQL does not know. A filter
        of a publication takes all of them but varchar: alter such a column to text first.
        """
        rule = self._slot_rule
        if rule.hash != "postgres":
            raise ConfigError(f"ShardMap: PostgreSQL has no hash {rule.hash!r}; use 'postgres'")
        return f"({postgres_function(type)}({quoted(column)}, 0) & {len(rule.owners) - 1})"

    def rows_sql(self, rows: Rows, column: str, type: str) -> str:  # noqa: A002
        """A condition that holds for exactly these rows, as SQL for PostgreSQL."""
        parts = []
        if rows.slots:
            within = in_slots(self.slot_sql(column, type), rows.slots)
            but = f" AND NOT {is_key(column, rows.but)}" if rows.but else ""
            parts.append(f"({within}{but})")
        if rows.keys:
            parts.append(is_key(column, rows.keys))
        return f"({' OR '.join(parts)})" if parts else "false"

    def to_json(self) -> str:
        """All that decides where a key goes, as text that `from_json` reads."""
        return as_text(SavedMap(self._epoch, self._key, self._rule, self._pins, self._moving))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` has written. Raises `ConfigError` for anything else."""
        saved = from_text(text)
        made = cls(saved.rule, saved.key, epoch=saved.epoch, pins=saved.pins)
        for move in saved.moving:
            made._check(move)
        check_once(saved.moving)
        made._moving = saved.moving
        return made

    @property
    def _slot_rule(self) -> SlotRule:
        if not isinstance(self._rule, SlotRule):
            raise ConfigError("ShardMap: expected a map by slots; only its keys have slots")
        return self._rule

    def _next(
        self,
        rule: ShardRule | None = None,
        pins: Mapping[KeyValue, str] | None = None,
        moving: tuple[Moving, ...] | None = None,
    ) -> Self:
        return type(self)(
            self._rule if rule is None else rule,
            self._key,
            epoch=self._epoch + 1,
            pins=self._pins if pins is None else pins,
            moving=self._moving if moving is None else moving,
        )

    def _known(self, move: Moving) -> None:
        if move not in self._moving:
            raise ConfigError(f"ShardMap: expected a move that is under way, found {move}")

    def _check(self, move: Moving) -> None:
        """Refuse a move of what its owner does not own. Raises `ConfigError`."""
        if move.source == move.target or not (move.slots or move.keys):
            raise ConfigError(f"ShardMap: expected slots or keys of another shard, found {move}")
        owners = self._slot_rule.owners
        for first, last in move.slots:
            if not 0 <= first <= last < len(owners):
                raise ConfigError(f"ShardMap: there are no slots from {first} to {last}")
        for slot in members(move.slots):
            if owners[slot] != move.owner:
                raise ConfigError(f"ShardMap: slot {slot} is not on {move.owner!r}")
        for key in move.keys:
            if self.shard(key) != move.owner:
                raise ConfigError(f"ShardMap: the key {key!r} is not on {move.owner!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ShardMap):
            return NotImplemented
        return self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return type(self).from_json, (self.to_json(),)

    def __repr__(self) -> str:
        return f"ShardMap(epoch {self._epoch}, {len(self.shards)} shards by {'+'.join(self._key)})"


def _mapping(found: Mapping[Any, Any], to: str) -> Mapping[Any, Any]:
    if not isinstance(found, Mapping):
        raise ConfigError(f"ShardMap: expected a mapping {to}, found {found!r}")
    return found


def _named(column: object) -> bool:
    return isinstance(column, str) and column != ""


def _rule(place: str | ShardMap) -> ShardRule:
    """What a map within a map, or a shard in its place, comes to."""
    if not isinstance(place, ShardMap):
        return OneShard(place)
    if place.moving:
        raise ConfigError("ShardMap: expected a map without moves within another map")
    return place.rule
