"""What the policies of this chapter tell: breakers that change, calls that are tried again."""

from __future__ import annotations

from escala.kernel.events import Event
from escala.resilience.pure.backoff import GiveUp
from escala.resilience.pure.breaker import BreakerState


class BreakerChanged(Event, frozen=True, kw_only=True):
    """A circuit breaker took a step; from half-open to half-open when it gives out new probes."""

    before: BreakerState
    after: BreakerState
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
