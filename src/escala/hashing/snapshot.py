"""What all maps of keys to nodes are: unchangeable, equal by content, and kept as JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

import msgspec

from escala.errors import ConfigError
from escala.hashing.pure.members import Weights, joined, left, reweighted

Key = str | bytes


class Snapshot(ABC):
    """A map of keys to nodes. It never changes: what changes one makes another.

    So threads, tasks and processes share one without a lock, and a lookup that is under way goes
    by one map from its beginning to its end.
    """

    __slots__ = ("_weights",)
    _saved_as: ClassVar[type[msgspec.Struct]]
    _weights: Weights

    @property
    def nodes(self) -> Mapping[str, float]:
        """Node to weight."""
        return MappingProxyType(self._weights)

    def without_node(self, node: str) -> Self:
        """Make the map without it. Raises `ConfigError` when it is none of them or the last."""
        return self._with(left(type(self).__name__, self._weights, node))

    def with_weight(self, node: str, weight: float) -> Self:
        """Make the map in which it has that weight. Raises `ConfigError` when it is no node."""
        return self._with(reweighted(type(self).__name__, self._weights, node, weight))

    def to_json(self) -> str:
        """All that decides where a key goes, the hash and its seed included."""
        return msgspec.json.encode(self._saved()).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` has written. Raises `ConfigError` for anything else."""
        try:
            saved = msgspec.json.decode(text, type=cls._saved_as)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ConfigError(f"{cls.__name__}: expected what to_json writes: {error}") from error
        return cls._restored(saved)

    def _joined(self, node: str, weight: float) -> Weights:
        return joined(type(self).__name__, self._weights, node, weight)

    @abstractmethod
    def node(self, key: Key) -> str:
        """Tell the node of a key."""

    @abstractmethod
    def with_node(self, node: str, weight: float = 1.0) -> Self:
        """Make the map with one node more. Raises `ConfigError` when it is one of them already."""

    @abstractmethod
    def _with(self, weights: Weights) -> Self:
        """Make the same map with other nodes or weights."""

    @abstractmethod
    def _saved(self) -> msgspec.Struct:
        """All of it, as plain values."""

    @classmethod
    @abstractmethod
    def _restored(cls, saved: Any) -> Self:  # noqa: ANN401  each class has a struct of its own
        """Make the map again, and check it as if it were new."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return type(self).from_json, (self.to_json(),)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._weights)} nodes)"
