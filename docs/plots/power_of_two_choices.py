"""How full the fullest of many targets gets, and what many callers do at once."""

from __future__ import annotations

import random
from collections import Counter

from docs.plots.drawing.figure import Figure
from escala import LeastConnections, PowerOfTwoChoices
from escala.balancing import Balancer
from escala.balancing.pure.choice import Member

COUNTS = [10, 30, 100, 300, 1000, 3000]
RUNS = 10
PROCESSES, TARGETS = 50, 10


def draw(figure: Figure) -> None:
    """Two at random keep the fullest at 3 calls; and fifty processes do not run to one target."""
    full = figure.panel("one caller, n calls to n targets", x="n", y="calls at the fullest target")
    at = range(len(COUNTS))
    alone = [_average(_at_random, count) for count in COUNTS]
    full.line(at, alone, "one at random")
    full.line(at, [_average(_two, count) for count in COUNTS], "PowerOfTwoChoices")
    full.ticks = [(place, str(count)) for place, count in enumerate(COUNTS)]
    full.height = (0, 8)
    herd = figure.panel(
        f"{PROCESSES} processes begin", x="target", y="first calls, by target, the most first"
    )
    for balance in (LeastConnections(), PowerOfTwoChoices()):
        herd.steps(range(1, TARGETS + 1), _first_calls(balance), type(balance).__name__)
    herd.level(PROCESSES / TARGETS, "an equal share")


def _average(fullest: object, count: int) -> float:
    assert callable(fullest)  # noqa: S101
    return float(sum(fullest(count, random.Random(seed)) for seed in range(RUNS)) / RUNS)


def _at_random(count: int, rng: random.Random) -> int:
    return max(Counter(rng.randrange(count) for _ in range(count)).values())


def _two(count: int, rng: random.Random) -> int:
    choice = PowerOfTwoChoices().over(_members(count), rng.random)
    return max(Counter(choice.pick(0.0) for _ in range(count)).values())


def _first_calls(balance: Balancer) -> list[int]:
    rng = random.Random(1)
    choices = [balance.over(_members(TARGETS), rng.random) for _ in range(PROCESSES)]
    had = Counter(choice.pick(0.0) for choice in choices)
    return sorted((had[at] for at in range(TARGETS)), reverse=True)


def _members(count: int) -> list[Member]:
    return [Member(f"http://10.0.0.{at}:80") for at in range(count)]
