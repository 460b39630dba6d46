"""What a reader must know before believing a run's figures."""

from __future__ import annotations

from typing import Any

from escala.cli.demo.load import MOST_OUTSTANDING
from escala.cli.demo.rows import milliseconds

_LATE_MS = 50.0


def caveats(figures: dict[str, Any]) -> list[str]:
    """One sentence for each thing that was not as it should be."""
    found = []
    for half in ("baseline", "stack"):
        if f"{half}.requests" not in figures:
            continue
        late = figures[f"{half}.generator_late_p99_ms"]
        if late > _LATE_MS:
            found.append(
                f"{half}: the load generator itself was late (p99 {milliseconds(late)}): the "
                "machine was too busy, and all latencies are overstated"
            )
        if unsent := figures.get(f"{half}.error.not sent: too many outstanding"):
            found.append(
                f"{half}: {unsent:,} requests were not sent, since {MOST_OUTSTANDING:,} were "
                "outstanding; they count as failed"
            )
        if figures[f"{half}.orders_found"] != figures[f"{half}.orders_accepted"]:
            found.append(f"{half}: accepted orders are missing from the database")
        if figures[f"{half}.stale_pages"]:
            found.append(f"{half}: pages were shown with a price that was no longer in force")
        if figures[f"{half}.views_found"] != figures[f"{half}.views_served"]:
            found.append(f"{half}: views are missing from the database")
        if not figures[f"{half}.stock_agrees"]:
            found.append(f"{half}: what left the stock is not what was ordered")
    if figures["clients"] == 1:
        found.append("all requests came from one address: this system has no others on loopback")
    return found
