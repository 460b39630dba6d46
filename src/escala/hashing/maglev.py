"""Maglev: a table that balances evenly and changes little, for load balancers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

import msgspec

from escala.errors import ConfigError
from escala.hashing.pure.digest import digest
from escala.hashing.pure.maglev_table import is_prime, maglev_table
from escala.hashing.pure.members import Weights, counted, members, seeded
from escala.hashing.snapshot import Key, Snapshot

_SIZE = 65_537
_LARGEST = 5_000_011


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    kind: Literal["maglev"]
    hash: str
    seed: int
    size: int
    nodes: dict[str, float]


class Maglev(Snapshot):
    """Reach for it to balance connections: the most even spread, and the fastest look-up.

    >>> table = Maglev(["a", "b", "c"])
    >>> table.node("10.0.0.7:51234")
    'b'

    - `nodes` are names, or a mapping of names to weights.
    - `size` is how many entries the table has, a prime: a hundred for each node or more.
    - `seed` makes another table of the same nodes.

    When a node joins or leaves, some keys of others move too: of a hundred nodes and 65,537
    entries about one in a hundred and fifty. Where that matters take a `HashRing` or a `SlotMap`.
    A change takes some 50 ms. The same nodes give the same table everywhere. Raises `ConfigError`
    for what makes no table.

    Daniel E. Eisenbud et al., *Maglev: A Fast and Reliable Software Network Load Balancer*, NSDI
    2016.
    """

    __slots__ = ("_seed", "_size", "_table")
    _saved_as = _Saved

    def __init__(
        self,
        nodes: Iterable[str] | Mapping[str, float],
        *,
        size: int = _SIZE,
        seed: int = 0,
    ) -> None:
        weights = members("Maglev", nodes)
        self._weights = dict(sorted(weights.items()))
        self._seed = seeded("Maglev", seed)
        self._size = counted("Maglev", "size", size, 3, _LARGEST)
        if not is_prime(size):
            raise ConfigError(f"Maglev: size: expected a prime number, found {size}")
        if len(weights) > size:
            raise ConfigError(
                f"Maglev: nodes: expected at most {size}, the size of the table, "
                f"found {len(weights)}"
            )
        self._table = maglev_table(weights, size, seed)

    def node(self, key: Key) -> str:
        """The node of a key."""
        found = digest(key.encode() if isinstance(key, str) else key, self._seed)
        return self._table[found % self._size]

    def with_node(self, node: str, weight: float = 1.0) -> Self:
        """Make the table with one node more. Raises `ConfigError` when it is in this one."""
        return self._with(self._joined(node, weight))

    def _with(self, weights: Weights) -> Self:
        return type(self)(weights, size=self._size, seed=self._seed)

    def _saved(self) -> _Saved:
        return _Saved(
            kind="maglev", hash="xxh3", seed=self._seed, size=self._size, nodes=self._weights
        )

    @classmethod
    def _restored(cls, saved: Any) -> Self:  # noqa: ANN401  a `_Saved`
        if saved.hash != "xxh3":
            raise ConfigError(f"Maglev: hash: expected 'xxh3', found {saved.hash!r}")
        return cls(saved.nodes, size=saved.size, seed=saved.seed)
