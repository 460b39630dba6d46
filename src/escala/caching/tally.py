"""How often what happened. Counted without a lock: under threads a count may miss a few."""

from __future__ import annotations


class Tally:
    """The counts of one cache since it was made."""

    __slots__ = (
        "coalesced",
        "heard",
        "hits",
        "invalidations",
        "l2_hits",
        "load_errors",
        "load_seconds",
        "loads",
        "misses",
        "oldest_stale",
        "rescued",
        "stale",
        "undecodable",
        "unkept",
    )

    def __init__(self) -> None:
        self.hits = self.l2_hits = self.misses = self.stale = self.rescued = self.coalesced = 0
        self.loads = self.load_errors = self.undecodable = self.unkept = self.invalidations = (
            self.heard
        ) = 0
        self.load_seconds = self.oldest_stale = 0.0

    def snapshot(self) -> dict[str, float]:
        """All of them, for metrics."""
        return {name: float(getattr(self, name)) for name in self.__slots__}
