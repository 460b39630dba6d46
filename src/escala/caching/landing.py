"""What a load brings to all who wait for it."""

from __future__ import annotations

from types import TracebackType
from typing import Literal, NamedTuple, Self, TypeAlias

from escala.caching.pure.entry import Entry
from escala.caching.pure.flight import Flight, Seat
from escala.caching.pure.use import Use
from escala.caching.pure.versions import Mark
from escala.kernel.runtime import Parker

Source: TypeAlias = Literal["l1", "l2", "load", "pending", "stale", "none"]


class Landing(NamedTuple):
    """An entry, an error, or neither: there is no value."""

    entry: Entry | None = None
    error: BaseException | None = None
    source: Source = "load"
    why: str = ""  # of a stale value: why it is given all the same
    cause: BaseException | None = None  # the error that it stands in for
    late: bool = False  # something changed meanwhile: it is only for who asked first
    trace: TracebackType | None = None  # where the error was raised

    @classmethod
    def failed(cls, error: BaseException) -> Self:
        """An error, as it is now."""
        return cls(error=error, trace=error.__traceback__)

    def check(self) -> None:
        """Raise the error, if it is one.

        Many raise the same one: each without the frames that the others have left in it.
        """
        if self.error is not None:
            raise self.error.with_traceback(self.trace)


NOTHING = Landing()
Trail: TypeAlias = Flight[Mark, Parker, Landing]
CacheSeat: TypeAlias = Seat[Parker]

_WAITS = (Use.GONE, Use.RESCUE)  # a tuple is searched by identity, a set by a slow hash


class Boarding(NamedTuple):
    """What a caller finds who wants a key.

    - `entry`, and no `flight`: give it.
    - `flight`, and no `seat`: load, as its leader. If the `use` of the entry says so, give the
      entry meanwhile.
    - `seat`: wait for the flight. The entry, if there is one, is stale, and better than nothing.

    `mark` is from when the caller asked.
    """

    key: str
    use: Use
    mark: Mark
    entry: Entry | None = None
    flight: Trail | None = None
    seat: CacheSeat | None = None
    own: bool = False  # the seat is in a load that this caller has started

    @property
    def serves(self) -> bool:
        """Whether the entry may be given before there is news."""
        return self.use not in _WAITS

    @property
    def leads(self) -> bool:
        """Whether the caller has to load, or to have someone load."""
        return self.flight is not None and self.seat is None
