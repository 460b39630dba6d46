"""Who may enter, who waits, and who is next: the bulkhead's decisions."""

from __future__ import annotations

import enum
from typing import Generic, TypeVar

from escala.resilience.pure.waiting_room import WaitingRoom

W = TypeVar("W")


class Entry(enum.Enum):
    """What became of a caller who asks for a slot."""

    GRANTED = "granted"
    QUEUED = "queued"
    FULL = "full"


class BulkheadMachine(Generic[W]):
    """Slots, and a bounded queue for them: by priority, and first come, first served within one.

    A slot that is given back while callers wait is handed to the first of them: it is never
    free in between, so no newcomer can take it. Hence a slot is free only when no one waits.
    Each waiter ends its wait with `withdraw`, whatever ended it, and learns there whether it has
    a slot; so a slot has one owner at any moment, even if that one is gone before it knows.
    Every step is O(1), leaving the middle of the queue too.
    """

    __slots__ = ("_handed", "_line", "_queue", "_waiting", "free")

    def __init__(self, *, slots: int, queue: int) -> None:
        self.free = slots  # below 0 while more are in use than there are by now
        self._queue = queue
        self._waiting: WaitingRoom[W] = WaitingRoom()
        self._line = self._waiting.places  # to see at the least cost whether someone waits
        self._handed: set[W] = set()  # have a slot and do not know it yet

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def standing(self, since: float) -> int | None:
        """The greatest priority of which one has waited from before `since` on."""
        return self._waiting.standing(since)

    def take(self) -> bool:
        """Take a slot if one is free."""
        if self.free <= 0:
            return False
        self.free -= 1
        return True

    def enter(self, waiter: W, priority: int = 0, now: float = 0.0) -> Entry:
        """Take a slot, or a place in the queue, or nothing."""
        if self.take():
            return Entry.GRANTED
        if len(self._waiting) >= self._queue:
            return Entry.FULL
        self._waiting.add(waiter, priority, now)
        return Entry.QUEUED

    def push_out(self, priority: int) -> W | None:
        """Make room in a full queue: take out the last of those that come after `priority`."""
        return self._waiting.last_behind(priority)

    def leave(self) -> W | None:
        """Give a slot back; the waiter that it was handed to, who is to be woken, if any."""
        # Not 0: more than are in use are free and no one waits, or some are too many now.
        if self.free or not self._line:
            self.free += 1
            return None
        return self._hand()

    def resize(self, by: int) -> list[W]:
        """Have so many slots more, or fewer; the waiters that get the new ones, to be woken.

        Slots that are in use and too many now vanish as they are given back.
        """
        self.free += by
        woken = []
        while self.free > 0 and self._waiting:
            self.free -= 1
            woken.append(self._hand())
        return woken

    def withdraw(self, waiter: W) -> bool:
        """End a wait: True if it was in vain, False if the waiter has been handed a slot."""
        if waiter in self._handed:
            self._handed.remove(waiter)
            return False
        self._waiting.discard(waiter)
        return True

    def _hand(self) -> W:
        waiter = self._waiting.first()
        self._handed.add(waiter)
        return waiter
