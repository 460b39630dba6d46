"""One number for each key, for a bounded number of keys, forgetting only what does not matter."""

from __future__ import annotations

from collections.abc import Hashable

_LOOKS = 8  # at each new key, so that one costs O(1)


class KeyMap:
    """Key to the moment until which its past matters; from then on it is like a new key.

    A new key takes the place of one whose moment has come, if one is among the few that a hand
    going around all places looks at; so the map stays about as large as the keys in use. When it
    is full and all that the hand looks at still matter, the one that matters the shortest is
    forgotten.
    """

    __slots__ = ("_hand", "_most", "_places", "moments")

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: list[Hashable] = []
        self._hand = 0
        self.moments: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add(self, key: Hashable, moment: float, now: float) -> None:
        """Put in a key that is not there."""
        places, moments = self._places, self.moments
        place = self._free_place(now)
        if place < len(places):
            del moments[places[place]]
            places[place] = key
        else:
            places.append(key)
        moments[key] = moment

    def _free_place(self, now: float) -> int:
        """The place for a new key: one whose key may go, or one more."""
        places, moments = self._places, self.moments
        best, shortest = len(places), now
        if len(places) == self._most:
            best, shortest = self._hand, moments[places[self._hand]]
        for _ in range(min(_LOOKS, len(places))):
            place = self._hand
            self._hand = (place + 1) % len(places)
            moment = moments[places[place]]
            if moment <= now:
                return place
            if moment < shortest:
                best, shortest = place, moment
        return best
