"""The circuit breaker's states, and every step from one to another: the machine takes no other."""

from __future__ import annotations

import enum
from typing import Literal, NamedTuple, TypeAlias


class BreakerState(enum.Enum):
    """Closed lets every call pass, open none, half-open a few that show how things stand.

    The other two are set by hand: forced-open refuses every call, disabled counts none.
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    FORCED_OPEN = "forced-open"
    DISABLED = "disabled"


BreakerMode: TypeAlias = Literal["enforce", "shadow", "disabled", "forced_open"]
"""`enforce` decides by itself; `shadow` does so as well, and lets every call pass all the same."""


class Transition(NamedTuple):
    """A step that a breaker may take; `before` is None where any state may come before."""

    before: BreakerState | None
    after: BreakerState
    when: str


_CLOSED, _OPEN, _HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN

FAILING = Transition(
    _CLOSED, _OPEN, "`minimum_calls` in the window, and `failure_rate` of them failed"
)
SLOW = Transition(
    _CLOSED, _OPEN, "`minimum_calls` in the window, and `slow_rate` of them took `slow` or longer"
)
IN_A_ROW = Transition(_CLOSED, _OPEN, "`consecutive` calls in a row failed")
COOLED = Transition(_OPEN, _HALF_OPEN, "a call comes after the cooldown; it is the first probe")
REOPENED = Transition(
    _HALF_OPEN, _OPEN, "a probe failed or was slow; the cooldown doubles, up to `cooldown_cap`"
)
RECOVERED = Transition(
    _HALF_OPEN, _CLOSED, "`probes` of them passed; the next cooldown is the first one again"
)
RENEWED = Transition(
    _HALF_OPEN, _HALF_OPEN, "all probes are out, and none came back for `probe_lease`: new ones"
)
ENFORCED = Transition(None, _CLOSED, "`switch` to `enforce` or `shadow`")
FORCED = Transition(None, BreakerState.FORCED_OPEN, "`switch` to `forced_open`")
DISABLED = Transition(None, BreakerState.DISABLED, "`switch` to `disabled`")
SHARED_CLOSED = Transition(None, _CLOSED, "another process closed it (`store`)")
SHARED_OPEN = Transition(None, _OPEN, "another process opened it (`store`)")
SHARED_HALF_OPEN = Transition(None, _HALF_OPEN, "the probes of all processes began (`store`)")

TRANSITIONS: tuple[Transition, ...] = (
    FAILING,
    SLOW,
    IN_A_ROW,
    COOLED,
    REOPENED,
    RECOVERED,
    RENEWED,
    ENFORCED,
    FORCED,
    DISABLED,
    SHARED_CLOSED,
    SHARED_OPEN,
    SHARED_HALF_OPEN,
)
