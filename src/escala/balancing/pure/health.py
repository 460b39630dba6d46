"""Whether a target is well: a few checks in a row decide, never a single one."""

from __future__ import annotations

import enum
from typing import NamedTuple


class State(enum.Enum):
    """What is known of a target."""

    STARTING = "starting"
    """Nothing yet: no check has passed, and not enough have failed."""
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Transition(NamedTuple):
    """A target changed its state, and why."""

    before: State
    after: State
    at: float
    reason: str


class Health:
    """Rise and fall: `fall` failures in a row take a target out, `rise` passes bring it back.

    The first check that passes ends `STARTING` at once: there is no bad news to outweigh, and
    everyone waits for a new target. It takes `fall` failures to call a new target unhealthy too.

    Two kinds of evidence come in and are counted apart. Active checks (`observe`) decide both
    ways. Connections made for traffic (`report`) can only take a target out, after `fall` that
    failed with nothing good in between: a target that is out gets no traffic that could speak
    for it, and one whose check fails must not be held in by connections that still succeed.
    """

    __slots__ = ("_failed", "_fall", "_passed", "_refused", "_rise", "reason", "state")

    def __init__(self, *, fall: int, rise: int) -> None:
        self._fall, self._rise = fall, rise
        self.state = State.STARTING
        self.reason = "not checked yet"
        self._passed = self._failed = self._refused = 0

    @property
    def doubted(self) -> bool:
        """Whether the last connection failed and nothing good has been seen since."""
        return self._refused > 0

    def observe(self, now: float, *, ok: bool) -> Transition | None:
        """An active check is over."""
        if not ok:
            self._passed = 0
            self._failed += 1
            return self._fell(self._failed, "check", now)
        self._failed = self._refused = 0
        self._passed += 1
        if self.state is State.STARTING:
            return self._enter(State.HEALTHY, now, "the first check passed")
        if self.state is State.UNHEALTHY and self._passed >= self._rise:
            return self._enter(State.HEALTHY, now, _in_a_row(self._rise, "check", "passed"))
        return None

    def report(self, now: float, *, ok: bool) -> Transition | None:
        """A connection for traffic was made, or could not be."""
        if ok:
            self._refused = 0
            return None
        self._refused += 1
        return self._fell(self._refused, "connection", now)

    def _fell(self, times: int, what: str, now: float) -> Transition | None:
        if self.state is State.UNHEALTHY or times < self._fall:
            return None
        return self._enter(State.UNHEALTHY, now, _in_a_row(self._fall, what, "failed"))

    def _enter(self, state: State, now: float, reason: str) -> Transition:
        transition = Transition(self.state, state, now, reason)
        self.state, self.reason = state, reason
        self._passed = self._failed = self._refused = 0
        return transition


def _in_a_row(times: int, what: str, did: str) -> str:
    return f"a {what} {did}" if times == 1 else f"{times} {what}s in a row {did}"
