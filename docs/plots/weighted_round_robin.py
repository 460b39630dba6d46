"""The order of the turns, as nginx has it and as RoundRobin has it."""

from __future__ import annotations

from docs.plots.drawing.figure import Figure
from escala.balancing.pure.round_robin import RoundRobinChoice
from escala.balancing.pure.weighted_round_robin import WeightedRoundRobinChoice

WEIGHTS = [5, 2, 1]
PICKS = 24


def draw(figure: Figure) -> None:
    """Three rounds of each: the same turns, the heavy target's placed otherwise."""
    for label, choice in (
        ("WeightedRoundRobin", WeightedRoundRobinChoice(WEIGHTS)),
        ("RoundRobin", RoundRobinChoice(WEIGHTS)),
    ):
        panel = figure.panel(label, x="pick", y="weight of the target picked")
        order = [choice.pick(0.0) for _ in range(PICKS)]
        panel.points(range(1, PICKS + 1), [WEIGHTS[index] for index in order])
        panel.height = (0, 6)
