"""The latest value for each key, for a bounded number of keys and for a while."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class LastGood(Generic[V]):
    """At most `most` values, none older than `max_age` seconds; the oldest makes room."""

    __slots__ = ("_kept", "_max_age", "_most")

    def __init__(self, *, most: int, max_age: float) -> None:
        self._most, self._max_age = most, max_age
        self._kept: dict[Hashable, tuple[float, V]] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, key: Hashable, value: V, now: float) -> None:
        """This is the value of the key from now on."""
        if self._kept.pop(key, None) is None and len(self._kept) == self._most:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (now, value)

    def find(self, key: Hashable, now: float) -> tuple[V] | None:
        """The value in a tuple of one, or None if there is none that is young enough."""
        found = self._kept.get(key)
        if found is None:
            return None
        since, value = found
        if now - since > self._max_age:
            del self._kept[key]
            return None
        return (value,)
