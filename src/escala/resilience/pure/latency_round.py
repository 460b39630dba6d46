"""A few calls looked at together: how long they took, and how many were inside at most."""

from __future__ import annotations

import math

SAMPLES = 30  # calls in a round, at least; fewer say little about latency
SECONDS = 0.1  # that a round lasts, at least


class LatencyRound:
    """Counts calls until there are enough of them to judge by; then `begin` the next round."""

    __slots__ = ("_began", "_seconds", "answered", "busiest", "dropped")

    def __init__(self) -> None:
        self.begin(math.nan)

    def begin(self, now: float) -> None:
        """Forget all; NaN begins at the first call."""
        self._began = now
        self._seconds = 0.0
        self.answered = self.dropped = self.busiest = 0

    @property
    def latency(self) -> float:
        """Mean seconds of the calls that were answered; 0 if none was."""
        return self._seconds / self.answered if self.answered else 0.0

    def count(self, seconds: float | None, busy: int, now: float) -> bool:
        """Count a call that was answered after `seconds`, or lost to overload (None).

        `busy` were inside when it ended, itself too. True when the round is complete.
        """
        if seconds is None:
            self.dropped += 1
        else:
            self.answered += 1
            self._seconds += seconds
        self.busiest = max(self.busiest, busy)
        if self._began != self._began:  # NaN: this is the first call
            self._began = now
        return self.answered + self.dropped >= SAMPLES and now >= self._began + SECONDS
