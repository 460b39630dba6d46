"""After an invalidation, nothing is stored for as long as read replicas may still be behind."""

from __future__ import annotations

from collections.abc import Iterable


class HoldOff:
    """Until when nothing may be stored under a name: a key, a tag, or everything.

    Not locked. Remembers `limit` names; when there would be more, everything is held off until
    the last of them has passed, which costs loads and never lets an old value in.
    """

    __slots__ = ("_all", "_limit", "_until")

    def __init__(self, *, limit: int = 10_000) -> None:
        self._limit = limit
        self._until: dict[str, float] = {}
        self._all = 0.0

    def hold(self, name: str, *, until: float, now: float) -> None:
        """Store nothing under this name until then."""
        held = self._until
        while held and held[first := next(iter(held))] <= now:
            del held[first]
        if name not in held and len(held) >= self._limit:
            self._all = max(self._all, until, *held.values())
            held.clear()
        else:
            held[name] = max(until, held.pop(name, until))

    def hold_all(self, *, until: float) -> None:
        """Store nothing at all until then."""
        self._all = max(self._all, until)

    def blocks(self, names: Iterable[str], *, now: float) -> bool:
        """Whether something that has all these names may not be stored now."""
        if now < self._all:
            return True
        held = self._until
        return bool(held) and any(now < held.get(name, now) for name in names)
