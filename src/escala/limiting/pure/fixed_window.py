"""So many in a window, and all of them anew in the next: the cheapest count there is."""

from __future__ import annotations

import math
from collections.abc import Hashable

from escala.limiting.pure.machine import Machine, seconds_until


class Window:
    """When a limit's window ends and how much of it is used."""

    __slots__ = ("end", "used")

    def __init__(self) -> None:
        self.end, self.used = -math.inf, 0


class FixedWindowMachine(Machine[tuple[Window, ...]]):
    """A window opens with the first call after the one before has ended.

    So keys do not all begin anew at the full minute, and a new key has a whole window. A window
    holds its start and not its end.
    """

    def give_back(self, key: Hashable, cost: int, now: float) -> None:  # noqa: ARG002  no roll
        """Make room in the windows that are open."""
        for window in self.keys.states.get(key, ()):
            window.used = max(0, window.used - cost)

    def forget(self, key: Hashable) -> None:
        """Close the windows."""
        for window in self.keys.states.get(key, ()):
            window.end = -math.inf

    def _fresh(self) -> tuple[Window, ...]:
        return tuple([Window() for _ in self.limits])

    def _until(self, state: tuple[Window, ...]) -> float:
        return max(window.end for window in state)

    def _charge(self, key: Hashable, cost: int, now: float) -> None:
        state = self._state(key)
        for window, limit in zip(state, self.limits, strict=True):
            if window.end <= now:
                window.end, window.used = now + limit.period, 0
            window.used += cost
        if key not in self.keys.states:
            self.keys.add(key, state, now)

    def _wait(
        self, nth: int, state: tuple[Window, ...], cost: int, now: float, ahead: int
    ) -> float:
        window, limit = state[nth], self.limits[nth]
        begun = window.end > now
        over = (window.used if begun else 0) + ahead + cost - limit.burst
        if over <= 0:
            return 0.0
        later = -(-over // limit.burst) - 1  # whole windows after the next
        end = window.end if begun else now + limit.period
        return seconds_until(end + later * limit.period, now)

    def _standing(self, nth: int, state: tuple[Window, ...], now: float) -> tuple[int, float]:
        window, limit = state[nth], self.limits[nth]
        if window.end <= now or not window.used:
            return limit.burst, 0.0
        return limit.burst - window.used, window.end - now
