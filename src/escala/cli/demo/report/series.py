"""Cut a half into equal stretches of time, fine enough to see and coarse enough to count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from escala.cli.demo.outcome import Outcome
from escala.cli.demo.watch import Sample

_WIDTHS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
_MOST = 64


def width(seconds: float) -> float:
    """How long a stretch is, so that there are at most about sixty."""
    return next((step for step in _WIDTHS if seconds / step <= _MOST), seconds / _MOST)


def stretches(outcomes: Sequence[Outcome], seconds: float) -> list[list[Outcome]]:
    """The outcomes by when they were due."""
    step = width(seconds)
    cut: list[list[Outcome]] = [[] for _ in range(max(1, round(seconds / step + 0.499)))]
    for outcome in outcomes:
        cut[min(int(outcome.at / step), len(cut) - 1)].append(outcome)
    return cut


def rates(
    samples: Sequence[Sample], seconds: float, counter: Callable[[Sample], int]
) -> list[float]:
    """A counter's growth per second in each stretch, read between the samples."""
    step = width(seconds)
    edges = [step * n for n in range(max(1, round(seconds / step + 0.499)) + 1)]
    values = [_between(samples, edge, counter) for edge in edges]
    return [max(0.0, after - before) / step for before, after in pairwise(values)]


def _between(samples: Sequence[Sample], at: float, counter: Callable[[Sample], int]) -> float:
    earlier: Sample | None = None
    for sample in samples:
        if sample.at >= at:
            if earlier is None or sample.at == earlier.at:
                return float(counter(sample))
            share = (at - earlier.at) / (sample.at - earlier.at)
            return counter(earlier) + share * (counter(sample) - counter(earlier))
        earlier = sample
    return float(counter(earlier)) if earlier is not None else 0.0
