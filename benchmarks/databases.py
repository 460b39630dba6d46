"""Measure what databases cost: routing to replicas."""

from __future__ import annotations

from benchmarks import databases_routing
from benchmarks.report import Report

GOALS = {**databases_routing.GOALS}


def measure(*, quick: bool) -> Report:
    """Run one part after the other; each says by itself what it could not get."""
    report = Report()
    databases_routing.measure_routing(report, quick=quick)
    return report
