"""Limits for machines, written briefly."""

from __future__ import annotations

from escala.limiting.plan import Limit


def limit(count: float, period: float = 1.0, burst: int | None = None) -> Limit:
    return Limit(
        text=f"{count:g}/{period:g}s",
        count=count,
        period=period,
        burst=int(count) if burst is None else burst,
        rate=count / period,
    )
