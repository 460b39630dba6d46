"""Rendezvous: every node draws for the key, and the best draw has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

import msgspec

from escala.errors import ConfigError
from escala.hashing.pure.digest import digest
from escala.hashing.pure.members import Weights, counted, members, seeded
from escala.hashing.pure.race import DRAW_BITS, ranking, winner
from escala.hashing.snapshot import Key, Snapshot

_SHIFT = 64 - DRAW_BITS


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    kind: Literal["rendezvous"]
    hash: str
    seed: int
    nodes: dict[str, float]


class Rendezvous(Snapshot):
    """Reach for it with few nodes of differing weights: exact shares, nothing to build or tune.

    >>> few = Rendezvous({"small": 1, "large": 3})
    >>> few.node("user:8"), few.prefer("user:8", 2)
    ('large', ['large', 'small'])

    - `nodes` are names, or a mapping of names to weights.
    - `seed` makes another choice among the same nodes.

    A node that joins takes keys from all others by their weights, and one whose weight grows takes
    only what it must; no other key moves. A look-up takes O(nodes): up to some twenty. The same
    nodes give the same choices everywhere. Raises `ConfigError` for what makes no choice.

    David G. Thaler and Chinya V. Ravishankar, *Using Name-Based Mappings to Increase Hit Rates*,
    IEEE/ACM Transactions on Networking, 1998; for weights Christian Schindelhauer and Gunnar
    Schomaker, *Weighted Distributed Hash Tables*, SPAA 2005.
    """

    __slots__ = ("_even", "_names", "_seed", "_seeds", "_shares")
    _saved_as = _Saved

    def __init__(self, nodes: Iterable[str] | Mapping[str, float], *, seed: int = 0) -> None:
        self._weights = dict(sorted(members("Rendezvous", nodes).items()))
        self._seed = seeded("Rendezvous", seed)
        self._names = tuple(self._weights)
        self._shares = tuple(self._weights.values())
        self._seeds = tuple(digest(name.encode(), seed) for name in self._names)
        self._even = len(set(self._shares)) == 1

    def node(self, key: Key) -> str:
        """The node of a key."""
        draws = self._draws(key)
        # Of equal weights the highest draw is first, without a logarithm.
        at = draws.index(max(draws)) if self._even else winner(draws, self._shares)
        return self._names[at]

    def prefer(self, key: Key, count: int) -> list[str]:
        """The nodes for `count` copies of what has this key, the first of them its `node`.

        All nodes, when `count` is more than that.
        """
        counted("Rendezvous", "count", count, 1, 2**31)
        return [self._names[at] for at in ranking(self._draws(key), self._shares)[:count]]

    def with_node(self, node: str, weight: float = 1.0) -> Self:
        """Make the choice with one node more. Raises `ConfigError` when it is in this one."""
        return self._with(self._joined(node, weight))

    def _draws(self, key: Key) -> list[int]:
        data = key.encode() if isinstance(key, str) else key
        return [digest(data, seed) >> _SHIFT for seed in self._seeds]

    def _with(self, weights: Weights) -> Self:
        return type(self)(weights, seed=self._seed)

    def _saved(self) -> _Saved:
        return _Saved(kind="rendezvous", hash="xxh3", seed=self._seed, nodes=self._weights)

    @classmethod
    def _restored(cls, saved: Any) -> Self:  # noqa: ANN401  a `_Saved`
        if saved.hash != "xxh3":
            raise ConfigError(f"Rendezvous: hash: expected 'xxh3', found {saved.hash!r}")
        return cls(saved.nodes, seed=saved.seed)
