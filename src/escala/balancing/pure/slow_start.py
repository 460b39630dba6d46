"""How much of its weight a target that has just come, or come back, is given already."""

from __future__ import annotations

STEPS = 10


class SlowStart:
    """Weight that grows over `window` seconds in ten steps: 10 %, 20 %, ... 100 %.

    A process that has just started has cold caches, an empty connection pool and code that is
    not compiled yet: its full share at once would be its first overload. The steps are the same
    moments for all targets, so that a change of weights costs O(n) ten times a window at most,
    however many targets warm up together.
    """

    __slots__ = ("_step",)

    def __init__(self, window: float) -> None:
        self._step = window / STEPS

    def tenths(self, since: float, now: float) -> int:
        """How many tenths of its weight a target has at `now` that came at `since`: 1 to 10."""
        passed = int(now / self._step) - int(since / self._step)
        return min(max(passed, 0) + 1, STEPS)

    def next(self, now: float) -> float:
        """When the next step is."""
        return (int(now / self._step) + 1) * self._step
