"""What is known of each key, for a bounded number of keys, forgetting only what does not matter."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

S = TypeVar("S")

_LOOKS = 8  # at each new key, so that one costs O(1)


class KeyMap(Generic[S]):
    """Key to state; `until` tells the moment from which a state says no more than none would.

    A new key takes the place of one whose moment has come, if one is among the few that a hand
    going around all places looks at; so the map stays about as large as the keys in use. When it
    is full and all that the hand looks at still matter, the one that matters the shortest is
    forgotten.
    """

    __slots__ = ("_hand", "_most", "_places", "_until", "states")

    def __init__(self, most: int, until: Callable[[S], float]) -> None:
        self._most, self._until = most, until
        self._places: list[Hashable] = []
        self._hand = 0
        self.states: dict[Hashable, S] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add(self, key: Hashable, state: S, now: float) -> None:
        """Put in a key that is not there; `now` is on the clock of `until`."""
        places, states = self._places, self.states
        place = self._free_place(now)
        if place < len(places):
            del states[places[place]]
            places[place] = key
        else:
            places.append(key)
        states[key] = state

    def _free_place(self, now: float) -> int:
        """The place for a new key: one whose key may go, or one more."""
        places, states, until = self._places, self.states, self._until
        best, shortest = len(places), now
        if len(places) == self._most:
            best, shortest = self._hand, until(states[places[self._hand]])
        for _ in range(min(_LOOKS, len(places))):
            place = self._hand
            self._hand = (place + 1) % len(places)
            moment = until(states[places[place]])
            if moment <= now:
                return place
            if moment < shortest:
                best, shortest = place, moment
        return best
