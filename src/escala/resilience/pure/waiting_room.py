"""Who waits, in which order: by priority, and first come, first served within one."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from typing import Generic, TypeVar

W = TypeVar("W")


class WaitingRoom(Generic[W]):
    """Waiters by priority (a greater number comes first), each with the moment of its arrival.

    Leaving from the middle is O(1), and so is everything else as long as there are few different
    priorities: with p of them a step costs O(p).
    """

    __slots__ = ("_levels", "_priorities", "places")

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[W, float]] = {}
        self._priorities: list[int] = []  # of the levels, in order: the last is served first
        self.places: dict[W, int] = {}  # who waits, with which priority

    def __len__(self) -> int:
        return len(self.places)

    def add(self, waiter: W, priority: int, now: float) -> None:
        """Let one more wait, behind those of the same priority."""
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = OrderedDict()
            insort(self._priorities, priority)
        level[waiter] = now
        self.places[waiter] = priority

    def discard(self, waiter: W) -> None:
        """Take one out, if it is there."""
        priority = self.places.pop(waiter, None)
        if priority is not None:
            self._drop(waiter, priority)

    def first(self) -> W:
        """Take out who is next."""
        return self._take(self._priorities[-1], last=False)

    def last_behind(self, priority: int) -> W | None:
        """Take out who would be served last, if that one comes after `priority`."""
        if not self._priorities or self._priorities[0] >= priority:
            return None
        return self._take(self._priorities[0], last=True)

    def standing(self, since: float) -> int | None:
        """The greatest priority of which one has waited from before `since` on."""
        for priority in reversed(self._priorities):
            if next(iter(self._levels[priority].values())) < since:
                return priority
        return None

    def _take(self, priority: int, *, last: bool) -> W:
        level = self._levels[priority]
        waiter = next(reversed(level) if last else iter(level))
        del self.places[waiter]
        self._drop(waiter, priority)
        return waiter

    def _drop(self, waiter: W, priority: int) -> None:
        level = self._levels[priority]
        del level[waiter]
        if not level:
            del self._levels[priority]
            del self._priorities[bisect_left(self._priorities, priority)]
