"""Which entries the first level keeps: S3-FIFO, after Yang et al., SOSP 2023.

New keys stand in a small queue, a tenth of the level. Who leaves it without having been asked for
goes, and a ghost remembers the key for a while; who was asked for moves to the main queue, as
does a new key that the ghost remembers. At the head of the main queue each visit, of three at
most, is worth another turn. So a scan passes through the small queue and pushes nothing else out.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable
from typing import Final

from escala.caching.pure.entry import MOST_VISITS, Entry, WeighedEntry
from escala.caching.pure.ghost import Ghost

_EARNED: Final = 2  # visits in the small queue that earn a place in the main one
_SMALL: Final = 10  # the small queue is one part in so many
_HEAVIEST: Final = 8  # an entry is at most one part in so many of `max_weight`
_TURNS: Final = 10_000  # that one eviction gives away before it takes the next, visited or not
_OFTEN: Final = 12  # at most so many times is the table made anew while all its keys change
_FEW: Final = 16
_NO_LIMIT: Final = 1 << 60


class S3Fifo:
    """Key to entry, at most so many and so heavy, keeping those that are asked for again.

    Hits read `table` without a lock and count themselves: `if entry.visits < MOST_VISITS:
    entry.visits += 1`. It is exchanged now and then, so each looks for it here anew. The owner
    lets in one caller at a time to everything else, which is O(1) on average.

    With `max_weight` all entries are `WeighedEntry`s.

    Queues hold keys, and each key stands in them once. One that was removed keeps its place,
    without its value, until it comes to the head or half as many as are alive stand so; if it
    comes back before that, it goes on from where it stood, as one whose entry is replaced does.

    What it lets go of may have a finalizer that comes back here in the middle of a step. What that
    removes can no longer be given, and leaves at the end of the step; what it puts is not kept.
    """

    __slots__ = (
        "_busy",
        "_dead",
        "_filling",
        "_ghost",
        "_ghost_entries",
        "_later",
        "_main",
        "_max_entries",
        "_max_weight",
        "_room",
        "_small",
        "_small_entries",
        "_small_max_weight",
        "_small_weight",
        "_small_weights",
        "_weighed",
        "evicted",
        "heaviest",
        "table",
        "weight",
    )

    def __init__(self, *, max_entries: int | None, max_weight: int | None = None) -> None:
        self._max_entries: int = _NO_LIMIT if max_entries is None else max_entries
        self._max_weight: int = _NO_LIMIT if max_weight is None else max_weight
        self._weighed = max_weight is not None
        self.heaviest = max(1, self._max_weight // _HEAVIEST)
        self._small_entries = max(1, self._max_entries // _SMALL)
        self._ghost_entries = self._max_entries - self._small_entries  # as many as are in main
        self._small_max_weight = max(1, self._max_weight // _SMALL)
        self.evicted = 0
        self._busy = False
        self._later: list[Hashable] = []  # what was removed in the middle of a step
        self.clear()

    def clear(self) -> None:
        """Forget everything; `evicted` goes on counting."""
        self.table: dict[Hashable, Entry] = {}
        self._small: deque[Hashable] = deque()
        self._main: deque[Hashable] = deque()
        self._dead: set[Hashable] = set()  # removed, and still in a queue
        self._filling = True  # until the first eviction; what the small queue cannot hold is main
        self._ghost = Ghost(0)
        self._room = _FEW  # keys that may go before the table is made anew
        self.weight = 0
        self._small_weight = 0
        self._small_weights: deque[int] = deque()  # of the keys in the small queue as they came

    def put(self, entry: Entry, now: float = -math.inf) -> bool:
        """Keep an entry, in place of the one its key has; False if it is too heavy for that.

        One that weighs more than an eighth of `max_weight` is refused, and its key has none then:
        it would push out an eighth of all others, and is more than the small queue is to hold,
        where it would have to prove itself. What is past all use at `now` goes before others when
        it has come to the head of a queue.
        """
        if self._busy:
            self.remove(entry.key)
            return False
        self._busy = True
        try:
            return self._put(entry, now)
        finally:
            self._busy = False
            if self._later:
                self._catch_up()

    def _put(self, entry: Entry, now: float) -> bool:
        key, weight = entry.key, 0
        if self._weighed:
            weight = _weight(entry)
            if weight > self.heaviest:
                self._remove(key)
                return False
        old = self.table.get(key)
        if old is not None and self._weighed:
            old = self._lighten(old, weight, now)
        if old is not None:
            visits = old.visits
            entry.visits = visits + 1 if visits < MOST_VISITS else visits
            self.table[key] = entry
            return True
        known = self._ghost.take(key)  # before who makes room pushes it out of there
        while len(self.table) >= self._max_entries or self.weight + weight > self._max_weight:
            self._evict(now)
        self.weight += weight
        if self._dead and key in self._dead:
            self._dead.discard(key)
        elif known or (self._filling and self._small_is_full()):
            self._main.append(key)
        else:
            self._small.append(key)
            if self._weighed:
                self._small_weight += weight
                self._small_weights.append(weight)
        self.table[key] = entry
        return True

    def remove(self, key: Hashable) -> Entry | None:
        """Drop a key and return what it had."""
        if self._busy:
            there = self.table.get(key)
            if there is not None:
                there.end()
            self._later.append(key)
            return there
        self._busy = True
        try:
            return self._remove(key)
        finally:
            self._busy = False
            if self._later:
                self._catch_up()

    def _catch_up(self) -> None:
        later, self._later = self._later, []
        for key in later:
            self.remove(key)

    def _remove(self, key: Hashable) -> Entry | None:
        entry = self.table.pop(key, None)
        if entry is None:
            return None
        if self._weighed:
            self.weight -= _weight(entry)
        self._dead.add(key)
        if len(self._dead) > _FEW + len(self.table) // 2:
            self._sweep()
        self._room -= 1
        if self._room <= 0:
            self._renew()
        return entry

    def _small_is_full(self) -> bool:
        """Whether it has its tenth or more."""
        if len(self._small) >= self._small_entries:
            return True
        return self._small_weight >= self._small_max_weight

    def _lighten(self, old: Entry, weight: int, now: float) -> Entry | None:
        """Make `old` weigh what its successor does; None if it had to go itself for that."""
        more = weight - _weight(old)
        while self.weight + more > self._max_weight:
            self._evict(now)
            if old.key not in self.table:
                return None
        self.weight += more
        return old

    def _evict(self, now: float) -> None:
        """Drop one entry."""
        self._filling = False
        table, small, main = self.table, self._small, self._main
        turns, young = _TURNS, self._small_is_full()
        if young and main:
            head = table.get(main[0])
            young = head is None or head.until > now or not _useless(head, now)
        while True:
            if young or not main:
                young = bool(small)
            key = small.popleft() if young else main.popleft()
            if young and self._weighed:
                self._small_weight -= self._small_weights.popleft()
            entry = table.get(key)
            if entry is None:
                self._dead.remove(key)
                continue
            useless = entry.until <= now and _useless(entry, now)
            visits = entry.visits
            if useless or not turns or visits < (_EARNED if young else 1):
                break
            turns -= 1
            entry.visits = 0 if young else visits - 1
            main.append(key)
        if young and not useless:
            self._remember(key)
        del table[key]
        if self._weighed:
            self.weight -= _weight(entry)
        self.evicted += 1
        self._room -= 1
        if self._room <= 0:
            self._renew()

    def _remember(self, key: Hashable) -> None:
        most, ghost, alive = self._ghost_entries, self._ghost, len(self.table)
        if ghost.limit < most and alive > 2 * ghost.limit:
            # Only now is it known how many there is room for, or that was not the half of it.
            ghost = self._ghost = Ghost(min(alive, most))
        ghost.add(key)

    def _renew(self) -> None:
        """Exchange the table for one without the places of keys that have gone.

        A dict uses two thirds of its places, of which there are a power of two. Those of keys
        that have gone come back only when it is made anew; when it has none left it does so by
        itself, and three times as large as its keys need. Done before that, it stays small.
        """
        alive = len(self.table)
        free = (2 << (alive * 3 // 2).bit_length()) // 3 - alive
        self._room = max(_FEW, alive if free < alive // _OFTEN else free)
        if free >= alive // _OFTEN:
            self.table = {**self.table}  # compiled, dict(table) would copy the empty places too

    def _sweep(self) -> None:
        """Take the places of removed keys out of the queues."""
        table = self.table
        if self._weighed:
            pairs = zip(self._small, self._small_weights, strict=True)
            self._small_weights = deque([weight for key, weight in pairs if key in table])
            self._small_weight = sum(self._small_weights)
        self._small = deque([key for key in self._small if key in table])
        self._main = deque([key for key in self._main if key in table])
        self._dead = set()


def _weight(entry: Entry) -> int:
    assert isinstance(entry, WeighedEntry)  # noqa: S101  so says the class
    return entry.weight


def _useless(entry: Entry, now: float) -> bool:
    """Whether it cannot be given any more, even as stale."""
    terms = entry.terms
    return entry.until + terms.early + max(terms.revalidate, terms.rescue) <= now
