"""Chart: orders that were promised to their clients, and orders that are in the database."""

from __future__ import annotations

from collections.abc import Sequence

from escala.cli.demo.half import Half
from escala.cli.demo.report import svg

_LEFT, _RIGHT, _BAR = 64.0, 48.0, 18.0


def orders_chart(half: Half, halves: Sequence[Half]) -> str:
    """Two bars that must be as long as each other, above how many were sent."""
    most = max(1, *(each.orders.sent for each in halves))
    orders = half.orders
    bars = (
        ("sent", orders.sent, "sent"),
        ("accepted", orders.accepted, "shop"),
        ("found", orders.found, "cache"),
    )
    parts = []
    for number, (name, count, kind) in enumerate(bars):
        top = 4 + number * (_BAR + 8)
        width = (400 - _LEFT - _RIGHT) * count / most
        parts += [
            svg.text(name, _LEFT - 6, top + 13, class_="label quiet", anchor="end"),
            svg.box(_LEFT, top, width, _BAR, kind),
            svg.text(f"{count:,}", _LEFT + width + 6, top + 13, class_="label strong"),
        ]
    return svg.picture(
        400,
        4 + len(bars) * (_BAR + 8),
        f"Orders sent, accepted and found, {half.name}",
        *parts,
    )
