"""How a limit moves, round by round."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escala.resilience.pure.adaptive_limit import FIRST, AdaptiveMachine, Aimd, Gradient, Rule
from escala.resilience.pure.latency_round import SAMPLES, SECONDS, LatencyRound


def seen(
    latency: float, *, busiest: int, dropped: int = 0, answered: int = SAMPLES
) -> LatencyRound:
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


def test_quiet_is_the_first_round_and_not_the_least_latency_ever_seen() -> None:
    rule = Gradient()
    rule.after(16.0, seen(0.2, busiest=1))
    rule.after(16.0, seen(0.1, busiest=1))
    assert rule.after(16.0, seen(0.24, busiest=16)) == pytest.approx(18)
    assert rule.after(16.0, seen(0.3, busiest=16)) == pytest.approx((16 + 16 * 0.8 + 4) / 2)


def test_dropped_calls_take_a_tenth_off_and_say_nothing_about_quiet() -> None:
    rule = Gradient()
    assert rule.after(20.0, seen(0.0001, busiest=20, dropped=1)) == 18.0
    assert rule.after(16.0, seen(0.1, busiest=16)) == 18.0


def test_latency_of_nothing_is_quiet() -> None:
    assert Gradient().after(16.0, seen(0.0, busiest=16)) == 18.0


def measuring(limit: float, latency: float) -> Gradient:
    """A rule that has just halved the limit to measure."""
    rule = Gradient()
    for _ in range(FIRST - 1):
        rule.after(limit, seen(latency, busiest=int(limit)))
    assert rule.after(limit, seen(latency, busiest=int(limit))) == limit / 2
    return rule


def test_quiet_is_measured_anew_with_half_of_the_limit() -> None:
    rule = measuring(16.0, 0.2)
    assert rule.after(8.0, seen(0.1, busiest=8)) == 8.0, "the queue goes away"
    assert rule.after(8.0, seen(0.17, busiest=8)) == 16.0, "back, and quiet is 0.17 now"
    assert rule.after(16.0, seen(0.204, busiest=16)) == pytest.approx(18)
    assert rule.after(16.0, seen(0.255, busiest=16)) == pytest.approx((16 + 16 * 0.8 + 4) / 2)


def test_it_is_halved_again_while_that_makes_calls_faster() -> None:
    rule = measuring(16.0, 0.24)
    assert rule.after(8.0, seen(0.24, busiest=8)) == 8.0
    assert rule.after(8.0, seen(0.19, busiest=8)) == 4.0, "by more than a fifth"
    assert rule.after(4.0, seen(0.19, busiest=4)) == 4.0
    assert rule.after(4.0, seen(0.16, busiest=4)) == 16.0, "by less"
    assert rule.after(16.0, seen(0.192, busiest=16)) == pytest.approx(18)


def test_it_is_not_halved_below_one() -> None:
    rule = measuring(4.0, 0.8)
    rule.after(2.0, seen(0.4, busiest=2))
    assert rule.after(2.0, seen(0.4, busiest=2)) == 1.0
    rule.after(1.0, seen(0.2, busiest=1))
    assert rule.after(1.0, seen(0.2, busiest=1)) == 4.0


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
    assert gaps == [10, 20, 40, 80, 160, 300, 300]


def test_a_measuring_round_of_lost_calls_only_keeps_quiet_as_it_was() -> None:
    rule = measuring(16.0, 0.1)
    rule.after(8.0, seen(0.2, busiest=8))
    assert rule.after(8.0, seen(0.2, busiest=8, answered=0, dropped=10)) == 16.0
    assert rule.after(16.0, seen(0.15, busiest=16)) == pytest.approx((16 + 16 * 0.8 + 4) / 2)


def test_aimd() -> None:
    rule = Aimd(0.125)
    assert rule.after(10.0, seen(0.125, busiest=5)) == 11.0
    assert rule.after(10.0, seen(0.125, busiest=4)) == 10.0
    assert rule.after(10.0, seen(0.126, busiest=1)) == 9.0
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
    told = [machine.ended(0.1, 5, number * 0.02) for number in range(3 * SAMPLES)]
    assert told.count(True) == 1
    assert told.index(True) == SAMPLES - 1
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


LEAST, MOST, TARGET = 2, 40, 0.1
Round = tuple[float, int, bool, bool]  # mean latency, busiest, were calls lost, was one answered


def bounded(limit: float) -> float:
    return min(float(MOST), max(float(LEAST), limit))


def aimd(limit: float) -> Generator[float, Round, None]:
    """What `Aimd` should do, told as a story."""
    while True:
        mean, used, lost, _ = yield limit
        limit = bounded(0.9 * limit if lost or mean > TARGET else limit + (used >= limit / 2))


def gradient(limit: float) -> Generator[float, Round, None]:
    """What `Gradient` should do, told as a story."""
    quiet: float | None = None
    busy, due = 0, 10
    while True:
        mean, used, lost, _ = yield limit
        if lost:
            limit = bounded(0.9 * limit)
            continue
        quiet = mean if quiet is None else quiet
        if used < limit / 2:
            continue
        busy += 1
        if busy < due:
            part = min(1.0, max(0.5, 1.2 * quiet / mean))
            limit = bounded(limit * (0.5 + 0.5 * part) + math.sqrt(limit) / 2)
            continue
        busy, due, back, before = 0, min(300, 2 * due), limit, mean
        while True:
            limit = bounded(limit / 2)
            yield limit
            mean, _, _, answered = yield limit
            if answered and mean * 1.2 < before:
                before = mean
                continue
            quiet = mean if answered else quiet
            break
        limit = back


@pytest.mark.parametrize(("rule", "story"), [(Gradient, gradient), (lambda: Aimd(TARGET), aimd)])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_hundred_thousand_steps(
    rule: Callable[[], Rule], story: Callable[[float], Generator[float, Round, None]], seed: int
) -> None:
    rng = Random(seed)
    machine, model = AdaptiveMachine(rule(), initial=10, least=LEAST, most=MOST), story(10.0)
    expected = next(model)
    calls: list[tuple[float | None, int]] = []
    now = began = 0.02
    for step in range(4000):
        hour = step // 500 % 4  # of few calls, of many, of slow ones, and of some that are lost
        seconds: float | None = rng.uniform(0.04, 0.06) * (3 if hour == 2 else 1)
        if hour == 3 and rng.random() < 0.02:
            seconds = None
        calls.append((seconds, rng.randint(0, machine.limit if hour else machine.limit // 3)))
        before = machine.limit
        assert machine.ended(*calls[-1], now) is (machine.limit != before)
        if len(calls) >= 30 and now >= began + 0.1:
            took = [each for each, _ in calls if each is not None]
            mean, lost = math.fsum(took) / max(1, len(took)), len(took) < len(calls)
            expected = model.send((mean, max(busy for _, busy in calls), lost, bool(took)))
            calls, began = [], now
        assert machine._value == pytest.approx(expected)
        now += rng.choice([0.001, 0.01, 0.02])
