"""When to stop calling what fails, and when to try it again: the circuit breaker's decisions."""

from __future__ import annotations

import enum
from typing import NamedTuple

from escala.resilience.pure.window import RollingWindow


class BreakerState(enum.Enum):
    """Closed lets every call pass, open none, half-open a few that show how things stand."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Change(NamedTuple):
    """One step from state to state, and why."""

    before: BreakerState
    after: BreakerState
    at: float
    reason: str


REFUSED = 0


class BreakerMachine:
    """Opens at a failure rate, probes after a cooldown, closes when all probes passed.

    | from      | to        | when                                                          |
    |-----------|-----------|---------------------------------------------------------------|
    | closed    | open      | `minimum_calls` in the window, `failure_rate` of them failed    |
    | open      | half-open | a call comes after the cooldown; it is the first probe          |
    | half-open | open      | a probe failed                                                  |
    | half-open | closed    | `probes` of them passed                                         |
    | half-open | half-open | all are out, and none came back for `probe_lease`: new ones     |

    Each step begins a new epoch. A permit is the epoch in which it was given, so a result that
    comes late, from a state that is past, changes nothing.
    """

    __slots__ = (
        "_cooldown",
        "_failure_rate",
        "_lease",
        "_lease_ends",
        "_minimum_calls",
        "_opened",
        "_passed",
        "_permits",
        "_probes",
        "_window",
        "_window_length",
        "changes",
        "epoch",
        "passing",
        "reason",
        "state",
    )

    def __init__(
        self,
        *,
        failure_rate: float,
        window: float,
        minimum_calls: int,
        cooldown: float,
        probes: int,
        probe_lease: float,
    ) -> None:
        self._failure_rate, self._minimum_calls = failure_rate, minimum_calls
        self._window, self._window_length = RollingWindow(window), window
        self._cooldown, self._probes, self._lease = cooldown, probes, probe_lease
        self._permits = self._passed = 0
        self._opened = self._lease_ends = 0.0
        self.state = BreakerState.CLOSED
        self.epoch = 1
        self.passing = 1  # the permit of every call while closed, else REFUSED
        self.reason = ""  # why the state is what it is
        self.changes: list[Change] = []  # for the shell to take and publish

    def admit(self, now: float) -> int:
        """A permit, or `REFUSED`."""
        if self.state is BreakerState.CLOSED:
            return self.epoch
        if self.state is BreakerState.OPEN:
            if now < self._opened + self._cooldown:
                return REFUSED
            self._enter(BreakerState.HALF_OPEN, now, "the cooldown is over")
        elif not self._permits and now >= self._lease_ends:
            self._enter(BreakerState.HALF_OPEN, now, f"no probe came back within {self._lease:g} s")
        if not self._permits:
            return REFUSED
        self._permits -= 1
        self._lease_ends = now + self._lease
        return self.epoch

    def stay_away(self, now: float) -> float:
        """For a refused call: seconds until it is worth asking again."""
        if self.state is BreakerState.OPEN:
            return max(0.0, self._opened + self._cooldown - now)
        # The probes decide, and no one knows when: a cooldown is the best guess there is.
        return max(0.0, min(self._cooldown, self._lease_ends - now))

    def succeeded(self, permit: int, now: float) -> None:
        """A permitted call ended well."""
        if permit != self.epoch:
            return
        if permit == self.passing:
            window = self._window
            if now >= window.ends:
                window.turn(now)
            window.calls += 1
            if window.marked:
                self._look(now)
            return
        self._passed += 1
        if self._passed == self._probes:
            self._enter(BreakerState.CLOSED, now, f"{self._passed} of {self._probes} probes passed")

    def failed(self, permit: int, now: float) -> None:
        """A permitted call failed."""
        if permit != self.epoch:
            return
        if permit == self.passing:
            window = self._window
            if now >= window.ends:
                window.turn(now)
            window.calls += 1
            window.marked += 1
            self._look(now)
            return
        self._enter(BreakerState.OPEN, now, "a probe failed")

    def returned(self, permit: int) -> None:
        """A permitted call ended without telling anything: a probe's permit goes back."""
        if permit == self.epoch and self.state is BreakerState.HALF_OPEN:
            self._permits += 1

    def _look(self, now: float) -> None:
        calls, failures = self._window.calls, self._window.marked
        # A division, since 7 / 100 is exactly the number that "7%" reads as; 0.07 * 100 is not 7.
        if calls >= self._minimum_calls and failures / calls >= self._failure_rate:
            reason = f"{failures} of {calls} calls in {self._window_length:g} s failed"
            self._enter(BreakerState.OPEN, now, reason)

    def _enter(self, state: BreakerState, now: float, reason: str) -> None:
        self.changes.append(Change(self.state, state, now, reason))
        self.state, self.reason = state, reason
        self.epoch += 1
        self.passing = self.epoch if state is BreakerState.CLOSED else REFUSED
        self._opened = now
        self._permits, self._passed = self._probes, 0
        self._window.clear()
