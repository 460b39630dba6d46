"""When requests arrive: open loop, so a slow server does not slow its clients down.

A Poisson process per phase: independent clients, exponential gaps, the same for the same seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from escala.cli.demo.phases import Phase


def arrivals(phases: tuple[Phase, ...], rate: float, seed: int) -> Iterator[float]:
    """Seconds from the start, rising; `rate` requests a second times the phase's factor."""
    draw = random.Random(f"arrivals {seed}")
    for phase in phases:
        moment = phase.start
        while (moment := moment + draw.expovariate(rate * phase.times)) < phase.end:
            yield moment
