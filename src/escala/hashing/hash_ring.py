"""Consistent hashing on a ring: a key belongs to the next point, and points to nodes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, Self

import msgspec

from escala.errors import ConfigError
from escala.hashing.pure.digest import Digest, digest
from escala.hashing.pure.ketama import (
    KETAMA_POINTS,
    ketama_counts,
    ketama_digest,
    ketama_label,
    ketama_points,
)
from escala.hashing.pure.members import Weights, counted, members, seeded, whole
from escala.hashing.pure.preference import spread
from escala.hashing.pure.ring_points import fingers, points_of, ring
from escala.hashing.snapshot import Key, Snapshot

_VNODES = 512
_MOST_VNODES, MOST_POINTS = 65_536, 8_000_000
_LARGEST_FACTOR = 1000.0


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    kind: Literal["hash_ring"]
    hash: str
    seed: int
    vnodes: int
    load_factor: float
    nodes: dict[str, float]
    zones: dict[str, str]


class HashRing(Snapshot):
    """Reach for it to spread keys over caches that come and go: a change moves only their keys.

    >>> ring = HashRing(["a", "b", "c"])
    >>> ring.node("user:7")
    'c'
    >>> ring.prefer("user:7", 2)
    ['c', 'b']
    >>> more = ring.with_node("d")
    >>> {more.node(key) for key in map(str, range(1000)) if more.node(key) != ring.node(key)}
    {'d'}

    - `nodes` are names, or a mapping of names to weights; a node of weight 2 gets two shares.
    - `vnodes` is how many points a node of weight 1 has on the ring. More of them spread the
      keys more evenly: with 512 the fullest of ten nodes has some 9 % more than its share.
    - `hash` is "xxh3" or "ketama". With "ketama" keys go where libmemcached sends them with
      `MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED`: MD5, 160 points for a node, whole weights, names as
      "host" or "host:port". The order of its nodes counts only where two have the same point.
    - `seed`, for "xxh3", makes another ring of the same nodes.
    - `zones` says which node is in which zone; `prefer` goes by it.
    - `load_factor` is what `place` allows a node to have, as a multiple of its share.

    `node` takes some 200 ns among ten nodes and 400 ns among a hundred. The same nodes give the
    same ring in every process and on every machine, with and without the package xxhash. Raises
    `ConfigError` for what makes no ring.

    David Karger et al., *Consistent Hashing and Random Trees*, STOC 1997.
    """

    __slots__ = (
        *("_cells", "_digest", "_hash", "_limits", "_load_factor", "_owners"),
        *("_placed", "_points", "_seed", "_shift", "_vnodes", "_zones"),
    )
    _saved_as = _Saved

    def __init__(
        self,
        nodes: Iterable[str] | Mapping[str, float],
        *,
        vnodes: int | None = None,
        hash: str = "xxh3",  # noqa: A002  what it is called in the JSON and everywhere else
        seed: int = 0,
        zones: Mapping[str, str] | None = None,
        load_factor: float = 1.25,
    ) -> None:
        weights = members("HashRing", nodes)
        self._hash, self._seed = hash, seeded("HashRing", seed)
        self._load_factor = _factor(load_factor)
        if hash == "xxh3":
            self._digest: Digest = digest
            self._vnodes = counted(
                "HashRing", "vnodes", _VNODES if vnodes is None else vnodes, 1, _MOST_VNODES
            )
        elif hash == "ketama":
            self._digest = ketama_digest
            self._vnodes = KETAMA_POINTS
            if vnodes is not None or seed:
                raise ConfigError(
                    f"HashRing: ketama has {KETAMA_POINTS} points for a node and no seed, "
                    f"found vnodes={vnodes}, seed={seed}"
                )
        else:
            raise ConfigError(f"HashRing: hash: expected 'xxh3' or 'ketama', found {hash!r}")
        self._lay(weights, dict(zones or {}), {}, [])

    def node(self, key: Key) -> str:
        """The node of a key."""
        at = self._digest(key.encode() if isinstance(key, str) else key, self._seed)
        points, index = self._points, self._cells[at >> self._shift]
        while points[index] < at:  # less than once on average
            index += 1
        return self._owners[index]

    def prefer(self, key: Key, count: int) -> list[str]:
        """The nodes for `count` copies of what has this key, the first of them its `node`.

        One of each zone before a second one of any. All nodes, when `count` is more than that.
        """
        counted("HashRing", "count", count, 1, MOST_POINTS)
        return spread(self.walk(key), self._zones, count)

    def place(self, key: Key, loads: Mapping[str, float]) -> str:
        """The first node from the key on that has room for one more.

        `loads` is how much each node has now, in units of one; none if it is not named. A node
        has room while it has less than `load_factor` times its share of the sum and the one more:
        with these as whole numbers, at most that share, rounded up, afterwards. O(nodes).

        Vahab Mirrokni, Mikkel Thorup and Morteza Zadimoghaddam, *Consistent Hashing with Bounded
        Loads*, SODA 2018.
        """
        after = sum(loads.get(node, 0) for node in self._weights) + 1
        for node in self.walk(key):
            over, under = self._limits[node]
            if loads.get(node, 0) * under < after * over:
                return node
        return self.node(key)  # no load adds up to a number

    def walk(self, key: Key) -> Iterator[str]:
        """Each node once, in the order in which one meets them from the key on.

        It goes on only as far as it is asked to, and `node` is the first.
        """
        at = self._digest(key.encode() if isinstance(key, str) else key, self._seed)
        begin, seen = bisect_left(self._points, at), set[str]()
        for turn in (range(begin, len(self._owners)), range(begin)):
            for index in turn:
                node = self._owners[index]
                if node not in seen:
                    seen.add(node)
                    yield node
                    if len(seen) == len(self._weights):
                        return

    @property
    def zones(self) -> Mapping[str, str]:
        """Node to zone, for those that have one."""
        return MappingProxyType(self._zones)

    def with_node(self, node: str, weight: float = 1.0, zone: str | None = None) -> Self:
        """Make the ring with one node more. Raises `ConfigError` when it is in this one already."""
        weights = self._joined(node, weight)
        return self._with(weights, self._zones if zone is None else {**self._zones, node: zone})

    def with_nodes(self, nodes: Iterable[str] | Mapping[str, float]) -> Self:
        """Make the ring of these nodes instead; it costs less the more of them are in this one.

        Raises `ConfigError` for what makes no ring.
        """
        return self._with(members("HashRing", nodes))

    def _with(self, weights: Weights, zones: Mapping[str, str] | None = None) -> Self:
        made = object.__new__(type(self))
        made._hash, made._seed, made._digest = self._hash, self._seed, self._digest
        made._vnodes, made._load_factor = self._vnodes, self._load_factor
        zones = self._zones if zones is None else zones
        staying = {node: zone for node, zone in zones.items() if node in weights}
        made._lay(weights, staying, self._placed, self._points)
        return made

    def _lay(
        self,
        weights: Weights,
        zones: dict[str, str],
        known: Mapping[str, list[int]],
        before: list[int],
    ) -> None:
        """Put the nodes on the ring; `known` are nodes of another, whose points are `before`."""
        self._weights, self._zones = weights, zones
        self._check_zones()
        self._limits = _limits(self._load_factor, weights)
        ketama = self._hash == "ketama"
        self._placed = self._as_ketama() if ketama else self._as_xxh3(known)
        grown = all(self._placed.get(node) is points for node, points in known.items())
        self._points, self._owners = ring(self._placed, before[:-1] if grown else ())
        self._cells, self._shift = fingers(self._points, 32 if ketama else 64)

    def _as_xxh3(self, known: Mapping[str, list[int]]) -> dict[str, list[int]]:
        counts = {
            node: max(1, round(self._vnodes * weight))
            for node, weight in sorted(self._weights.items())
        }
        if (total := sum(counts.values())) > MOST_POINTS:
            raise ConfigError(
                f"HashRing: nodes: expected vnodes times weights to be at most {MOST_POINTS:,} "
                f"points, found {total:,}"
            )
        return {
            node: known[node]
            if len(known.get(node, ())) == count
            else points_of(node, count, self._seed)
            for node, count in counts.items()
        }

    def _as_ketama(self) -> dict[str, list[int]]:
        seen: dict[str, str] = {}
        for node, weight in self._weights.items():
            if not weight.is_integer():
                raise ConfigError(
                    f"HashRing: weight of {node!r}: expected a whole number for ketama, "
                    f"found {weight}"
                )
            if (other := seen.setdefault(ketama_label(node), node)) != node:
                raise ConfigError(
                    f"HashRing: nodes: {other!r} and {node!r} are one server for ketama"
                )
        counts = ketama_counts(self._weights)
        return {node: ketama_points(node, count) for node, count in counts.items()}

    def _check_zones(self) -> None:
        zones: Mapping[str, object] = self._zones
        for node, zone in zones.items():
            if node not in self._weights:
                raise ConfigError(f"HashRing: zones: there is no node {node!r}")
            if not isinstance(zone, str) or not zone:
                raise ConfigError(f"HashRing: zones: expected a name for {node!r}, found {zone!r}")

    def _saved(self) -> _Saved:
        ordered = self._weights if self._hash == "ketama" else dict(sorted(self._weights.items()))
        return _Saved(
            kind="hash_ring",
            hash=self._hash,
            seed=self._seed,
            vnodes=self._vnodes,
            load_factor=self._load_factor,
            nodes=ordered,
            zones=dict(sorted(self._zones.items())),
        )

    @classmethod
    def _restored(cls, saved: Any) -> Self:  # noqa: ANN401  a `_Saved`
        ketama = saved.hash == "ketama" and saved.vnodes == KETAMA_POINTS
        return cls(
            saved.nodes,
            vnodes=None if ketama else saved.vnodes,
            hash=saved.hash,
            seed=saved.seed,
            zones=saved.zones,
            load_factor=saved.load_factor,
        )


def _factor(found: object) -> float:
    if isinstance(found, int | float) and 1 < found <= _LARGEST_FACTOR:
        return float(found)
    raise ConfigError(
        f"HashRing: load_factor: expected a number above 1, up to {_LARGEST_FACTOR:.0f}, "
        f"found {found!r}"
    )


def _limits(factor: float, weights: Weights) -> dict[str, tuple[int, int]]:
    """What each node may have of all there is, as a fraction of whole numbers: exactly."""
    shares = whole(weights)
    over, under = factor.as_integer_ratio()
    total = sum(shares.values())
    return {node: (over * share, under * total) for node, share in shares.items()}
