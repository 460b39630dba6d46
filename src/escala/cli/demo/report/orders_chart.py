"""Chart: orders that were promised to their clients, and orders that are in the database."""

from __future__ import annotations

from collections.abc import Sequence

from escala.cli.demo.half import Half
from escala.cli.demo.report.bars import bars_chart


def orders_chart(half: Half, halves: Sequence[Half]) -> str:
    """Two bars that must be as long as each other, above how many were sent."""
    orders = half.orders
    bars = (
        ("sent", orders.sent, "sent"),
        ("accepted", orders.accepted, "shop"),
        ("found", orders.found, "cache"),
    )
    most = max(each.orders.sent for each in halves)
    return bars_chart(f"Orders sent, accepted and found, {half.name}", bars, most)
