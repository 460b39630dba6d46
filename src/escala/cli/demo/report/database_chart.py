"""Chart: what was asked of the shop, and what its database had to do for it."""

from __future__ import annotations

from collections.abc import Sequence

from escala.cli.demo.half import Half
from escala.cli.demo.report.bars import bars_chart


def database_chart(half: Half, halves: Sequence[Half]) -> str:
    """Pages and those that were read, views and the writes that these became."""
    pages, views = half.pages, half.views
    bars = (
        ("pages", pages.asked, "sent"),
        ("read", pages.read, "shop"),
        ("views", views.served, "sent"),
        ("writes", views.saves, "shop"),
    )
    most = max(max(each.pages.asked, each.views.served) for each in halves)
    return bars_chart(f"Pages asked and read, views and writes, {half.name}", bars, most)
