"""How far a heavy target is from its share, after each pick."""

from __future__ import annotations

from docs.plots.drawing.figure import Figure
from escala.balancing.pure.round_robin import RoundRobinChoice

HEAVY, LIGHT = 5, [1, 1]
PICKS = 21


def draw(figure: Figure) -> None:
    """Spread over the round it is less than a turn away; all its turns in a row are not."""
    panel = figure.panel(x="picks", y="calls above its share (weight 5)")
    choice = RoundRobinChoice([HEAVY, *LIGHT])
    spread = [choice.pick(0.0) == 0 for _ in range(PICKS)]
    total = HEAVY + sum(LIGHT)
    in_a_row = [pick % total < HEAVY for pick in range(PICKS)]
    for label, turns in (("RoundRobin", spread), ("all its turns in a row", in_a_row)):
        had = [sum(turns[:pick]) - pick * HEAVY / total for pick in range(PICKS + 1)]
        panel.steps(range(PICKS + 1), had, label)
    panel.level(1, "a whole turn")
    panel.height = (-0.5, 2)
