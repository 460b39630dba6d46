"""How far a target is from its share, after each pick and at worst."""

from __future__ import annotations

import random

from docs.plots.drawing.figure import Figure
from escala.balancing.pure.choice import Choice
from escala.balancing.pure.round_robin import RoundRobinChoice
from escala.balancing.pure.weighted_round_robin import WeightedRoundRobinChoice

WEIGHTS = [5, 1, 1]
COUNTS = [3, 5, 10, 20, 50, 100, 200]
KINDS: dict[str, type[RoundRobinChoice | WeightedRoundRobinChoice]] = {
    "RoundRobin": RoundRobinChoice,
    "WeightedRoundRobin": WeightedRoundRobinChoice,
}


def draw(figure: Figure) -> None:
    """RoundRobin is never a whole turn away; nginx's order is, with two heavy among many light."""
    few = figure.panel("the one of weight 5 of 5, 1, 1", x="picks", y="turns ahead of its share")
    many = figure.panel(
        "two heavy targets among light ones", x="targets", y="turns away from its share, at worst"
    )
    for label, kind in KINDS.items():
        ahead = _ahead(kind(WEIGHTS), 21)
        few.steps(range(len(ahead)), ahead, label)
        many.line(range(len(COUNTS)), [_worst(kind, count) for count in COUNTS], label)
    few.level(0, "exact")
    many.level(1, "a whole turn")
    many.ticks = [(at, str(count)) for at, count in enumerate(COUNTS)]
    many.height = (0, 2)


def _ahead(choice: Choice, picks: int) -> list[float]:
    had, found = 0, [0.0]
    for pick in range(1, picks + 1):
        had += choice.pick(0.0) == 0
        found.append(had - pick * WEIGHTS[0] / sum(WEIGHTS))
    return found


def _worst(kind: type[RoundRobinChoice | WeightedRoundRobinChoice], count: int) -> float:
    """The largest distance of any target from its share in a round of such weights."""
    rng, worst = random.Random(count), 0.0
    light = [rng.randint(1, 8) for _ in range(count - 2)]
    weights = [*light, sum(light) + 1, sum(light) + 1]
    choice, total, had = kind(weights), sum(weights), [0] * count
    for pick in range(1, total + 1):
        index = choice.pick(0.0)
        before = abs(had[index] - (pick - 1) * weights[index] / total)
        had[index] += 1
        after = abs(had[index] - pick * weights[index] / total)
        worst = max(worst, before, after)
    return worst
