"""What a rate limiter promises, in the numbers that whoever keeps its counts needs."""

from __future__ import annotations

import msgspec


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One limit of a limiter, such as the "1000/h" of "10/s; 1000/h"."""

    text: str
    """How it was written: "10/s"."""
    count: float
    """How many calls it names; a whole number for the algorithms with windows."""
    period: float
    """In how many seconds."""
    burst: int
    """The most that may pass at once; with windows it is `count`."""
    rate: float
    """Tokens that come back each second: `count / period`, and less when `strict`."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that a place for counts has to know of a limiter.

    Two processes with the same plan count together where they share a ledger, so it holds
    nothing that differs between them.
    """

    algorithm: str
    """"token_bucket", "leaky_bucket" (the same arithmetic), "sliding_window_log",
    "sliding_window_counter" or "fixed_window"."""
    limits: tuple[Limit, ...]
    """In the order they were written; at least one. All must allow a call."""
    name: str
    """The limiter's name: what its keys in a store begin with."""
    strict: bool = False
    """Whether no period may ever hold more than the limit counts, not even around its ends. The
    limits' `burst` and `rate` already see to it; whoever reserves places for those who wait
    charges them no earlier than they pass."""

    @property
    def most(self) -> int:
        """The greatest cost that could ever be granted at once."""
        return min(limit.burst for limit in self.limits)
