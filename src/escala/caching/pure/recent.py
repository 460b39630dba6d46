"""The versions of each key that were seen last, so that older ones can be let go."""

from __future__ import annotations

from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """For each of `limit` keys the version seen last, and `keep` before it. Not locked.

    For one key more, the one that came first is forgotten: then no one knows of its versions.

    >>> recent = Recent(keep=1)
    >>> recent.see("a", 1), recent.see("a", 2), recent.see("a", 3), recent.see("a", 3)
    ([], [], [1], [])
    """

    __slots__ = ("_keep", "_limit", "_seen")

    def __init__(self, *, keep: int, limit: int = 10_000) -> None:
        self._keep, self._limit = keep, limit
        self._seen: dict[str, list[V]] = {}

    def see(self, key: str, version: V) -> list[V]:
        """A version is asked for; those to let go of."""
        seen = self._seen.get(key)
        if seen is None:
            if len(self._seen) >= self._limit:
                del self._seen[next(iter(self._seen))]
            self._seen[key] = [version]
            return []
        if seen[-1] == version:
            return []
        if version in seen:
            seen.remove(version)
        seen.append(version)
        gone = seen[: -1 - self._keep]
        del seen[: -1 - self._keep]
        return gone
