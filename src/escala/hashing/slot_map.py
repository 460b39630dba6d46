"""Keys in a fixed number of slots, and a table that says which node has which slot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from types import MappingProxyType
from typing import Any, Literal, Self

import msgspec

from escala.errors import ConfigError
from escala.hashing.pure.digest import Digest, digest
from escala.hashing.pure.members import Weights, counted, members, seeded
from escala.hashing.pure.redis_slot import REDIS_SLOTS, redis_digest
from escala.hashing.pure.slot_shares import resettled
from escala.hashing.slot_move import SlotMove
from escala.hashing.snapshot import Key, Snapshot

_MOST_SLOTS = 1_048_576


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    kind: Literal["slot_map"]
    hash: str
    seed: int
    slots: int
    nodes: dict[str, float]
    owners: list[tuple[int, str]]  # the first slot of each run, and who has it
    pins: dict[int, str]


class SlotMap(Snapshot):
    """Reach for it where moving a key costs: shards, caches that are kept, sessions.

    >>> old = SlotMap(["a", "b", "c"])
    >>> old.slot("user:7"), old.node("user:7")
    (9908, 'b')
    >>> new = old.with_node("d")
    >>> len(old.plan(new)), len(new.slots_of("d"))
    (4096, 4096)
    >>> old.plan(new)[0]
    SlotMove(slot=4096, source='a', target='d')

    - `nodes` are names, or a mapping of names to weights; each node has its share of the slots,
      rounded down or up.
    - `slots` is how many there are, for ever: a key's slot depends on nothing else.
    - `hash` is "xxh3" or "redis". With "redis" a key has the slot that Redis Cluster gives it:
      CRC16 of the key, or of what stands in braces in it; there are 16,384 of them.
    - `seed`, for "xxh3", deals the keys to the slots in another way.

    A change moves as few slots as the new shares allow. So a map is what became of it, not what
    its nodes make of it: keep it (`to_json`) and hand it to the others. Raises `ConfigError` for
    what makes no map.

    `node` takes some 100 ns, however many nodes there are; a change some milliseconds.
    """

    __slots__ = ("_digest", "_hash", "_owners", "_pins", "_seed", "_slots")
    _saved_as = _Saved

    def __init__(
        self,
        nodes: Iterable[str] | Mapping[str, float],
        *,
        slots: int = REDIS_SLOTS,
        hash: str = "xxh3",  # noqa: A002  what it is called in the JSON and everywhere else
        seed: int = 0,
    ) -> None:
        self._slots = counted("SlotMap", "slots", slots, 1, _MOST_SLOTS)
        self._hash, self._seed = hash, seeded("SlotMap", seed)
        self._digest: Digest = self._chosen(hash)
        self._weights = dict(sorted(members("SlotMap", nodes).items()))
        self._check_count(self._weights)
        self._pins: Mapping[int, str] = {}
        self._owners = resettled((), self._slots, self._weights, self._pins)

    def node(self, key: Key) -> str:
        """The node of a key."""
        digest = self._digest(key.encode() if isinstance(key, str) else key, self._seed)
        return self._owners[digest % self._slots]

    def slot(self, key: Key) -> int:
        """The slot of a key, from 0."""
        return self._digest(key.encode() if isinstance(key, str) else key, self._seed) % self._slots

    def owner(self, slot: int) -> str:
        """The node that has a slot."""
        return self._owners[counted("SlotMap", "slot", slot, 0, self._slots - 1)]

    def slots_of(self, node: str) -> list[int]:
        """The slots that a node has; none if it is no node of this map."""
        return [slot for slot, owner in enumerate(self._owners) if owner == node]

    @property
    def slots(self) -> int:
        """How many slots there are."""
        return self._slots

    @property
    def pins(self) -> Mapping[int, str]:
        """Slot to node, for the slots that stay where they are."""
        return MappingProxyType(self._pins)

    def plan(self, new: SlotMap) -> list[SlotMove]:
        """List what has to move from this map to a new one, slot by slot.

        Raises `ConfigError` when the two have not the same slots, hash and seed: then any key may
        be in another slot, and no list of slots would do.
        """
        ours, theirs = (self._slots, self._hash, self._seed), (new._slots, new._hash, new._seed)
        if ours != theirs:
            raise ConfigError(
                f"SlotMap: expected a map of the same (slots, hash, seed) {ours}, found {theirs}"
            )
        pairs = enumerate(zip(self._owners, new._owners, strict=True))
        return [
            SlotMove(slot, source, target) for slot, (source, target) in pairs if source != target
        ]

    def pin(self, slot: int, node: str) -> Self:
        """Make the map in which that slot is the node's and stays so, whatever changes.

        Only that slot moves. Raises `ConfigError` for a slot or node that there is not.
        """
        counted("SlotMap", "slot", slot, 0, self._slots - 1)
        if node not in self._weights:
            raise ConfigError(f"SlotMap: pin: there is no node {node!r}")
        owners = (*self._owners[:slot], node, *self._owners[slot + 1 :])
        return self._same(self._weights, owners, {**self._pins, slot: node})

    def unpin(self, slot: int) -> Self:
        """Make the map in which that slot may move again. Raises `ConfigError` if it may now."""
        if slot not in self._pins:
            raise ConfigError(f"SlotMap: unpin: slot {slot!r} is not pinned")
        pins = {each: node for each, node in self._pins.items() if each != slot}
        return self._same(self._weights, self._owners, pins)

    def with_node(self, node: str, weight: float = 1.0) -> Self:
        """Make the map with one node more. Raises `ConfigError` when it is in this one already."""
        return self._with(self._joined(node, weight))

    def with_nodes(self, nodes: Iterable[str] | Mapping[str, float]) -> Self:
        """Make the map of exactly these nodes: several changes at once move less than in turn."""
        return self._with(members("SlotMap", nodes))

    def _with(self, weights: Weights) -> Self:
        for slot, node in self._pins.items():
            if node not in weights:
                raise ConfigError(
                    f"SlotMap: nodes: slot {slot} is pinned to {node!r}, which is gone; unpin it"
                )
        self._check_count(weights)
        owners = resettled(self._owners, self._slots, weights, self._pins)
        return self._same(weights, owners, self._pins)

    def _same(self, weights: Weights, owners: tuple[str, ...], pins: Mapping[int, str]) -> Self:
        """Make the map of the same slots and hash in which they are placed like this."""
        made = object.__new__(type(self))
        made._slots, made._hash, made._seed = self._slots, self._hash, self._seed
        made._digest, made._owners = self._digest, owners
        made._weights, made._pins = dict(sorted(weights.items())), dict(sorted(pins.items()))
        return made

    def _check_count(self, weights: Weights) -> None:
        if len(weights) > self._slots:
            raise ConfigError(
                f"SlotMap: nodes: expected at most as many as there are slots, {self._slots}, "
                f"found {len(weights)}"
            )

    def _chosen(self, found: str) -> Digest:
        if found == "xxh3":
            return digest
        if found != "redis":
            raise ConfigError(f"SlotMap: hash: expected 'xxh3' or 'redis', found {found!r}")
        if self._slots != REDIS_SLOTS or self._seed:
            raise ConfigError(
                f"SlotMap: redis has {REDIS_SLOTS} slots and no seed, "
                f"found slots={self._slots}, seed={self._seed}"
            )
        return redis_digest

    def _saved(self) -> _Saved:
        runs = groupby(range(self._slots), self._owners.__getitem__)
        return _Saved(
            kind="slot_map",
            hash=self._hash,
            seed=self._seed,
            slots=self._slots,
            nodes=self._weights,
            owners=[(next(run), node) for node, run in runs],
            pins=dict(self._pins),
        )

    @classmethod
    def _restored(cls, saved: Any) -> Self:  # noqa: ANN401  a `_Saved`
        blank = cls(saved.nodes, slots=saved.slots, hash=saved.hash, seed=saved.seed)
        owners: list[str] = []
        ends = [first for first, _ in saved.owners[1:]] + [blank.slots]
        for (first, node), end in zip(saved.owners, ends, strict=False):
            if first != len(owners) or not first < end <= blank.slots:
                raise ConfigError(f"SlotMap: owners: expected runs in order, found one at {first}")
            if node not in blank.nodes:
                raise ConfigError(f"SlotMap: owners: there is no node {node!r}")
            owners += [node] * (end - first)
        if not owners:
            raise ConfigError("SlotMap: owners: expected who has each slot, found none")
        for slot, node in saved.pins.items():
            if not 0 <= slot < blank.slots or owners[slot] != node:
                raise ConfigError(f"SlotMap: pins: slot {slot} is not with {node!r}")
        return blank._same(saved.nodes, tuple(owners), saved.pins)
