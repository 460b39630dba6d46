"""When to try again, or why not to: a bound that grows, and a wait that is drawn below it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Literal, TypeAlias

Growth: TypeAlias = Literal["exponential", "linear", "constant"]
Jitter: TypeAlias = Literal["full", "equal", "decorrelated", "none"]
Bound: TypeAlias = Callable[[int], float]

_MOST_DOUBLINGS = 1000  # beyond this a float overflows; any cap is reached long before


class GiveUp(enum.Enum):
    """Why there is no further attempt."""

    ATTEMPTS = "attempts"
    DEADLINE = "deadline"
    BUDGET = "budget"
    UNSAFE = "unsafe"


class Backoff:
    """Up to `attempts` tries, with a wait before each that is drawn below a bound.

    The bound after try n is `base` times 2 ** (n - 1) (exponential), n (linear) or 1 (constant),
    or what a function says of n; and never above `cap`. The wait is

    - full: from 0 to the bound. Of all ways to spread the retries of many callers this one makes
      the fewest calls until all are served (M. Brooker, "Exponential Backoff And Jitter", AWS
      Architecture Blog, 2015);
    - equal: from half the bound to the bound;
    - decorrelated: from `base` to three times the wait before, up to `cap`;
    - none: the bound.
    """

    __slots__ = ("_base", "_bound", "_cap", "_jitter", "attempts")

    def __init__(
        self,
        *,
        attempts: int,
        base: float,
        cap: float,
        growth: Growth | Bound = "exponential",
        jitter: Jitter = "full",
    ) -> None:
        self.attempts, self._base, self._cap = attempts, base, cap
        self._bound: Bound = growth if callable(growth) else getattr(self, f"_{growth}")
        self._jitter = jitter

    def ceiling(self, attempt: int) -> float:
        """The bound of the wait after this attempt (the first is 1), in seconds."""
        return max(0.0, min(self._cap, self._bound(attempt)))

    def wait(self, attempt: int, *, draw: float, before: float = 0.0) -> float:
        """The wait after this attempt; `draw` is random from 0 to 1, `before` the last wait."""
        if self._jitter == "decorrelated":
            lowest = self._base
            return min(self._cap, lowest + draw * (3.0 * max(before, lowest) - lowest))
        ceiling = self.ceiling(attempt)
        if self._jitter == "full":
            return draw * ceiling
        return ceiling if self._jitter == "none" else (0.5 + draw / 2) * ceiling

    def after(
        self, attempt: int, *, now: float, until: float, wait: float, hint: float | None = None
    ) -> float | GiveUp:
        """Seconds to wait after a failed attempt, or why there is no other.

        `hint` is how long the failure asks us to stay away: no wait is shorter, and our own comes
        on top, since everyone else was told the same. A wait that would last to `until` or beyond
        is none: there would be no time to try.
        """
        if attempt >= self.attempts:
            return GiveUp.ATTEMPTS
        delay = wait
        if hint is not None:
            delay = hint + wait if now + hint + wait < until else hint
        return delay if now + delay < until else GiveUp.DEADLINE

    def _exponential(self, attempt: int) -> float:
        return self._base * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS)

    def _linear(self, attempt: int) -> float:
        return self._base * attempt

    def _constant(self, _attempt: int) -> float:
        return self._base
