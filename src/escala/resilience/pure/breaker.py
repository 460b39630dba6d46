"""When to stop calling what fails, and when to try it again: the circuit breaker's decisions."""

from __future__ import annotations

from typing import NamedTuple

from escala.resilience.pure.breaker_table import (
    COOLED,
    DISABLED,
    ENFORCED,
    FAILING,
    FORCED,
    IN_A_ROW,
    RECOVERED,
    RENEWED,
    REOPENED,
    SHARED_CLOSED,
    SHARED_HALF_OPEN,
    SHARED_OPEN,
    SLOW,
    BreakerMode,
    BreakerState,
    Transition,
)
from escala.resilience.pure.count_window import CountWindow
from escala.resilience.pure.window import RollingWindow


class Change(NamedTuple):
    """One step from state to state, and why."""

    before: BreakerState
    after: BreakerState
    at: float
    reason: str


class BreakerRules(NamedTuple):
    """What a breaker goes by; seconds, shares from 0 to 1, and None for what it does not look at.

    The window is `window` seconds or, when given, the last `window_calls` calls.
    """

    failure_rate: float | None = 0.5
    slow_rate: float | None = None
    consecutive: int | None = None
    window: float = 10.0
    window_calls: int | None = None
    minimum_calls: int = 20
    cooldown: float = 5.0
    cooldown_cap: float | None = None
    probes: int = 1
    probe_lease: float = 30.0

    def counts(self) -> RollingWindow | CountWindow:
        """An empty window."""
        calls = self.window_calls
        return RollingWindow(self.window) if calls is None else CountWindow(calls)

    def told(self, marked: int, calls: int, what: str) -> str:
        """Why it opens."""
        if self.window_calls is None:
            return f"{marked} of {calls} calls in {self.window:g} s {what}"
        return f"{marked} of the last {calls} calls {what}"


REFUSED = 0
UNCOUNTED = -1  # a permit for a call whose end tells nothing: no epoch is negative

_SWITCHES = {
    "enforce": ENFORCED,
    "shadow": ENFORCED,
    "disabled": DISABLED,
    "forced_open": FORCED,
}
_FOLLOWED = {
    BreakerState.CLOSED: SHARED_CLOSED,
    BreakerState.OPEN: SHARED_OPEN,
    BreakerState.HALF_OPEN: SHARED_HALF_OPEN,
}


class BreakerMachine:
    """Opens when too many calls fail or are slow, probes after a cooldown, closes when all is well.

    `breaker_table.TRANSITIONS` lists its steps. Each step begins a new epoch. A permit is the
    epoch in which it was given, so a result that comes late, from a state that is past, changes
    nothing.
    """

    __slots__ = (
        "_lease_ends",
        "_noted",
        "_passed",
        "_permits",
        "_rules",
        "_streak",
        "_until",
        "_window",
        "changes",
        "cooldown",
        "epoch",
        "passing",
        "reason",
        "state",
    )

    def __init__(self, rules: BreakerRules, mode: BreakerMode = "enforce") -> None:
        self._rules, self._window = rules, rules.counts()
        self._permits = self._passed = self._streak = 0
        self._noted = False  # whether a success has to look: at a failure, a slow call, a streak
        self._until = self._lease_ends = 0.0
        self.cooldown = rules.cooldown  # the present one, longer each time it opens again
        self.state = _SWITCHES[mode].after
        self.epoch = 1
        # The permit of every call, without asking; REFUSED where `admit` decides.
        self.passing = _passing(self.state, self.epoch)
        self.reason = "" if mode == "enforce" else f"it was switched to {mode}"
        self.changes: list[Change] = []  # for the shell to take and publish

    def admit(self, now: float) -> int:
        """A permit, or `REFUSED`."""
        if self.passing != REFUSED:
            return self.passing
        if self.state is BreakerState.OPEN:
            if now < self._until:
                return REFUSED
            self._enter(COOLED, now, "the cooldown is over")
        elif self.state is BreakerState.HALF_OPEN and not self._permits and now >= self._lease_ends:
            self._enter(RENEWED, now, f"no probe came back within {self._rules.probe_lease:g} s")
        if not self._permits:
            return REFUSED
        self._permits -= 1
        self._lease_ends = now + self._rules.probe_lease
        return self.epoch

    def stay_away(self, now: float) -> float | None:
        """For a refused call: seconds until it is worth asking again; None if no one can say."""
        if self.state is BreakerState.OPEN:
            return max(0.0, self._until - now)
        if self.state is BreakerState.HALF_OPEN:
            # The probes decide, and no one knows when: a cooldown is the best guess there is.
            return max(0.0, min(self.cooldown, self._lease_ends - now))
        return None

    def succeeded(self, permit: int, now: float) -> None:
        """A permitted call ended well."""
        if permit != self.epoch:
            return
        if permit == self.passing:
            window = self._window
            if now >= window.ends:
                window.turn(now)
            window.calls += 1
            if self._noted:
                self._streak = 0
                self._noted = window.marked > 0
                self._look(now)
            return
        self._passed += 1
        if self._passed == self._rules.probes:
            reason = f"{self._passed} of {self._rules.probes} probes passed"
            self._enter(RECOVERED, now, reason)

    def failed(self, permit: int, now: float, *, slow: bool = False) -> None:
        """A permitted call failed, and may have been slow about it."""
        if permit != self.epoch:
            return
        if permit == self.passing:
            window = self._window
            if now >= window.ends:
                window.turn(now)
            window.calls += 1
            window.marked += 1 + slow
            window.slow += slow
            self._streak += 1
            self._noted = True
            self._look(now)
            return
        self._enter(REOPENED, now, "a probe failed")

    def slowed(self, permit: int, now: float) -> None:
        """A permitted call ended well, and took too long."""
        if permit != self.epoch:
            return
        if permit == self.passing:
            window = self._window
            if now >= window.ends:
                window.turn(now)
            window.calls += 1
            window.marked += 1
            window.slow += 1
            self._streak = 0
            self._noted = True
            self._look(now)
            return
        self._enter(REOPENED, now, "a probe was slow")

    def returned(self, permit: int) -> None:
        """A permitted call ended without telling anything: a probe's permit goes back."""
        if permit == self.epoch and self.state is BreakerState.HALF_OPEN:
            self._permits += 1

    def switch(self, mode: BreakerMode, now: float) -> None:
        """Begin anew, in the state that a mode begins with."""
        self._enter(_SWITCHES[mode], now, f"it was switched to {mode}")

    def follow(self, state: BreakerState, now: float, left: float, reason: str) -> None:
        """Be where the other processes are; `left` is what an open one has of its cooldown.

        A closed or half-open one that is so already keeps what it has counted.
        """
        if state is not self.state:
            self._enter(_FOLLOWED[state], now, reason)
            self._permits = 0  # the store gives out the probes
            self._lease_ends = now + self._rules.probe_lease
        if state is BreakerState.OPEN:
            self._until = now + left

    def forget(self) -> None:
        """Let no call that is under way, or is just coming in, change anything any more."""
        self.epoch += 1
        if self.passing != REFUSED:
            self.passing = UNCOUNTED

    def _look(self, now: float) -> None:
        """Whether what the window holds is too much."""
        rules, window = self._rules, self._window
        calls, slow = window.calls, window.slow
        failures = window.marked - slow
        if rules.consecutive is not None and self._streak >= rules.consecutive:
            self._enter(IN_A_ROW, now, f"{self._streak} calls in a row failed")
        elif calls < rules.minimum_calls:
            return
        # A division, since 7 / 100 is exactly the number that "7%" reads as; 0.07 * 100 is not 7.
        elif rules.failure_rate is not None and failures / calls >= rules.failure_rate:
            self._enter(FAILING, now, rules.told(failures, calls, "failed"))
        elif rules.slow_rate is not None and slow / calls >= rules.slow_rate:
            self._enter(SLOW, now, rules.told(slow, calls, "were slow"))

    def _enter(self, step: Transition, now: float, reason: str) -> None:
        state = step.after
        self.changes.append(Change(self.state, state, now, reason))
        if step is REOPENED and self._rules.cooldown_cap is not None:
            self.cooldown = min(self._rules.cooldown_cap, 2 * self.cooldown)
        elif state is BreakerState.CLOSED:
            self.cooldown = self._rules.cooldown
        self.state, self.reason = state, reason
        self.epoch += 1
        self.passing = _passing(state, self.epoch)
        self._until = now + self.cooldown
        self._permits = self._rules.probes if state is BreakerState.HALF_OPEN else 0
        self._passed = 0
        self._streak, self._noted = 0, False
        self._window.clear()


def _passing(state: BreakerState, epoch: int) -> int:
    if state is BreakerState.CLOSED:
        return epoch
    return UNCOUNTED if state is BreakerState.DISABLED else REFUSED
