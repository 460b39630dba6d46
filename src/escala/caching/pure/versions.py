"""The clock of invalidations: whether a value that was loaded then is still valid now."""

from __future__ import annotations

import enum


class Standing(enum.Enum):
    """What invalidations have done to a value."""

    VALID = "valid"
    EXPIRED = "expired"  # may still be given as stale
    GONE = "gone"  # never again


class Mark:
    """A moment between two invalidations. Those of one moment are one object."""

    __slots__ = ("clock",)

    def __init__(self, clock: int) -> None:
        self.clock = clock


class Versions:
    """When each tag was invalidated last, counted in invalidations and not in seconds.

    Note `mark` before a load begins, and keep it with the value: `standing` then says whether
    one of the value's tags, or everything, was invalidated since. A value found valid may be
    given the current mark, so as long as nothing happens, comparing two objects is all it takes.

    Not locked. For `limit` tags the exact moment is known. When there would be more, all are
    forgotten at once: what is older than that and has a tag at all counts as gone.
    """

    __slots__ = ("_all_expired", "_all_gone", "_expired", "_floor", "_gone", "_limit", "mark")

    def __init__(self, *, limit: int = 100_000) -> None:
        self._limit = limit
        self.mark = Mark(0)
        self._floor = self._all_gone = self._all_expired = 0
        self._gone: dict[str, int] = {}
        self._expired: dict[str, int] = {}

    def invalidate(self, tag: str, *, soft: bool = False) -> None:
        """Values with this tag are gone; with `soft` they are expired."""
        clock = self._tick()
        tags = self._expired if soft else self._gone
        if tag not in tags and len(self._gone) + len(self._expired) >= self._limit:
            self._gone.clear()
            self._expired.clear()
            self._floor = clock
        else:
            tags[tag] = clock

    def invalidate_all(self, *, soft: bool = False) -> None:
        """All values are gone; with `soft` they are expired."""
        clock = self._tick()
        if soft:
            self._all_expired = clock
        else:
            self._all_gone = self._floor = clock
            self._gone.clear()
            self._expired.clear()

    def touch(self) -> None:
        """Have every value looked at again, though nothing happened to it."""
        self._tick()

    def _tick(self) -> int:
        clock = self.mark.clock + 1
        self.mark = Mark(clock)
        return clock

    def standing(self, since: Mark, tags: tuple[str, ...]) -> Standing:
        """What happened to a value with these tags since that mark."""
        clock = since.clock
        if clock < self._all_gone or (tags and clock < self._floor):
            return Standing.GONE
        gone, expired = self._gone, self._expired
        standing = Standing.EXPIRED if clock < self._all_expired else Standing.VALID
        for tag in tags:
            if clock < gone.get(tag, 0):
                return Standing.GONE
            if clock < expired.get(tag, 0):
                standing = Standing.EXPIRED
        return standing
