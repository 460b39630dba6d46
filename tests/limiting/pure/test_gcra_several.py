"""Several buckets a key: all are checked, then all are charged, or none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.limiting.pure.limits import limit

from escala.limiting.pure.gcra import GcraMachine
from escala.limiting.pure.gcra_several import GcraMachines, GcraPairMachine
from escala.limiting.pure.machine import Machine

KINDS = [GcraPairMachine, GcraMachines]
both_kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def granted(machine: Machine[Any], tries: int, now: float, key: str = "") -> int:
    return sum(machine.take(key, 1, now) == 0.0 for _ in range(tries))


@both_kinds
def test_ten_a_second_and_a_thousand_an_hour(kind: Any) -> None:
    machine = kind((limit(10), limit(1000, 3600.0)), 100)
    assert granted(machine, 3000, 0.0) == 10
    decision = machine.granted("", 0.0)
    assert decision.standings == ((0, pytest.approx(1.0)), (990, pytest.approx(36.0)))
    assert (decision.decided_by, decision.limit, decision.remaining) == (0, 10, 0)
    assert granted(machine, 3000, 0.5) == 5


@both_kinds
def test_the_limit_that_takes_longest_decides_a_refusal(kind: Any) -> None:
    machine = kind((limit(2), limit(3, 60.0)), 100)
    assert granted(machine, 9, 0.0) == 2
    refused = machine.decide("", 1, 0.0)
    assert not refused.allowed
    assert (refused.decided_by, refused.limit, refused.remaining) == (0, 2, 0)
    assert refused.retry_after == pytest.approx(0.5)
    assert machine.take("", 1, 0.5) == 0.0
    refused = machine.decide("", 1, 0.5)
    assert (refused.decided_by, refused.limit, refused.remaining) == (1, 3, 0)
    assert refused.retry_after == machine.wait("", 1, 0.5) == pytest.approx(19.5)
    assert refused.reset_after == pytest.approx(59.5)
    assert refused.each == ((0, pytest.approx(1.0)), (0, pytest.approx(59.5)))
    assert refused.standings == refused.each


@both_kinds
@pytest.mark.parametrize("swapped", [False, True])
def test_the_limit_with_the_fewest_tokens_left_describes_a_grant(kind: Any, swapped: bool) -> None:
    few, many = limit(3, 60.0), limit(10)
    machine = kind((few, many) if swapped else (many, few), 100)
    decision = machine.decide("", 2, 0.0)
    assert decision.allowed
    assert decision.retry_after == 0.0
    assert decision.decided_by == (0 if swapped else 1)
    assert (decision.limit, decision.remaining) == (3, 1)
    assert decision.reset_after == pytest.approx(40.0)
    stands = ((1, pytest.approx(40.0)), (8, pytest.approx(0.2)))
    assert decision.each == (stands if swapped else stands[::-1])
    assert machine.granted("", 0.0) == decision
    later = machine.decide("", 1, 99.0)
    assert later.each == (
        ((2, pytest.approx(20.0)), (9, pytest.approx(0.1)))
        if swapped
        else ((9, pytest.approx(0.1)), (2, pytest.approx(20.0)))
    )


@both_kinds
@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_with_as_few_left_the_slower_one_describes_it(kind: Any, swapped: bool) -> None:
    fast, slow = limit(5, 1.0), limit(5, 2.0)
    machine = kind((slow, fast) if swapped else (fast, slow), 100)
    decision = machine.decide("", 3, 0.0)
    assert decision == machine.granted("", 0.0)
    assert (decision.remaining, decision.reset_after) == (2, pytest.approx(1.2))
    assert decision.decided_by == (0 if swapped else 1)
    equal = kind((fast, fast), 100).decide("", 3, 0.0)
    assert equal.decided_by == 0


@both_kinds
@pytest.mark.parametrize("first", [0, 1])
def test_what_one_limit_refuses_costs_the_others_nothing(kind: Any, first: int) -> None:
    limits = (limit(1), limit(100, 100.0))
    machine = kind(limits[::-1] if first else limits, 100)
    assert granted(machine, 50, 0.0) == 1
    before = dict(machine.keys.states)
    assert machine.take("", 1, 0.0) == pytest.approx(1.0)
    assert not machine.decide("", 1, 0.0).allowed
    assert machine.keys.states == before


@both_kinds
def test_the_wait_counts_those_ahead_on_the_slower_limit(kind: Any) -> None:
    machine = kind((limit(10), limit(20, 60.0)), 100)
    assert machine.wait("", 1, 0.0, ahead=9) == 0.0
    assert machine.wait("", 1, 0.0, ahead=10) == pytest.approx(0.1)
    assert machine.wait("", 1, 0.0, ahead=20) == pytest.approx(3.0)
    refused = machine.refusal("", 1, 0.0, ahead=20)
    assert (refused.decided_by, refused.retry_after) == (1, pytest.approx(3.0))


@both_kinds
def test_gives_back_to_all_and_forgets_all(kind: Any) -> None:
    machine = kind((limit(2), limit(3, 60.0)), 1)
    machine.give_back("", 1, 0.0)
    machine.forget("")
    assert len(machine.keys) == 0
    assert granted(machine, 9, 0.0) == 2
    machine.give_back("", 1, 0.0)
    assert [left for left, _ in machine.granted("", 0.0).each] == [1, 2]
    machine.give_back("", 9, 0.0)
    assert [left for left, _ in machine.granted("", 0.0).each] == [2, 3]
    assert granted(machine, 9, 0.0) == 2
    machine.forget("")
    assert [left for left, _ in machine.granted("", 0.0).each] == [2, 3]
    assert granted(machine, 1, 0.0, "other") == 1
    assert list(machine.keys.states) == ["other"]


@both_kinds
def test_a_key_makes_room_when_its_slowest_bucket_is_full(kind: Any) -> None:
    machine = kind((limit(1), limit(1, 10.0)), 100)
    machine.take("old", 1, 0.0)
    machine.take("new", 1, 9.9)
    assert set(machine.keys.states) == {"old", "new"}
    machine.take("newer", 1, 10.0)
    assert set(machine.keys.states) == {"newer", "new"}


@pytest.mark.parametrize("count", [3, 8])
def test_any_number_of_limits(count: int) -> None:
    limits = tuple(limit(number + 2, 10.0**number) for number in range(count))
    machine = GcraMachines(limits, 100)
    assert granted(machine, 99, 0.0) == 2
    assert len(machine.granted("", 0.0).each) == count


@both_kinds
@given(
    first=st.tuples(st.integers(1, 8), st.sampled_from([0.5, 1.0, 3.0])),
    second=st.tuples(st.integers(1, 20), st.sampled_from([1.0, 2.0, 10.0])),
    steps=st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from([0.0, 0.1, 0.25, 1.0, 4.0])), max_size=60
    ),
)
def test_grants_what_two_machines_of_one_limit_would_grant_together(
    kind: Any,
    first: tuple[int, float],
    second: tuple[int, float],
    steps: list[tuple[int, float]],
) -> None:
    limits = (limit(*first), limit(*second))
    machine, now = kind(limits, 10), 0.0
    apart = [GcraMachine((each,), 10) for each in limits]
    for wanted, pause in steps:
        cost = min(wanted, *(each.burst for each in limits))
        now += pause
        waits = [each.wait("", cost, now) for each in apart]
        decision = machine.decide("", cost, now)
        assert decision.allowed is (max(waits) == 0.0)
        assert decision.retry_after == pytest.approx(max(waits), abs=1e-5)
        if decision.allowed:
            stands = [each.decide("", cost, now) for each in apart]
        else:
            stands = [each.granted("", now) for each in apart]
        assert [left for left, _ in decision.each] == [each.remaining for each in stands]
        resets = [each.reset_after for each in stands]
        assert [reset for _, reset in decision.each] == pytest.approx(resets, abs=1e-5)
