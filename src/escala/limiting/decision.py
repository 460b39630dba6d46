"""What a rate limiter answers, with all that a client or an HTTP response wants to know."""

from __future__ import annotations

import msgspec


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Whether a call may go on, and how the limit stands; true in an `if` when it may.

    Of several limits it describes the one that decided: of those that refuse the one that takes
    longest, else the one with the fewest tokens left.
    """

    allowed: bool
    """Whether the tokens were granted."""
    limit: int
    """The most that can be granted at once (the burst)."""
    remaining: int
    """How many whole tokens are left."""
    reset_after: float
    """Seconds until all of them are back."""
    retry_after: float
    """Seconds until this call would be granted if no one else comes: 0 if it was."""
    decided_by: int = 0
    """Which of the limiter's limits this describes: its place in `plan.limits`."""
    each: tuple[tuple[int, float], ...] = ()
    """With several limits, `remaining` and `reset_after` of each in turn; empty for one limit."""
    away: bool = False
    """Whether it was made without the limiter's store, which was away."""

    def __bool__(self) -> bool:
        return self.allowed

    @property
    def standings(self) -> tuple[tuple[int, float], ...]:
        """`remaining` and `reset_after` of every limit, in the order of `plan.limits`."""
        return self.each or ((self.remaining, self.reset_after),)
