"""Who waits, in which order: by priority, and first come, first served within one."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from typing import Generic, TypeVar

W = TypeVar("W")


class WaitingRoom(Generic[W]):
    """Waiters by priority (a smaller number comes first), each with the moment of its arrival.

    Leaving from the middle is O(1), and so is everything else as long as there are few different
    priorities: each costs O(p) of them.
    """

    __slots__ = ("_levels", "_priorities", "_where")

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[W, float]] = {}
        self._priorities: list[int] = []  # of the levels, in order
        self._where: dict[W, int] = {}

    def __len__(self) -> int:
        return len(self._where)

    def add(self, waiter: W, priority: int, now: float) -> None:
        """Let one more wait, behind those of the same priority."""
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = OrderedDict()
            insort(self._priorities, priority)
        level[waiter] = now
        self._where[waiter] = priority

    def discard(self, waiter: W) -> None:
        """Take one out, if it is there."""
        priority = self._where.pop(waiter, None)
        if priority is not None:
            self._drop(waiter, priority)

    def first(self) -> W:
        """Take out who is next."""
        return self._take(self._priorities[0], last=False)

    def last_behind(self, priority: int) -> W | None:
        """Take out who would be served last, if that one comes after `priority`."""
        if not self._priorities or self._priorities[-1] <= priority:
            return None
        return self._take(self._priorities[-1], last=True)

    def oldest(self) -> float | None:
        """When the one that waits the longest came."""
        return min((next(iter(level.values())) for level in self._levels.values()), default=None)

    def _take(self, priority: int, *, last: bool) -> W:
        level = self._levels[priority]
        waiter = next(reversed(level) if last else iter(level))
        del self._where[waiter]
        self._drop(waiter, priority)
        return waiter

    def _drop(self, waiter: W, priority: int) -> None:
        level = self._levels[priority]
        del level[waiter]
        if not level:
            del self._levels[priority]
            del self._priorities[bisect_left(self._priorities, priority)]
