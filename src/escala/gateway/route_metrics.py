"""What one route has done, counted in plain integers: a worker has one thread, and no locks."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

BOUNDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip  # seconds; Prometheus' customary buckets


class RouteMetrics:
    """Requests by status, rejections by policy, a latency histogram in seconds."""

    __slots__ = ("buckets", "by_status", "rejected", "requests", "retries", "seconds")

    def __init__(self) -> None:
        self.requests = 0
        self.retries = 0
        self.seconds = 0.0
        self.by_status: dict[int, int] = {}
        self.rejected: dict[str, int] = {}
        self.buckets = [0] * (len(BOUNDS) + 1)

    def observe(self, status: int, seconds: float) -> None:
        """Count one answer and how long its head took."""
        self.requests += 1
        self.by_status[status] = self.by_status.get(status, 0) + 1
        self.seconds += seconds
        self.buckets[bisect_left(BOUNDS, seconds)] += 1

    def reject(self, kind: str) -> None:
        """Count a call that a policy refused."""
        self.rejected[kind] = self.rejected.get(kind, 0) + 1

    def snapshot(self) -> dict[str, Any]:
        """As plain values, which add up across workers."""
        return {
            "requests": self.requests,
            "retries": self.retries,
            "seconds": self.seconds,
            "statuses": {str(status): count for status, count in self.by_status.items()},
            "rejected": dict(self.rejected),
            "buckets": list(self.buckets),
        }
