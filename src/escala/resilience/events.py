"""What the policies of this chapter tell: breakers that change, calls that are tried again."""

from __future__ import annotations

from escala.kernel.events import Event
from escala.resilience.pure.backoff import GiveUp
from escala.resilience.pure.breaker_table import BreakerState


class BreakerChanged(Event, frozen=True, kw_only=True):
    """A circuit breaker took a step; from half-open to half-open when it gives out new probes.

    `key` says which of several breakers it was; a `shadow` only says what it would have done.
    """

    before: BreakerState
    after: BreakerState
    reason: str
    key: str = ""
    shadow: bool = False


class BreakerStoreChanged(Event, frozen=True, kw_only=True):
    """A shared breaker's store is `away`, so that each process decides alone; or it is back."""

    away: bool
    reason: str


class Retried(Event, frozen=True, kw_only=True):
    """Attempt number `attempt` failed, and another follows in `delay` seconds.

    `cause` is the name of the error's type, or "result" for a value that was judged a failure.
    """

    attempt: int
    delay: float
    cause: str


class RetryGaveUp(Event, frozen=True, kw_only=True):
    """A call failed for good after `attempts` tries, though its failure was worth another."""

    attempts: int
    reason: GiveUp


class Hedged(Event, frozen=True, kw_only=True):
    """Copy number `copy` of a call was started, `after` seconds behind the copy before it."""

    copy: int
    after: float


class FellBack(Event, frozen=True, kw_only=True):
    """A call failed and was answered from `source`: "value", "function" or "last_good".

    `cause` is the name of the error's type, or "result" for a value that was judged a failure.
    """

    cause: str
    source: str


class LimitChanged(Event, frozen=True, kw_only=True):
    """An adaptive limit found that its dependency bears more calls at once, or fewer."""

    before: int
    after: int


class Shedding(Event, frozen=True, kw_only=True):
    """`Shed` began to turn away calls, at first such a `share` of them; or it ended, with 0."""

    share: float


class FunctionFailed(Event, frozen=True, kw_only=True):
    """A function that was given to a policy failed, and was taken as if not given.

    `function` is the argument it was given for, such as "judge" or "hint", and `cause` the name of
    the error's type.
    """

    function: str
    cause: str
