"""What the first level keeps for a key: small, since there are many."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, Final, NamedTuple

MOST_VISITS: Final = 3  # that are counted


class Absent:
    """Stands for a value where there is none."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()


class Terms(NamedTuple):
    """How long an entry may be used, in seconds; many entries share one of these.

    `fresh` counts from its birth. After that it may be given for `revalidate` seconds more while
    someone asks for news, and for `rescue` seconds more when asking fails; when that has just
    happened, no one asks before `paused_until`. `took` is how long the load took. `early` seconds
    before it stops being fresh a hit begins to think of refreshing.
    """

    fresh: float
    revalidate: float = 0.0
    rescue: float = 0.0
    took: float = 0.0
    early: float = 0.0
    paused_until: float = 0.0


_OVER: Final = Terms(fresh=0.0)


class Entry:
    """A value in the first level. Hits read it without a lock, so it is replaced, not changed.

    Only `visits`, `until` and `mark` change in place, before its `end`. `until`: monotonic seconds
    up to which a hit needs no other thought. `mark`: no invalidation up to this one has hit it;
    compared by identity. `tags` are sorted out when it is stored; the first one is its namespace.
    """

    __slots__ = ("key", "mark", "tags", "terms", "until", "value", "visits")

    def __init__(
        self,
        key: Hashable,
        value: Any,  # noqa: ANN401  the user's
        *,
        until: float,
        terms: Terms,
        mark: object = None,
        tags: tuple[str, ...] = (),
    ) -> None:
        self.key, self.value = key, value
        self.until, self.terms, self.mark, self.tags = until, terms, mark, tags
        self.visits = 0

    @property
    def fresh_until(self) -> float:
        """When it stops being fresh."""
        return self.until + self.terms.early

    @property
    def born(self) -> float:
        """When its load began."""
        return self.until + self.terms.early - self.terms.fresh

    def again(self, terms: Terms, *, until: float) -> Entry:
        """The same value under other terms, as an entry of its own."""
        entry = object.__new__(type(self))
        entry.key, entry.value, entry.tags = self.key, self.value, self.tags
        entry.visits, entry.mark = self.visits, self.mark
        entry.terms, entry.until = terms, until
        return entry

    def end(self) -> None:
        """It is never given again, not even as stale."""
        self.until, self.terms = -math.inf, _OVER


class WeighedEntry(Entry):
    """An entry in a level that is limited by weight."""

    __slots__ = ("weight",)

    def __init__(
        self,
        key: Hashable,
        value: Any,  # noqa: ANN401
        *,
        until: float,
        terms: Terms,
        weight: int,
        mark: object = None,
        tags: tuple[str, ...] = (),
    ) -> None:
        super().__init__(key, value, until=until, terms=terms, mark=mark, tags=tags)
        self.weight = weight

    def again(self, terms: Terms, *, until: float) -> WeighedEntry:
        """The same value under other terms, as an entry of its own."""
        entry = super().again(terms, until=until)
        assert isinstance(entry, WeighedEntry)  # noqa: S101  made of its own type
        entry.weight = self.weight
        return entry
