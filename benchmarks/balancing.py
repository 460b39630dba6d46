"""Measure what a pick and its release cost, by algorithm and by how many targets there are."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter, deque
from typing import TYPE_CHECKING

from benchmarks.caching import names
from benchmarks.calls import Case, take_turns
from benchmarks.progress import say
from benchmarks.report import BenchmarkError, Goal, Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from escala.balancing import Balancer
    from escala.balancing.pure.choice import Choice, Member

KINDS = (
    "round_robin",
    "weighted_round_robin",
    "least_connections",
    "p2c",
    "peak_ewma",
    "consistent_hash",
)
COUNTS, QUICK_COUNTS = (3, 30, 300, 3000), (3, 30, 300)
HEAVIEST = 10
# From 30 to 3,000 targets log2 grows 2.35 times, and a cache that is too small adds its part.
GOALS = {f"{kind}.3000_to_30": Goal(most=4) for kind in KINDS}


def measure(*, quick: bool) -> Report:
    """Time picks and releases in CPU time, with half a call in flight for each target."""
    report = Report()
    counts = QUICK_COUNTS if quick else COUNTS
    say(f"picks among {', '.join(f'{count:,}' for count in counts)} targets")
    cases = [case(kind, count) for kind in KINDS for count in counts]
    figures = take_turns([*cases, _upstream()], quick=quick)
    for name, values in figures.items():
        report.spread(f"{name}.ns", [value * 1000 for value in values])
    if not quick:
        for kind in KINDS:
            pairs = zip(figures[f"{kind}.3000"], figures[f"{kind}.30"], strict=True)
            report.spread(f"{kind}.3000_to_30", [many / few for many, few in pairs])
    return report


def case(kind: str, count: int) -> Case:
    """One algorithm among so many targets."""
    from escala.balancing.balancer import balancer

    members, made = _members(count), balancer(kind)
    keys = names(10_000, "user")
    choice = made.over(members, random.Random(1).random)
    return Case(
        f"{kind}.{count}", _in_flight(choice, keys, count // 2 + 1), _check(kind, made, members)
    )


def _members(count: int) -> list[Member]:
    from escala.balancing.pure.choice import Member

    rng = random.Random(count)
    return [
        Member(f"http://10.0.{at // 100}.{at % 100}:80", rng.randint(1, HEAVIEST))
        for at in range(count)
    ]


def _in_flight(choice: Choice, keys: list[str], most: int) -> Callable[[int], float]:
    """Pick for one key after the other; the oldest call ends when there are enough."""
    following, calls = itertools.cycle(keys), deque[int]()
    pick, release = choice.pick, choice.release
    clock = itertools.count()

    def run(count: int) -> float:
        start = time.process_time()
        for key, tick in itertools.islice(zip(following, clock, strict=False), count):
            now = tick * 0.001
            calls.append(pick(now, (), key))
            if len(calls) > most:
                release(calls.popleft(), now, 0.01)
        return time.process_time() - start

    return run


def _check(kind: str, made: Balancer, members: list[Member]) -> Callable[[], None]:
    def check() -> None:
        choice, had = made.over(members, random.Random(2).random), Counter[int]()
        weights = sum(each.weight for each in members)
        for number in range(20 * weights):
            had[choice.pick(0.0, (), f"user:{number}")] += 1
        for at, member in enumerate(members):
            if not 0.4 * 20 * member.weight <= had[at] <= 1.6 * 20 * member.weight:
                raise BenchmarkError(
                    f"{kind} gives a target of weight {member.weight} {had[at]} of "
                    f"{20 * weights} calls among weights of {weights}"
                )

    return check


def _upstream() -> Case:
    """All of `Upstream.pick` and `release`, with its lock and its counts."""
    from escala import Upstream

    upstream = Upstream("shop", [f"10.0.0.{at}:80" for at in range(30)])

    def run(count: int) -> float:
        start = time.process_time()
        for _ in range(count):
            upstream.release(upstream.pick())
        return time.process_time() - start

    def check() -> None:
        requests = [target.requests for target in upstream.targets]
        if max(requests) - min(requests) > 1:
            raise BenchmarkError("an upstream does not go round its targets")

    return Case("upstream.30", run, check)
