"""What the policies of this chapter tell: that they have to do without their store."""

from __future__ import annotations

from escala.kernel.events import Event


class LimiterStoreChanged(Event, frozen=True, kw_only=True):
    """A limiter's store is `away`, and what that limiter does without it begins; or it is back."""

    away: bool
    reason: str
