"""Keys by ranges: neighbours stay together, so that a span of them is on few shards."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any, Self

from escala.databases.pure.key_value import KeyValue, as_json, checked, from_json
from escala.databases.pure.shard_rule import SavedRanges, alike, shard_name
from escala.databases.sharding.shard_move import ShardMove
from escala.errors import ConfigError, UnknownKey

Bound = Any  # a key value, or None for no end; those of one map can be compared
Range = tuple[Bound, Bound, str]


class RangeRule:
    """Each range has its first key and not its last; between ranges there may be gaps."""

    __slots__ = ("_kind", "_lows", "_open", "ranges", "shards")

    def __init__(self, ranges: Iterable[Range]) -> None:
        given = [(low, high, shard_name(shard)) for low, high, shard in ranges]
        if not given:
            raise ConfigError("ShardMap: expected a range at least, found none")
        kinds = {_kind(checked(bound)) for pair in given for bound in pair[:2] if bound is not None}
        if len(kinds) > 1:
            raise ConfigError(
                f"ShardMap: expected bounds of one type, found {' and '.join(sorted(kinds))}"
            )
        self._kind = kinds.pop() if kinds else None
        self.ranges = _joined(_ordered(given))
        self.shards = frozenset(shard for _, _, shard in self.ranges)
        self._open = self.ranges[0][0] is None
        self._lows = [low for low, _, _ in self.ranges if low is not None]

    @classmethod
    def of(cls, ranges: Mapping[str, object]) -> Self:
        """From what a user writes: shard to (from, to), or to a list of such pairs."""
        return cls(
            (*_pair(shard, span), shard)
            for shard, spans in ranges.items()
            for span in (spans if isinstance(spans, list) else [spans])
        )

    def shard(self, key: KeyValue) -> str:
        """The shard in whose range the key is."""
        key = checked(key)
        if self._kind is not None and _kind(key) != self._kind:
            raise UnknownKey(f"ShardMap: expected a key of type {self._kind}, found {key!r}")
        shard = self._at(key)
        if shard is None:
            raise UnknownKey(f"ShardMap: {key!r} is outside every range")
        return shard

    def moves(self, new: RangeRule) -> Iterator[ShardMove]:
        """For each pair of shards the ranges that go from one to the other."""
        alike(self, new)
        if None not in {self._kind, new._kind} and self._kind != new._kind:
            raise ConfigError(
                f"ShardMap: plan: expected keys of type {self._kind}, found {new._kind}"
            )
        pairs: dict[tuple[str, str], list[tuple[Bound, Bound]]] = {}
        for low, high in _pieces(self.ranges, new.ranges):
            source, target = self._at(low), new._at(low)
            if source is None or source == target:
                continue
            if target is None:
                raise ConfigError(
                    f"ShardMap: plan: the new map has no shard for keys from {low!r} to {high!r}"
                )
            pairs.setdefault((source, target), []).append((low, high))
        for (source, target), spans in sorted(pairs.items()):
            yield ShardMove(source=source, target=target, ranges=tuple(spans))

    def saved(self) -> SavedRanges:
        """In ascending order."""
        return SavedRanges([(_bound(low), _bound(high), shard) for low, high, shard in self.ranges])

    @classmethod
    def restored(cls, saved: SavedRanges) -> Self:
        """Make it again, and check it as if it were new."""
        return cls((_read(low), _read(high), shard) for low, high, shard in saved.ranges)

    def _at(self, key: Bound) -> str | None:
        """Who has a key; `None` as key is before all others."""
        index = (0 if key is None else bisect_right(self._lows, key)) - (not self._open)
        if index < 0:
            return None
        _, high, shard = self.ranges[index]
        return shard if high is None or key is None or key < high else None


def _ordered(ranges: list[Range]) -> list[Range]:
    """In ascending order. Raises `ConfigError` for one that is empty or overlaps another."""
    for low, high, shard in ranges:
        if low is not None and high is not None and low >= high:
            raise ConfigError(f"ShardMap: the range of {shard!r} from {low!r} to {high!r} is empty")
    begins = [each for each in ranges if each[0] is None]
    ordered = begins + sorted((each for each in ranges if each[0] is not None), key=_low)
    for (_, high, before), (low, _, after) in pairwise(ordered):
        if high is None or low is None or low < high:
            raise ConfigError(f"ShardMap: the ranges of {before!r} and {after!r} overlap")
    return ordered


def _joined(ordered: list[Range]) -> list[Range]:
    """Without the seams between neighbours of one shard, so that equal maps are equal."""
    joined = ordered[:1]
    for low, high, shard in ordered[1:]:
        begin, end, before = joined[-1]
        if before == shard and end == low:
            joined[-1] = (begin, high, shard)
        else:
            joined.append((low, high, shard))
    return joined


def _pieces(old: list[Range], new: list[Range]) -> Iterator[tuple[Bound, Bound]]:
    """The smallest ranges that all bounds of both cut the keys into."""
    cuts = {bound for each in (*old, *new) for bound in each[:2] if bound is not None}
    ascending: list[Bound] = [None, *sorted(cuts), None]
    yield from pairwise(ascending)


def _low(each: Range) -> Bound:
    return each[0]


def _pair(shard: str, span: object) -> tuple[Bound, Bound]:
    if not isinstance(span, tuple) or len(span) != 2:  # noqa: PLR2004  from and to
        raise ConfigError(f"ShardMap: expected (from, to) for {shard!r}, found {span!r}")
    return span


def _kind(key: KeyValue) -> str:
    """What can be compared with each other; times with and without a zone cannot."""
    if isinstance(key, datetime):
        return "datetime" if key.tzinfo is None else "datetime with a zone"
    names = {"str": "text", "int": "whole number"}
    return names.get(type(key).__name__, type(key).__name__)


def _bound(bound: Bound) -> Any:  # noqa: ANN401  JSON
    return None if bound is None else as_json(bound)


def _read(found: Any) -> Bound:  # noqa: ANN401  JSON
    return None if found is None else from_json(found)
