"""Which keys were evicted lately: about six bytes a key, since there are as many as are kept."""

from __future__ import annotations

from array import array
from collections.abc import Hashable
from typing import Final

_ROUGHLY: Final = 32  # generations in the length of the memory, when it is long enough for them
_LEAST: Final = 64  # places, so that a short memory forgets next to nothing
_OLD: Final = 128  # generations: half way around their eight bits, so past every length


class Ghost:
    """Remembers the last `limit` keys it was given, by 24 bits of their hash.

    A key has two pairs of places that it may stand in, and takes that of the four whose key came
    earliest. So a few in a hundred are forgotten before their time, and one in some millions is
    taken for another. Neither matters: a mistake can cost a hit, never a right answer.
    """

    __slots__ = ("_left", "_length", "_now", "_places", "_step", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._step = max(1, limit // _ROUGHLY)  # keys of a generation
        self._length = limit // self._step  # generations
        self._left = self._step  # keys that the generation still takes
        self._now = _OLD
        # 24 bits of the key's hash, then eight of the generation it came in.
        self._places = array("I", [0]) * (max(_LEAST, limit * 3 // 2) + 1)

    def add(self, key: Hashable) -> None:
        """Remember a key; it forgets the one that came `limit` keys earlier."""
        if not self._left:
            self._left, self._now = self._step, (self._now + 1) & 255
        self._left -= 1
        places, now, length = self._places, self._now, self._length
        mixed = hash((key,))  # integers are their own hash
        pairs = len(places) - 1
        oldest = mixed % pairs
        age = (now - places[oldest]) & 255
        if age < length:
            second = (mixed >> 32) % pairs
            for place in (oldest + 1, second, second + 1):
                this = (now - places[place]) & 255
                if this > age:
                    oldest, age = place, this
                    if age >= length:
                        break
        places[oldest] = (mixed & 0xFFFFFF) << 8 | now

    def take(self, key: Hashable) -> bool:
        """Tell whether it remembers a key, and forget it."""
        places, now = self._places, self._now
        mixed = hash((key,))
        wanted, pairs = mixed & 0xFFFFFF, len(places) - 1
        a, b = mixed % pairs, (mixed >> 32) % pairs
        if wanted not in (places[a] >> 8, places[a + 1] >> 8, places[b] >> 8, places[b + 1] >> 8):
            return False
        for place in (a, a + 1, b, b + 1):
            seen = places[place]
            if seen >> 8 == wanted and (now - seen) & 255 < self._length:
                places[place] = (now - _OLD) & 255
                return True
        return False
