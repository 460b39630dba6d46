"""Which machine counts for which plan, and what a part of a plan is."""

from __future__ import annotations

from typing import Any

import pytest
from tests.limiting.pure.limits import limit

from escala.limiting.plan import Limit, Plan
from escala.limiting.pure.algorithms import machine_of
from escala.limiting.pure.fixed_window import FixedWindowMachine
from escala.limiting.pure.gcra import GcraMachine
from escala.limiting.pure.gcra_several import GcraMachines, GcraPairMachine
from escala.limiting.pure.sliding_window_counter import SlidingWindowCounterMachine
from escala.limiting.pure.sliding_window_log import SlidingWindowLogMachine


def plan(algorithm: str, *limits: Limit, strict: bool = False) -> Plan:
    return Plan(algorithm=algorithm, limits=limits, name="test", strict=strict)


@pytest.mark.parametrize(
    ("algorithm", "limits", "kind"),
    [
        ("token_bucket", 1, GcraMachine),
        ("token_bucket", 2, GcraPairMachine),
        ("token_bucket", 3, GcraMachines),
        ("leaky_bucket", 1, GcraMachine),
        ("leaky_bucket", 2, GcraPairMachine),
        ("fixed_window", 1, FixedWindowMachine),
        ("sliding_window_counter", 2, SlidingWindowCounterMachine),
        ("sliding_window_log", 3, SlidingWindowLogMachine),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_each_algorithm_has_its_machine(
    algorithm: str, limits: int, kind: Any, strict: bool
) -> None:
    made = machine_of(plan(algorithm, *[limit(5)] * limits, strict=strict), 7)
    assert type(made) is kind
    assert made.limits == (limit(5),) * limits
    assert made.strict is strict
    for number in range(9):
        made.take(number, 1, 0.0)
    assert len(made.keys) == 7


@pytest.mark.parametrize(
    ("count", "share", "part"),
    [(10, 1, (10, 10, 1.0)), (10, 2, (5, 5, 1.0)), (10, 4, (2, 2.5, 1.0)), (2, 4, (1, 0.5, 1.0))],
)
def test_a_part_of_a_bucket_has_a_part_of_its_rate(
    count: int, share: int, part: tuple[int, float, float]
) -> None:
    (made,) = machine_of(plan("token_bucket", limit(count)), 1, share).limits
    assert (made.burst, made.rate, made.period) == part
    assert (made.count, made.text) == (count, f"{count}/1s")


@pytest.mark.parametrize("algorithm", ["fixed_window", "sliding_window_log"])
@pytest.mark.parametrize(
    ("count", "share", "burst", "period"),
    [(10, 1, 10, 1.0), (10, 2, 5, 1.0), (10, 4, 2, 1.0), (10, 10, 1, 1.0), (2, 4, 1, 2.0)],
)
def test_a_part_of_a_window_has_whole_calls_or_a_longer_window(
    algorithm: str, count: int, share: int, burst: int, period: float
) -> None:
    (made,) = machine_of(plan(algorithm, limit(count)), 1, share).limits
    assert (made.burst, made.period) == (burst, period)


def test_the_greatest_cost_is_that_of_the_smallest_burst() -> None:
    assert plan("token_bucket", limit(10), limit(5, 60.0), limit(7, 9.0)).most == 5


@pytest.mark.parametrize(
    "kind",
    [
        GcraMachine,
        GcraPairMachine,
        GcraMachines,
        FixedWindowMachine,
        SlidingWindowCounterMachine,
        SlidingWindowLogMachine,
    ],
)
def test_a_machine_is_strict_only_when_it_is_said_to_be(kind: Any) -> None:
    assert not kind((limit(1), limit(2)), 1).strict
    assert kind((limit(1), limit(2)), 1, strict=True).strict
