"""One breaker for each key, for a bounded number of keys, forgetting first what matters least."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator

from escala.resilience.pure.breaker import BreakerMachine
from escala.resilience.pure.breaker_table import BreakerMode, BreakerState

_LOOKS = 8  # at each new key, so that one costs O(1)


class _Place:
    __slots__ = ("key", "machine", "used")

    def __init__(self, key: Hashable, machine: BreakerMachine, used: float) -> None:
        self.key, self.machine, self.used = key, machine, used


class BreakerMap:
    """Key to a breaker of its own, for `most` keys; `make` gives a new one in the present mode.

    A new key in a full map takes the place of another, the best of eight that a hand going around
    all places looks at: one that is closed rather than any other, and of those the one that was
    not asked for the longest time. What is forgotten begins anew, closed, when its key comes
    again; calls of it that are under way change nothing.
    """

    __slots__ = ("_by_key", "_hand", "_make", "_most", "_places", "mode")

    def __init__(
        self, make: Callable[[BreakerMode], BreakerMachine], most: int, mode: BreakerMode
    ) -> None:
        self._make, self._most = make, most
        self._by_key: dict[Hashable, _Place] = {}
        self._places: list[_Place] = []
        self._hand = 0
        self.mode = mode

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[tuple[Hashable, BreakerMachine]]:
        return ((place.key, place.machine) for place in self._places)

    def get(self, key: Hashable) -> BreakerMachine | None:
        """The breaker of a key, if it has one."""
        place = self._by_key.get(key)
        return None if place is None else place.machine

    def use(self, key: Hashable, now: float) -> BreakerMachine:
        """The breaker of a key, which is made if it has none."""
        place = self._by_key.get(key)
        if place is None:
            place = self._place(key, now)
        place.used = now
        return place.machine

    def _place(self, key: Hashable, now: float) -> _Place:
        machine = self._make(self.mode)
        if len(self._places) < self._most:
            place = _Place(key, machine, now)
            self._places.append(place)
        else:
            place = self._least()
            del self._by_key[place.key]
            place.machine.forget()
            place.key, place.machine = key, machine
        self._by_key[key] = place
        return place

    def _least(self) -> _Place:
        """The place that can best be given to another key."""
        places = self._places
        looked = []
        for _ in range(min(_LOOKS, len(places))):
            looked.append(places[self._hand])
            self._hand = (self._hand + 1) % len(places)
        return min(looked, key=_worth)


def _worth(place: _Place) -> tuple[bool, float]:
    return place.machine.state is not BreakerState.CLOSED, place.used
