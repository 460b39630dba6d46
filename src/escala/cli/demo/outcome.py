"""How one request went, seen from its client."""

from __future__ import annotations

from typing import NamedTuple

_SERVER_ERROR = 500
# What the gateway says of an answer that cost the shop nothing.
FROM_CACHE = ("hit", "stale", "coalesced")


class Outcome(NamedTuple):
    """One request's end, times in seconds.

    `latency` counts from when the request was due, not from when it was sent, so a generator
    that falls behind cannot hide waiting.
    """

    at: float
    latency: float
    method: str
    kind: str
    key: str = ""
    status: int = 0
    cache: str = ""
    rejected: str = ""
    error: str = ""
    late: float = 0.0  # how much later than due it was sent
    path: str = ""
    cents: int | None = None  # the price that a product's page showed

    @property
    def admitted(self) -> bool:
        """Whether no policy refused it."""
        return not self.rejected

    @property
    def ok(self) -> bool:
        """Whether it was answered, and with no server error."""
        return not self.rejected and 0 < self.status < _SERVER_ERROR

    @property
    def failed(self) -> bool:
        """Whether it was admitted and not served."""
        return not self.rejected and not self.ok

    @property
    def sent(self) -> float:
        """When it was sent."""
        return self.at + self.late

    @property
    def reads(self) -> bool:
        """Whether it only asked for something."""
        return self.method != "POST"
