"""Turn what was measured into one flat file and one table, with each goal beside its figure."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

Metrics = dict[str, float]


class BenchmarkError(Exception):
    """Say in one line why a benchmark has no figure to give."""


@dataclass(frozen=True)
class Goal:
    """A bound that a metric has to keep; `most` is an upper bound, `least` a lower one."""

    least: float = -math.inf
    most: float = math.inf

    def met(self, value: float) -> bool:
        """Tell whether `value` keeps the bound."""
        return self.least <= value <= self.most

    def __str__(self) -> str:
        """Write the bound as a reader would say it."""
        bounds = []
        if self.least > -math.inf:
            bounds.append(f">= {number(self.least)}")
        if self.most < math.inf:
            bounds.append(f"<= {number(self.most)}")
        return " and ".join(bounds)


@dataclass(kw_only=True)
class Report:
    """What one benchmark found: figures, what was absent, and what went wrong."""

    metrics: Metrics = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def spread(self, name: str, values: Sequence[float]) -> None:
        """Record the median of repeated measurements under `name`, their range beside it."""
        if not values:
            return
        self.metrics[name] = median(values)
        self.metrics[f"{name}_min"] = min(values)
        self.metrics[f"{name}_max"] = max(values)


def number(value: float) -> str:
    """Write a figure with as many digits as a reader can use."""
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def merge(parts: Iterable[Mapping[str, float]]) -> Metrics:
    """Join several benchmarks' metrics; a name measured twice is an error, not a silent winner."""
    merged: Metrics = {}
    for part in parts:
        twice = sorted(merged.keys() & part.keys())
        if twice:
            raise BenchmarkError(f"measured by two benchmarks: {', '.join(twice)}")
        merged.update(part)
    return merged


def write(path: Path, metrics: Mapping[str, object]) -> None:
    """Leave one flat JSON object, metric to number; anything else in it is refused."""
    flat = {}
    for name, value in sorted(metrics.items()):
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise BenchmarkError(f"{name}: {value!r} is not a number")
        if not math.isfinite(value):
            raise BenchmarkError(f"{name}: {value} is not finite")
        flat[name] = float(f"{value:.6g}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(flat, indent=2) + "\n", encoding="utf-8")


def table(metrics: Mapping[str, float], goals: Mapping[str, Goal]) -> str:
    """Lay metrics out in columns: the median, its range where there is one, goal and verdict.

    Goals that have no figure are shown too: a missing figure is not a kept bound.
    """
    rows = [("metric", "value", "min", "max", "goal", "")]
    for name in [*metrics, *(goal for goal in goals if goal not in metrics)]:
        if _is_range_of_another(name, metrics):
            continue
        goal = goals.get(name)
        if name not in metrics:
            rows.append((name, "-", "", "", str(goal), "not measured"))
            continue
        verdict = "" if goal is None else ("met" if goal.met(metrics[name]) else "MISSED")
        low, high = metrics.get(f"{name}_min"), metrics.get(f"{name}_max")
        rows.append(
            (
                name,
                number(metrics[name]),
                "" if low is None else number(low),
                "" if high is None else number(high),
                "" if goal is None else str(goal),
                verdict,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "-" * max(len(line) for line in lines))
    return "\n".join(lines)


def _is_range_of_another(name: str, metrics: Mapping[str, float]) -> bool:
    return name.endswith(("_min", "_max")) and name[:-4] in metrics


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *figures, goal, verdict = row
    cells = [name.ljust(widths[0])]
    cells += [cell.rjust(width) for cell, width in zip(figures, widths[1:4], strict=True)]
    cells += [goal.ljust(widths[4]), verdict]
    return "  ".join(cells).rstrip()
