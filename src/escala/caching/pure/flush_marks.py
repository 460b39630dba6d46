"""Who waits until all is gone that had come by then, without looking at each write."""

from __future__ import annotations

import math
from collections import deque
from typing import Generic, TypeVar

W = TypeVar("W")


class FlushMarks(Generic[W]):
    """Each flush ends an era; it is done when no write of that era, or of one before, is left."""

    def __init__(self) -> None:
        self.era = 0
        self._left: dict[int, int] = {}  # by era, only of those that have some
        self._waiting: deque[tuple[int, W]] = deque()

    def __bool__(self) -> bool:
        """Whether anyone waits."""
        return bool(self._waiting)

    def came(self, era: int) -> None:
        """A write of this era is on its way."""
        self._left[era] = self._left.get(era, 0) + 1

    def went(self, era: int) -> None:
        """A write of this era is so no more."""
        self._left[era] -= 1
        if not self._left[era]:
            del self._left[era]

    def wait(self, waiter: W) -> bool:
        """True if there is nothing to wait for."""
        if not self._left:
            return True
        self._waiting.append((self.era, waiter))
        self.era += 1
        return False

    def done(self) -> list[W]:
        """Who need not wait any longer."""
        oldest = min(self._left, default=math.inf)
        wake = []
        while self._waiting and self._waiting[0][0] < oldest:
            wake.append(self._waiting.popleft()[1])
        return wake

    def leave(self, waiter: W) -> bool:
        """Stop waiting; False for one who did not wait any more."""
        before = len(self._waiting)
        self._waiting = deque(each for each in self._waiting if each[1] is not waiter)
        return len(self._waiting) < before

    def everyone(self) -> list[W]:
        """All who wait; none of them does any more."""
        waiting = [waiter for _, waiter in self._waiting]
        self._waiting.clear()
        return waiting
