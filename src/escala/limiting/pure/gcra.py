"""How many tokens a key has, in one number: the generic cell rate algorithm (ITU-T I.371)."""

from __future__ import annotations

import math
from collections.abc import Hashable

from escala.limiting.decision import Decision
from escala.limiting.pure.key_map import KeyMap

_SLACK = 1e-6  # of a token; what the rounding of floats may cost is not refused


class GcraMachine:
    """A bucket for each key that holds `burst` tokens and gains `rate` of them a second.

    Time is measured in tokens (seconds times rate). A key's one number is when its bucket will
    be full again: taking tokens moves it that many on, and it may be at most `burst` ahead of
    now. Whole numbers of tokens add up exactly, so that of N tokens exactly N are granted. A
    number in the past says the same as none, so such a key can be forgotten.
    """

    __slots__ = ("_most", "burst", "keys", "rate")

    def __init__(self, *, rate: float, burst: int, max_keys: int) -> None:
        self.rate, self.burst = rate, burst
        self._most = burst + _SLACK
        self.keys = KeyMap(max_keys)

    def take(self, key: Hashable, cost: int, now: float) -> float:
        """Take tokens: 0.0 if they were there, else seconds until they would be; none are taken.

        The short form of `decide`, for callers who only pass or refuse.
        """
        clock = now * self.rate
        full = self.keys.moments.get(key)
        if full is None:
            if cost > self.burst:
                return math.inf
            self.keys.add(key, clock + cost, clock)
            return 0.0
        after = (max(clock, full)) + cost
        ahead = after - clock
        if ahead > self._most:
            return math.inf if cost > self.burst else (ahead - self.burst) / self.rate
        self.keys.moments[key] = after
        return 0.0

    def decide(self, key: Hashable, cost: int, now: float) -> Decision:
        """Take tokens if they are there, and say how things stand."""
        return self._stand(key, now, self.take(key, cost, now))

    def look(self, key: Hashable, now: float) -> Decision:
        """How things stand for a caller whose tokens have been granted."""
        return self._stand(key, now, 0.0)

    def _stand(self, key: Hashable, now: float, wait: float) -> Decision:
        ahead = max(0.0, self.keys.moments.get(key, 0.0) - now * self.rate)
        return Decision(
            allowed=not wait,
            limit=self.burst,
            remaining=max(0, int(self._most - ahead)),
            reset_after=ahead / self.rate,
            retry_after=wait,
        )
