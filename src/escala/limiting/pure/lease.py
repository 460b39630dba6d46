"""Tokens that were taken from a store in advance, and when it is worth it to take some."""

from __future__ import annotations

from collections.abc import Hashable

from escala.limiting.decision import Decision
from escala.limiting.pure.key_map import KeyMap

LIFE = 1.0


class _Lease:
    """What a key has in advance, and what it has asked for in this second and the one before."""

    __slots__ = ("asked", "asking", "at", "before", "decision", "left", "second")

    def __init__(self, second: int) -> None:
        self.second, self.asked, self.before = second, 0, 0
        self.asking = False
        self.left, self.at = 0, 0.0
        self.decision: Decision | None = None

    def until(self) -> float:
        return self.second + 2.0


class Leases:
    """For each key up to `most` tokens in advance, which are worth nothing after a second.

    Only a key that has asked for as many within one second gets some: one that asks seldom would
    let them go to waste. While one caller fetches some, the others ask for what they need.
    """

    def __init__(self, most: int, max_keys: int) -> None:
        self.most = most
        self.keys = KeyMap[_Lease](max_keys, _Lease.until)

    def spend(self, key: Hashable, cost: int, now: float) -> Decision | None:
        """Take tokens that are there in advance; None if they are not."""
        lease = self._lease(key, now)
        lease.asked += cost
        if lease.decision is None or lease.left < cost or now - lease.at >= LIFE:
            return None
        lease.left -= cost
        return _standing(lease.decision, lease.left, now - lease.at)

    def begin(self, key: Hashable, cost: int, now: float) -> bool:
        """Whether to fetch tokens in advance now; then `end` must follow."""
        lease = self._lease(key, now)
        if lease.asking or cost > self.most or max(lease.asked, lease.before) < self.most:
            return False
        lease.asking = True
        return True

    def end(self, key: Hashable, cost: int, decision: Decision | None, now: float) -> None:
        """What came of it: the store's decision, `cost` of which is spent, or None."""
        lease = self._lease(key, now)
        lease.asking = False
        if decision is not None and decision.allowed:
            lease.left, lease.at, lease.decision = self.most - cost, now, decision

    def give_back(self, key: Hashable, cost: int, now: float) -> bool:
        """Put tokens back to those in advance, if there is room; they are the store's if not."""
        lease = self.keys.states.get(key)
        room = lease is not None and lease.decision is not None and now - lease.at < LIFE
        if lease is None or not room or lease.left + cost > self.most:
            return False
        lease.left += cost
        return True

    def forget(self, key: Hashable) -> None:
        """Give up what a key has in advance."""
        if key in self.keys.states:
            self.keys.states[key].left = 0

    def _lease(self, key: Hashable, now: float) -> _Lease:
        second = int(now)
        lease = self.keys.states.get(key)
        if lease is None:
            lease = _Lease(second)
            self.keys.add(key, lease, now)
        elif second > lease.second:
            lease.before = lease.asked if second == lease.second + 1 else 0
            lease.second, lease.asked = second, 0
        return lease


def _standing(then: Decision, left: int, later: float) -> Decision:
    """How things stand: as the store said then, and what is left of what it gave."""
    each = [(remaining + left, max(0.0, reset - later)) for remaining, reset in then.standings]
    remaining, reset = each[then.decided_by]
    return Decision(
        allowed=True,
        limit=then.limit,
        remaining=remaining,
        reset_after=reset,
        retry_after=0.0,
        decided_by=then.decided_by,
        each=tuple(each) if then.each else (),
    )
