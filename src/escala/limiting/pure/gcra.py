"""How many tokens a key has, in one number: the generic cell rate algorithm (ITU-T I.371).

Time is measured in tokens (seconds times rate). A bucket's one number is when it will be full
again: taking tokens moves it that many on, and it may be at most `burst` ahead of now.
Whole numbers of tokens add up exactly, so that of N tokens exactly N are granted. A number in the
past says the same as none, so such a key can be forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

from escala.limiting.decision import Decision
from escala.limiting.plan import Limit
from escala.limiting.pure.machine import Machine

SLACK = 1e-6  # of a token; what the rounding of floats may cost is not refused


class GcraMachine(Machine[float]):
    """A bucket for each key that holds `burst` tokens and gains `rate` of them a second."""

    def __init__(self, limits: tuple[Limit, ...], max_keys: int, *, strict: bool = False) -> None:
        super().__init__(limits, max_keys, strict=strict)
        self.rate, self.burst = limits[0].rate, limits[0].burst
        self._most = self.burst + SLACK
        self._states = self.keys.states

    def take(self, key: Hashable, cost: int, now: float) -> float:
        """As `Machine.take`, in fewer steps."""
        clock = now * self.rate
        full = self._states.get(key)
        if full is None:
            self.keys.add(key, clock + cost, clock)
            return 0.0
        after = (full if full > clock else clock) + cost  # noqa: FURB136  half the time of `max`
        ahead = after - clock
        if ahead > self._most:
            return (ahead - self.burst) / self.rate
        self._states[key] = after
        return 0.0

    def decide(self, key: Hashable, cost: int, now: float) -> Decision:
        """As `Machine.decide`, in fewer steps."""
        clock = now * self.rate
        full = self._states.get(key)
        allowed, wait = True, 0.0
        if full is None:
            full = clock + cost
            self.keys.add(key, full, clock)
        else:
            if full < clock:  # noqa: PLR1730  in a third of the time
                full = clock
            ahead = full + cost - clock
            if ahead > self._most:
                allowed, wait = False, (ahead - self.burst) / self.rate
            else:
                full += cost
                self._states[key] = full
        ahead = full - clock
        return Decision(
            allowed=allowed,
            limit=self.burst,
            remaining=int(self._most - ahead),
            reset_after=ahead / self.rate,
            retry_after=wait,
        )

    def give_back(self, key: Hashable, cost: int, now: float) -> None:  # noqa: ARG002  past is full
        """Make the bucket full that much sooner."""
        full = self.keys.states.get(key)
        if full is not None:
            self.keys.states[key] = full - cost

    def forget(self, key: Hashable) -> None:
        """Fill the bucket."""
        if key in self.keys.states:
            self.keys.states[key] = -math.inf

    def _fresh(self) -> float:
        return -math.inf

    def _until(self, state: float) -> float:
        return state

    def _charge(self, key: Hashable, cost: int, now: float) -> None:
        self.take(key, cost, now)

    def _wait(self, _nth: int, state: float, cost: int, now: float, ahead: int) -> float:
        used = max(0.0, state - now * self.rate) + ahead + cost
        return (used - self.burst) / self.rate if used > self._most else 0.0

    def _standing(self, _nth: int, state: float, now: float) -> tuple[int, float]:
        used = max(0.0, state - now * self.rate)
        return int(self._most - used), used / self.rate
