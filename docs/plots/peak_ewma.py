"""What the estimate of a target's latency does, and what it does to the calls."""

from __future__ import annotations

import random

from docs.plots.drawing.figure import Figure
from escala.balancing.pure.choice import Member
from escala.balancing.pure.peak_ewma import PeakEwmaChoice

DECAY, STEP = 10.0, 0.05
PAUSE, TOOK, USUAL = 10.0, 0.5, 0.020


def draw(figure: Figure) -> None:
    """One slow answer is believed at once and forgotten over some decays."""
    rng = random.Random(1)
    members = [Member(name, seconds=USUAL) for name in "abc"]
    choice = PeakEwmaChoice(members, DECAY, rng.random)
    times, estimates, calls = [], [], []
    paused = False
    for step in range(1400):
        now = step * STEP
        index = choice.pick(now)
        pauses = index == 0 and not paused and now >= PAUSE
        paused = paused or pauses
        choice.release(index, now, TOOK if pauses else USUAL * rng.uniform(0.8, 1.2))
        times.append(now)
        estimates.append(1000 * (choice.seconds(0) or 0.0))
        calls.append(index == 0)
    estimate = figure.panel("one call took 500 ms", x="seconds", y="estimate, milliseconds")
    estimate.line(times[::4], estimates[::4])
    estimate.level(1000 * USUAL, "what its calls take")
    estimate.log = True
    share = figure.panel("what it gets", x="seconds", y="% of the calls")
    begin = range(0, len(calls), 40)
    share.steps([at * STEP for at in begin], [100 * sum(calls[at : at + 40]) / 40 for at in begin])
    share.level(100 / 3, "an equal share")
