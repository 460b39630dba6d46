"""How much is shed, and whom it hits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.resilience.pure.shed import ShedMachine


def machine() -> ShedMachine:
    return ShedMachine(target=0.02, interval=0.1)


def interval(
    shed: ShedMachine, number: int, ages: list[float], arrivals: dict[int, int] | None = None
) -> None:
    """One interval of 100 ms, the first of them number 0."""
    now = number * 0.1
    for priority, count in (arrivals or {0: 1}).items():
        for _ in range(count):
            shed.arrived(priority, 1.0, now)
    for age in ages:
        shed.began(age, now + 0.05)


def test_a_queue_that_stands_for_an_interval_sheds_a_tenth_of_the_rest_each() -> None:
    shed = machine()
    for number in range(4):
        interval(shed, number, [0.021, 0.5])
    assert shed.share == pytest.approx(1 - 0.9**3)
    for number in range(4, 200):
        interval(shed, number, [0.021])
    assert shed.share == 0.95


def test_one_young_queue_in_an_interval_is_enough_to_be_well() -> None:
    shed = machine()
    for number in range(5):
        interval(shed, number, [0.5, 0.02, 0.5])
    assert shed.share == 0.0


def test_it_goes_back_by_a_twentieth() -> None:
    shed = machine()
    for number in range(3):
        interval(shed, number, [1.0])
    assert shed.share == pytest.approx(0.19)
    for number, left in ((3, 0.271), (4, 0.221), (5, 0.171), (6, 0.121)):
        interval(shed, number, [0.0])
        assert shed.share == pytest.approx(left)
    for number in range(7, 12):
        interval(shed, number, [0.0])
    assert shed.share == 0.0


def test_calls_that_come_while_none_begins_are_a_standing_queue() -> None:
    shed = machine()
    for number in range(3):
        interval(shed, number, [])
    assert shed.share == pytest.approx(0.19)


def test_after_an_interval_without_any_call_all_is_quiet() -> None:
    shed = machine()
    for number in range(3):
        interval(shed, number, [1.0])
    assert shed.share > 0
    assert shed.arrived(9, 0.0, 0.4)
    assert shed.share == 0.0


def test_it_hits_the_greatest_numbers_first_and_those_between_by_lot() -> None:
    shed = machine()
    number = 0
    while shed.share < 0.5:
        interval(shed, number, [1.0], {0: 10, 1: 10, 2: 10})
        number += 1
    now = number * 0.1
    shed.arrived(0, 1.0, now)
    part = (shed.share * 30 - 10) / 10  # of the middle priority
    assert 0 < part < 1
    assert not shed.arrived(2, 0.9999, now)
    assert not shed.arrived(1, part - 0.01, now)
    assert shed.arrived(1, part + 0.01, now)
    assert shed.arrived(0, 0.0, now)


def test_a_priority_that_did_not_come_before_is_treated_as_the_one_before_it() -> None:
    shed = machine()
    for number in range(30):
        interval(shed, number, [1.0], {1: 10})
    now = 3.0
    shed.arrived(1, 1.0, now)
    assert shed.share > 0.9
    assert shed.arrived(0, 0.0, now)
    assert not shed.arrived(2, 0.9, now)


def test_so_many_priorities_are_told_apart_and_no_more() -> None:
    shed = machine()
    for priority in range(1000):
        shed.arrived(priority, 1.0, 0.0)
    assert len(shed._offered) == 64
    assert sum(shed._offered.values()) == 1000
    assert shed._offered[63] == 937


@given(
    st.dictionaries(st.integers(0, 5), st.integers(1, 30), min_size=1),
    st.integers(1, 40),
)
def test_what_is_refused_is_the_share(offered: dict[int, int], rounds: int) -> None:
    shed = machine()
    for number in range(rounds):
        interval(shed, number, [1.0], offered)
    now = rounds * 0.1
    shed.arrived(0, 1.0, now)
    refused = sum(shed._cuts.get(priority, 0) * count for priority, count in offered.items())
    assert refused == pytest.approx(shed.share * sum(offered.values()))
    cuts = [shed._cuts[priority] for priority in sorted(offered)]
    assert cuts == sorted(cuts)
    assert sum(0 < cut < 1 for cut in cuts) <= 1
