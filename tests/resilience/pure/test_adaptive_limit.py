"""How a limit moves, round by round."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.resilience.pure.adaptive_limit import ANEW, FIRST, AdaptiveMachine, Aimd, Gradient, Rule
from escala.resilience.pure.latency_round import SAMPLES, SECONDS, LatencyRound


def seen(latency: float, *, busiest: int, dropped: int = 0, answered: int = 10) -> LatencyRound:
    each = LatencyRound()
    for _ in range(answered):
        each.count(latency, busiest, 0.0)
    for _ in range(dropped):
        each.count(None, busiest, 0.0)
    return each


def test_a_round_needs_calls_and_time() -> None:
    each = LatencyRound()
    for number in range(SAMPLES):
        assert not each.count(0.5, 3, number * 0.001)
    assert not each.count(0.5, 3, SECONDS - 0.001)
    assert each.count(None, 7, SECONDS)
    assert (each.answered, each.dropped, each.busiest) == (SAMPLES + 1, 1, 7)
    assert each.latency == pytest.approx(0.5)
    each.begin(5.0)
    assert (each.answered, each.dropped, each.busiest, each.latency) == (0, 0, 0, 0.0)
    for number in range(SAMPLES - 1):
        assert not each.count(0.5, 1, 6.0 + number)
    assert each.count(0.5, 1, 20.0)


def test_a_round_begins_with_its_first_call() -> None:
    each = LatencyRound()
    for _ in range(SAMPLES):
        assert not each.count(0.1, 1, 100.0)
    assert each.count(0.1, 1, 100.0 + SECONDS)


def test_gradient_grows_by_half_the_root_while_latency_is_quiet() -> None:
    rule = Gradient()
    assert rule.after(16.0, seen(0.1, busiest=16)) == 18.0
    assert rule.after(16.0, seen(0.12, busiest=8)) == pytest.approx(18), (
        "1.2 times quiet is still quiet"
    )


def test_gradient_falls_with_latency_and_never_by_more_than_half_a_step() -> None:
    rule = Gradient()
    rule.after(16.0, seen(0.1, busiest=16))
    assert rule.after(16.0, seen(0.15, busiest=16)) == pytest.approx((16 + 16 * 0.8 + 4) / 2)
    assert rule.after(16.0, seen(9.0, busiest=16)) == pytest.approx((16 + 16 * 0.5 + 4) / 2)


def test_gradient_is_not_moved_by_what_used_less_than_half() -> None:
    rule = Gradient()
    assert rule.after(16.0, seen(0.1, busiest=7)) == 16.0
    assert rule.after(16.0, seen(0.9, busiest=7)) == 16.0
    assert rule.after(16.0, seen(0.1, busiest=8)) == 18.0


def test_gradient_keeps_the_least_latency_it_saw() -> None:
    rule = Gradient()
    rule.after(16.0, seen(0.2, busiest=1))
    rule.after(16.0, seen(0.1, busiest=1))
    rule.after(16.0, seen(0.2, busiest=1))
    assert rule.after(16.0, seen(0.15, busiest=16)) == pytest.approx((16 + 16 * 0.8 + 4) / 2)


def test_dropped_calls_take_a_tenth_off_and_say_nothing_about_quiet() -> None:
    rule = Gradient()
    assert rule.after(20.0, seen(0.0001, busiest=20, dropped=1)) == 18.0
    assert rule.after(16.0, seen(0.1, busiest=16)) == 18.0


def test_latency_of_nothing_is_quiet() -> None:
    assert Gradient().after(16.0, seen(0.0, busiest=16)) == 18.0


def test_quiet_is_measured_anew_with_half_of_the_limit() -> None:
    rule = Gradient()
    rule.after(16.0, seen(0.1, busiest=16))
    for _ in range(FIRST - 2):
        assert rule.after(16.0, seen(0.2, busiest=16)) < 16.0
    assert rule.after(16.0, seen(0.2, busiest=16)) == 8.0, "halved"
    assert rule.after(8.0, seen(0.3, busiest=8)) == 8.0, "the queue goes away"
    assert rule.after(8.0, seen(0.2, busiest=8)) == 16.0, "back, and quiet is 0.2 now"
    assert rule.after(16.0, seen(0.24, busiest=16)) == pytest.approx(18)


def test_it_is_measured_anew_less_and_less_often() -> None:
    rule, gap = Gradient(), 0
    gaps: list[int] = []
    while len(gaps) < 7:
        gap += 1
        if rule.after(16.0, seen(0.1, busiest=16)) == 8.0:
            gaps.append(gap)
            gap = 0
            rule.after(8.0, seen(0.1, busiest=1))
            rule.after(8.0, seen(0.1, busiest=1))
    assert gaps == [10, 20, 40, 80, 160, ANEW, ANEW]


def test_a_measuring_round_of_lost_calls_only_keeps_quiet_as_it_was() -> None:
    rule = Gradient()
    for _ in range(FIRST):
        rule.after(16.0, seen(0.1, busiest=16))
    rule.after(8.0, seen(0.2, busiest=8))
    assert rule.after(8.0, seen(0.2, busiest=8, answered=0, dropped=10)) == 16.0
    assert rule.after(16.0, seen(0.15, busiest=16)) == pytest.approx((16 + 16 * 0.8 + 4) / 2)


def test_aimd() -> None:
    rule = Aimd(0.1)
    assert rule.after(10.0, seen(0.1, busiest=5)) == 11.0
    assert rule.after(10.0, seen(0.1, busiest=4)) == 10.0
    assert rule.after(10.0, seen(0.101, busiest=1)) == 9.0
    assert rule.after(10.0, seen(0.01, busiest=10, dropped=1)) == 9.0


@pytest.mark.parametrize("rule", [Gradient(), Aimd(0.05)], ids=["gradient", "aimd"])
def test_a_limit_stays_within_its_bounds(rule: Rule) -> None:
    machine = AdaptiveMachine(rule, initial=5, least=2, most=8)
    now = 0.0
    limits = set()
    for latency in (0.01, 9.0):
        for _ in range(1000):
            now += 0.02
            machine.ended(latency, machine.limit, now)
            limits.add(machine.limit)
    assert max(limits) == 8
    assert machine.limit == 2 or isinstance(rule, Gradient)
    for _ in range(1000):
        now += 0.02
        machine.ended(None, machine.limit, now)
    assert machine.limit == 2


def test_it_tells_when_the_limit_moved() -> None:
    machine = AdaptiveMachine(Aimd(1.0), initial=5, least=1, most=6)
    told = [machine.ended(0.1, 5, number * 0.02) for number in range(30)]
    assert told.count(True) == 1
    assert told.index(True) == 9
    assert machine.limit == 6


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.floats(0, 10)), st.integers(0, 50), st.floats(0, 1)),
        max_size=400,
    )
)
def test_whatever_comes_the_limit_is_a_whole_number_in_its_bounds(
    calls: list[tuple[float | None, int, float]],
) -> None:
    for rule in (Gradient(), Aimd(0.1)):
        machine, now = AdaptiveMachine(rule, initial=10, least=1, most=40), 0.0
        for seconds, busy, passed in calls:
            now += passed
            before = machine.limit
            assert machine.ended(seconds, busy, now) is (machine.limit != before)
            assert 1 <= machine.limit <= 40
            assert math.isfinite(machine._value)
