"""Limit how many calls pass in a time: fair to each client, exact under threads and tasks."""

from __future__ import annotations

from escala.limiting.decision import Decision
from escala.limiting.token_bucket import TokenBucket

__all__ = ["Decision", "TokenBucket"]
