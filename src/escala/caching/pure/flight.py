"""One load for many callers: who leads, who waits, and who takes over when the leader leaves."""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

R = TypeVar("R")
P = TypeVar("P")
V = TypeVar("V", bound=Hashable)


class Part(enum.Enum):
    """What a caller has to do next."""

    WAIT = "wait"
    LEAD = "lead"
    TAKE = "take"  # the flight has landed: its `result` is there


class Seat(Generic[P]):
    """A waiting caller; `place` is where it sleeps and can be woken."""

    __slots__ = ("part", "place")

    def __init__(self, place: P) -> None:
        self.place = place
        self.part = Part.WAIT


class Flight(Generic[V, P, R]):
    """A load under way. Not locked: its owner serialises the calls, and wakes whom they name.

    At each moment it has one leader, or it has landed, or it is empty. A leader that gives up
    hands over to one waiter, the one who has waited longest: the others wait on, so that a
    cancelled load is repeated once and not by everybody. Every caller owns its wait: leaving
    is always possible and disturbs no one.
    """

    __slots__ = ("_seats", "began", "key", "result", "variant")

    def __init__(self, key: Any, variant: V) -> None:  # noqa: ANN401  whatever its table has for keys
        self.key, self.variant = key, variant
        self.began = math.inf  # when its load asked the source; its owner's clock, if that matters
        self.result: R | None = None
        self._seats: dict[Seat[P], None] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._seats)

    def join(self, place: P) -> Seat[P]:
        """Wait for the leader's result."""
        seat = Seat(place)
        self._seats[seat] = None
        return seat

    def leave(self, seat: Seat[P]) -> Seat[P] | None:
        """A waiter goes away; the seat to wake if it had just been made the leader."""
        if seat.part is Part.LEAD:
            return self.hand_over()
        self._seats.pop(seat, None)
        return None

    def land(self, result: R) -> list[Seat[P]]:
        """The leader has a result for all; the seats to wake."""
        self.result = result
        seats, self._seats = list(self._seats), {}
        for seat in seats:
            seat.part = Part.TAKE
        return seats

    def hand_over(self) -> Seat[P] | None:
        """The leader goes away without a result; the seat that leads now, None if nobody waits."""
        seat = next(iter(self._seats), None)
        if seat is None:
            return None
        del self._seats[seat]
        seat.part = Part.LEAD
        return seat
