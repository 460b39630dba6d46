"""Who may enter, who waits, and who is next: the bulkhead's decisions."""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Generic, TypeVar

W = TypeVar("W")


class Entry(enum.Enum):
    """What became of a caller who asks for a slot."""

    GRANTED = "granted"
    QUEUED = "queued"
    FULL = "full"


class BulkheadMachine(Generic[W]):
    """Slots, and a bounded queue for them, first come, first served.

    A slot that is given back while callers wait is handed to the first of them: it is never
    free in between, so no newcomer can take it. Hence a slot is free only when no one waits.
    Each waiter ends its wait with `withdraw`, whatever ended it, and learns there whether it has
    a slot; so a slot has one owner at any moment, even if that one is gone before it knows.
    Every step is O(1), leaving the middle of the queue too.
    """

    __slots__ = ("_handed", "_queue", "_waiting", "free")

    def __init__(self, *, slots: int, queue: int) -> None:
        self.free = slots
        self._queue = queue
        self._waiting: OrderedDict[W, None] = OrderedDict()
        self._handed: set[W] = set()  # have a slot and do not know it yet

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def take(self) -> bool:
        """Take a slot if one is free."""
        if not self.free:
            return False
        self.free -= 1
        return True

    def enter(self, waiter: W) -> Entry:
        """Take a slot, or a place in the queue, or nothing."""
        if self.take():
            return Entry.GRANTED
        if len(self._waiting) >= self._queue:
            return Entry.FULL
        self._waiting[waiter] = None
        return Entry.QUEUED

    def leave(self) -> W | None:
        """Give a slot back; the waiter that it was handed to, who is to be woken, if any."""
        if not self._waiting:
            self.free += 1
            return None
        waiter, _ = self._waiting.popitem(last=False)
        self._handed.add(waiter)
        return waiter

    def withdraw(self, waiter: W) -> bool:
        """End a wait: True if it was in vain, False if the waiter has been handed a slot."""
        if waiter in self._handed:
            self._handed.remove(waiter)
            return False
        self._waiting.pop(waiter, None)
        return True
