"""Measure what databases cost: routing, shards, scatter, ids, and a reshard under load."""

from __future__ import annotations

from benchmarks import (
    databases_ids,
    databases_reshard,
    databases_routing,
    databases_scatter,
    databases_sharded,
)
from benchmarks.report import Report

GOALS = {**databases_routing.GOALS, **databases_scatter.GOALS, **databases_reshard.GOALS}


def measure(*, quick: bool) -> Report:
    """Run one part after the other; each says by itself what it could not get."""
    report = Report()
    databases_routing.measure_routing(report, quick=quick)
    databases_sharded.measure_sharded(report, quick=quick)
    databases_scatter.measure_scatter(report, quick=quick)
    databases_ids.measure(report, quick=quick)
    databases_reshard.measure_reshard(report, quick=quick)
    return report
