"""A race between copies of one call: when the next one starts, and what decides it."""

from __future__ import annotations

import enum
import math


class Ending(enum.Enum):
    """What the end of one copy means for the call."""

    WON = "the first success: it is the answer"
    WAIT = "a failure, while others are under way"
    LOST = "all that were started have failed"


class HedgeRace:
    """Up to `most` copies, each `delay` seconds after the one before; the first success wins.

    A failure does not start the next copy, for that is what a retry is for: when every copy that
    was started has failed, the call has failed.
    """

    __slots__ = ("_failed", "_most", "delay", "due", "started")

    def __init__(self, *, most: int, delay: float) -> None:
        self._most, self.delay = most, delay
        self.started = self._failed = 0
        self.due = -math.inf

    def start(self, now: float) -> None:
        """A copy is started; `due` says when the next one is."""
        self.started += 1
        self.due = now + self.delay if self.started < self._most else math.inf

    def refuse(self) -> None:
        """No further copy may be started."""
        self.due = math.inf

    def end(self, *, well: bool) -> Ending:
        """A copy has ended."""
        if well:
            return Ending.WON
        self._failed += 1
        return Ending.WAIT if self._failed < self.started else Ending.LOST
