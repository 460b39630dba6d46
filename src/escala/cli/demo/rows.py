"""The figures that people are shown, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A label, the key of a half's figure, and how it is written."""

    label: str
    key: str
    write: Callable[[Any], str]


def percent(value: float) -> str:
    """A share that never rounds up to a hundred."""
    return "100 %" if value == 1 else f"{min(99.99, value * 100):.2f} %"


def milliseconds(value: float) -> str:
    """A latency with about three digits."""
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.3g} ms"  # noqa: PLR2004


def count(value: int) -> str:
    """A number with its thousands apart."""
    return f"{value:,}"


ROWS = (
    Row("requests", "requests", count),
    Row("success of admitted requests", "success", percent),
    Row("served, of all requests", "served", percent),
    Row("failed GETs", "failed_get", count),
    Row("  while an instance was dead", "failed_get_killed", count),
    Row("p50", "p50_ms", milliseconds),
    Row("p99", "p99_ms", milliseconds),
    Row("p99 while calm", "p99_calm_ms", milliseconds),
    Row("p99 in the surge", "p99_surge_ms", milliseconds),
    Row("served in the surge", "served_surge", percent),
    Row("requests that reached the shop", "reached_shop", count),
    Row("cache hits", "cache_hits", count),
    Row("retries", "retries", count),
    Row("refused by a policy", "refused", count),
    Row("orders accepted", "orders_accepted", count),
    Row("orders found afterwards", "orders_found", count),
    Row("pages asked of the shop", "pages_asked", count),
    Row("  read from its database", "pages_read", count),
    Row("  from its cache", "pages_cached", percent),
    Row("prices changed", "prices_changed", count),
    Row("  pages looked at afterwards", "pages_seen", count),
    Row("  with an old price", "stale_pages", count),
    Row("  with one, within 250 ms of the change", "late_pages", count),
    Row("views", "views_served", count),
    Row("  found afterwards", "views_found", count),
    Row("  writes to the database", "view_writes", count),
)


def shown(row: Row, figures: dict[str, Any], half: str) -> str:
    """The figure of a half as text; a dash when it has none."""
    value = figures.get(f"{half}.{row.key}")
    return "-" if value is None else row.write(value)
