"""When to try again, or why not to: exponential backoff with full jitter."""

from __future__ import annotations

import enum

_MOST_DOUBLINGS = 1000  # beyond this a float overflows; any cap is reached long before


class GiveUp(enum.Enum):
    """Why there is no further attempt."""

    ATTEMPTS = "attempts"
    DEADLINE = "deadline"
    BUDGET = "budget"
    UNSAFE = "unsafe"


class Backoff:
    """Up to `attempts` tries; before try n + 1 a wait from 0 to min(cap, base * 2 ** (n - 1)).

    The whole range is drawn from, not its upper part: of all ways to spread the retries of many
    callers, full jitter makes the fewest calls until all are served (M. Brooker, "Exponential
    Backoff And Jitter", AWS Architecture Blog, 2015).
    """

    __slots__ = ("_base", "_cap", "attempts")

    def __init__(self, *, attempts: int, base: float, cap: float) -> None:
        self.attempts, self._base, self._cap = attempts, base, cap

    def ceiling(self, attempt: int) -> float:
        """The longest wait after this attempt (the first is 1), in seconds."""
        return min(self._cap, self._base * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS))

    def after(
        self, attempt: int, *, now: float, until: float, draw: float, hint: float | None = None
    ) -> float | GiveUp:
        """Seconds to wait after a failed attempt, or why there is no other.

        `draw` is random from 0 to 1. `hint` is how long the failure asks us to stay away: the
        wait is never shorter, and jitter comes on top, since everyone else was told the same.
        A wait that would last to `until` or beyond is none: there would be no time to try.
        """
        if attempt >= self.attempts:
            return GiveUp.ATTEMPTS
        delay = draw * self.ceiling(attempt)
        if hint is not None:
            delay = hint + delay if now + hint + delay < until else hint
        return delay if now + delay < until else GiveUp.DEADLINE
