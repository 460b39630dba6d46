"""What a rate limiter answers, with all that a client or an HTTP response wants to know."""

from __future__ import annotations

import msgspec


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a call may go on, and how the limit stands; true in an `if` when it may."""

    allowed: bool
    """Whether the tokens were granted."""
    limit: int
    """The most that can be granted at once (the burst)."""
    remaining: int
    """How many whole tokens are left."""
    reset_after: float
    """Seconds until all of them are back."""
    retry_after: float
    """Seconds until this call would be granted: 0 if it was, infinite if it never can be."""

    def __bool__(self) -> bool:
        return self.allowed
