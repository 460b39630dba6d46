"""What the bound on the load does to the fullest target, and to keys that stay at home."""

from __future__ import annotations

import random
from collections import Counter, deque

from docs.plots.drawing.figure import Figure
from escala import ConsistentHash, HashRing
from escala.balancing.pure.choice import Member

FACTORS = [1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0]
TARGETS, CALLS, IN_FLIGHT = 10, 20_000, 200
MEMBERS = [Member(f"http://10.0.0.{at}:80") for at in range(TARGETS)]
HOT = 0.2  # of the calls are for one key


def draw(figure: Figure) -> None:
    """A lower factor is more even and sends more calls elsewhere."""
    full = figure.panel(
        "the fullest of ten targets", x="load_factor", y="its calls in flight, times its share"
    )
    home = figure.panel("calls at their key's own target", x="load_factor", y="%")
    at = range(len(FACTORS))
    for label, hot in (("every key alike", 0.0), ("a fifth for one key", HOT)):
        results = [_run(factor, hot) for factor in FACTORS]
        full.line(at, [fullest for fullest, _ in results], label)
        home.line(at, [100 * stayed for _, stayed in results], label)
    full.ticks = home.ticks = [(place, f"{factor:g}") for place, factor in enumerate(FACTORS)]
    full.height, home.height = (1, 3.5), (60, 101)


def _run(load_factor: float, hot: float) -> tuple[float, float]:
    """The highest load of any target at any time, and the part of the calls that were at home."""
    rng = random.Random(1)
    balance = ConsistentHash(load_factor=load_factor)
    ring = HashRing([member.name for member in MEMBERS], vnodes=128)
    choice = balance.over(MEMBERS, rng.random)
    calls, had = deque[int](), Counter[int]()
    fullest = stayed = 0
    for _ in range(CALLS):
        key = "hot" if rng.random() < hot else f"user:{rng.randrange(100_000)}"
        index = choice.pick(0.0, (), key)
        stayed += MEMBERS[index].name == ring.node(key)
        calls.append(index)
        had[index] += 1
        if len(calls) > IN_FLIGHT:
            ended = calls.popleft()
            had[ended] -= 1
            choice.release(ended, 0.0)
            fullest = max(fullest, *had.values())
    return fullest / (IN_FLIGHT / TARGETS), stayed / CALLS
