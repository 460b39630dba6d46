"""The demo's figures, flat: what report.json holds and the table shows."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable
from typing import Any

from escala.cli.demo.half import Half
from escala.cli.demo.load import MOST_SOURCES
from escala.cli.demo.outcome import FROM_CACHE, Outcome
from escala.cli.demo.percentile import percentile
from escala.cli.demo.phases import CALM, at
from escala.cli.demo.traffic import Traffic

Figures = dict[str, Any]
_HURT = ("killed", "back")


def figures(traffic: Traffic, baseline: Half | None, stack: Half) -> Figures:
    """All figures; keys of a half start with its name."""
    flat: Figures = {
        "requests": len(traffic.plan),
        "rate_per_s": traffic.rate,
        "seconds_per_half": round(traffic.phases[-1].end, 1),
        "seed": traffic.seed,
        "log.name": traffic.log.name,
        "log.lines": traffic.log.lines,
        "log.broken": traffic.log.broken,
        "clients": min(MOST_SOURCES, len({planned.source for planned in traffic.plan})),
        "machine.cores": os.cpu_count(),
        "machine.python": platform.python_version(),
    }
    for half in (baseline, stack):
        if half is not None:
            flat |= {f"{half.name}.{key}": value for key, value in of_half(half).items()}
    flat["orders.accepted"] = stack.orders.accepted
    flat["orders.found"] = stack.orders.found
    return flat


def of_half(half: Half) -> Figures:
    """The figures of one half, without its name."""
    outcomes = half.outcomes
    by_phase: dict[str, list[Outcome]] = {phase.name: [] for phase in half.phases}
    for outcome in outcomes:
        by_phase[at(half.phases, outcome.at).name].append(outcome)
    calm = [outcome for name in CALM for outcome in by_phase.get(name, ())]
    hurt = [outcome for name in _HURT for outcome in by_phase.get(name, ())]
    surge = by_phase.get("surge", [])
    last = half.samples[-1] if half.samples else None
    ok = sum(outcome.ok for outcome in outcomes)
    return {
        "requests": len(outcomes),
        "ok": ok,
        "failed": sum(outcome.failed for outcome in outcomes),
        "refused": sum(not outcome.admitted for outcome in outcomes),
        "success": success(outcomes),
        "served": _share(ok, len(outcomes)),
        "failed_get": _failed_get(outcomes),
        "failed_get_killed": _failed_get(hurt),
        "p50_ms": _ms(outcomes, 0.5),
        "p95_ms": _ms(outcomes, 0.95),
        "p99_ms": _ms(outcomes, 0.99),
        "success_surge": success(surge),
        "served_surge": _share(sum(outcome.ok for outcome in surge), len(surge)),
        "reached_shop": last.reached if last else 0,
        "cache_hits": sum(outcome.cache in FROM_CACHE for outcome in outcomes),
        "retries": last.retries if last else 0,
        "rss_mb": max((sample.rss_mb for sample in half.samples), default=0.0),
        "orders_sent": half.orders.sent,
        "orders_accepted": half.orders.accepted,
        "orders_found": half.orders.found,
        "orders_unconfirmed": half.orders.unconfirmed,
        "stock_agrees": half.orders.stock_agrees,
        "pages_asked": half.pages.asked,
        "pages_read": half.pages.read,
        "pages_cached": _share(half.pages.asked - half.pages.read, half.pages.asked),
        "prices_changed": half.prices.changed,
        "pages_seen": half.prices.seen,
        "stale_pages": half.prices.stale,
        "late_pages": half.prices.late,
        "views_served": half.views.served,
        "views_found": half.views.found,
        "views_unconfirmed": half.views.unconfirmed,
        "view_writes": half.views.saves,
        "most_outstanding": half.most_outstanding,
        "generator_late_p99_ms": round(percentile([o.late for o in outcomes], 0.99) * 1000, 2),
        **_counts("refused_by", (outcome.rejected for outcome in outcomes if outcome.rejected)),
        **_counts("error", (_why(outcome) for outcome in outcomes if outcome.failed)),
        **{f"success_{name}": success(part) for name, part in by_phase.items()},
        **{f"p99_{name}_ms": _ms(part, 0.99) for name, part in by_phase.items()},
        # The quiet times are two phases; this comes last so that it replaces the first one's.
        "p99_calm_ms": _ms(calm, 0.99),
    }


def success(outcomes: list[Outcome]) -> float:
    """The share of admitted requests that were served, from 0 to 1; 1 when none was admitted."""
    admitted = sum(outcome.admitted for outcome in outcomes)
    return _share(sum(outcome.ok for outcome in outcomes), admitted) if admitted else 1.0


def _failed_get(outcomes: list[Outcome]) -> int:
    return sum(outcome.failed and outcome.reads for outcome in outcomes)


def _share(part: int, whole: int) -> float:
    return round(part / whole, 5) if whole else 0.0


def _ms(outcomes: list[Outcome], share: float) -> float:
    """A percentile over admitted requests, the failed ones included: their clients waited too."""
    waited = [outcome.latency for outcome in outcomes if outcome.admitted]
    return round(percentile(waited, share) * 1000, 2)


def _why(outcome: Outcome) -> str:
    return outcome.error or str(outcome.status)


def _counts(prefix: str, names: Iterable[str]) -> Figures:
    return {f"{prefix}.{name}": count for name, count in sorted(Counter(names).items())}
