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

    A key has two places that it may stand in and takes the one whose key came earlier. So about
    one in ten is forgotten before its time, and one in some millions is taken for another. Neither
    matters: a mistake can cost a hit, never a right answer.
    """

    __slots__ = ("_left", "_length", "_now", "_places", "_step", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._step = max(1, limit // _ROUGHLY)  # keys of a generation
        self._length = limit // self._step  # generations
        self._left = self._step  # keys that the generation still takes
        self._now = _OLD
        # 24 bits of the key's hash, then eight of the generation it came in.
        self._places = array("I", [0]) * max(_LEAST, limit * 3 // 2)

    def add(self, key: Hashable) -> None:
        """Remember a key; it forgets the one that came `limit` keys earlier."""
        if not self._left:
            self._left, self._now = self._step, (self._now + 1) & 255
        self._left -= 1
        places, now = self._places, self._now
        mixed = hash((key,))  # integers are their own hash
        first, second = mixed % len(places), (mixed >> 32) % len(places)
        if (now - places[first]) & 255 < (now - places[second]) & 255:
            first = second
        places[first] = (mixed & 0xFFFFFF) << 8 | now

    def take(self, key: Hashable) -> bool:
        """Tell whether it remembers a key, and forget it."""
        places, now = self._places, self._now
        mixed = hash((key,))
        wanted = mixed & 0xFFFFFF
        for place in (mixed % len(places), (mixed >> 32) % len(places)):
            seen = places[place]
            if seen >> 8 == wanted and (now - seen) & 255 < self._length:
                places[place] = (now - _OLD) & 255
                return True
        return False
