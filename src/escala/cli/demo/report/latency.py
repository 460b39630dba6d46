"""Chart: p50, p95 and p99 over time, on a scale where ten times longer is one step up."""

from __future__ import annotations

import math
from collections.abc import Sequence

from escala.cli.demo.half import Half
from escala.cli.demo.outcome import Outcome
from escala.cli.demo.percentile import percentile
from escala.cli.demo.report import series, svg
from escala.cli.demo.report.frame import RIGHT, WIDTH, Frame

_LINES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
_DECADES = {-4: "0.1 ms", -3: "1 ms", -2: "10 ms", -1: "0.1 s", 0: "1 s", 1: "10 s"}
_LOWEST, _HIGHEST = min(_DECADES), max(_DECADES)
_APART = 11.0


def span(halves: Sequence[Half]) -> tuple[int, int]:
    """The decades that all halves' latencies fall into, so that they share one scale."""
    waits = [outcome.latency for half in halves for outcome in half.outcomes if outcome.admitted]
    if not waits:
        return -3, 0
    low = math.floor(math.log10(max(percentile(waits, 0.05), 1e-9)))
    high = math.ceil(math.log10(max(percentile(waits, 0.999), 1e-9)))
    low = min(max(low, _LOWEST), _HIGHEST - 1)
    return low, max(low + 1, min(high, _HIGHEST))


def latency_chart(half: Half, decades: tuple[int, int]) -> str:
    """Three lines, named where they end."""
    frame = Frame(half.phases, 132)
    low, high = decades
    parts = series.stretches(half.outcomes, frame.seconds)
    lines = {
        name: [_point(frame, number, part, share, decades) for number, part in enumerate(parts)]
        for name, share in _LINES
    }
    return svg.picture(
        400,
        frame.total,
        f"Latency over time, {half.name}",
        frame.bands(),
        *(
            frame.grid((decade - low) / (high - low), _DECADES[decade])
            for decade in range(low, high + 1)
        ),
        *(svg.path(points, f"line {name}") for name, points in lines.items()),
        *_names(lines),
        frame.axis(),
    )


def _point(
    frame: Frame, number: int, part: list[Outcome], share: float, decades: tuple[int, int]
) -> svg.Point | None:
    waits = [outcome.latency for outcome in part if outcome.admitted]
    if not waits:
        return None
    low, high = decades
    up = (math.log10(max(percentile(waits, share), 1e-9)) - low) / (high - low)
    return frame.x((number + 0.5) * series.width(frame.seconds)), frame.y(up)


def _names(lines: dict[str, list[svg.Point | None]]) -> list[str]:
    """Names at the right, moved apart where lines end close to each other."""
    ends = [(next((p[1] for p in reversed(line) if p), None), name) for name, line in lines.items()]
    placed: list[str] = []
    lowest = math.inf
    for end, name in sorted(((y, name) for y, name in ends if y is not None), reverse=True):
        lowest = min(end, lowest - _APART)
        placed.append(svg.text(name, WIDTH - RIGHT + 5, lowest + 3.5, class_=f"label {name}"))
    return placed
