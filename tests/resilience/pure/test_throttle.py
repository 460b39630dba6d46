"""How likely a call is refused here, by what the far side served."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escala.resilience.pure.throttle import ThrottleMachine


def test_nothing_is_refused_while_all_is_served() -> None:
    throttle = ThrottleMachine(multiple=2.0, window=10.0)
    for _ in range(100):
        assert not throttle.refused(0.0, 1.0)
        throttle.ended(accepted=True, now=1.0)
    assert throttle.chance(1.0) == 0.0


def test_the_formula() -> None:
    throttle = ThrottleMachine(multiple=2.0, window=10.0)
    for number in range(9):
        throttle.ended(accepted=number < 3, now=1.0)
    assert throttle.chance(1.0) == pytest.approx((9 - 2 * 3) / 10)
    assert not throttle.refused(0.3, 1.0)
    assert throttle.refused(0.2999, 1.0)
    assert throttle.chance(1.0) == pytest.approx((10 - 2 * 3) / 11), "what is refused counts"


def test_half_served_is_the_edge_with_a_multiple_of_two() -> None:
    throttle = ThrottleMachine(multiple=2.0, window=10.0)
    for number in range(10):
        throttle.ended(accepted=number % 2 == 0, now=1.0)
    assert throttle.chance(1.0) == 0.0
    assert not throttle.refused(0.0, 1.0)
    throttle.ended(accepted=False, now=1.0)
    assert throttle.chance(1.0) == pytest.approx(1 / 12)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    throttle = ThrottleMachine(multiple=2.0, window=10.0)
    for _ in range(10):
        throttle.ended(accepted=False, now=0.0)
    assert throttle.chance(8.9) == pytest.approx(10 / 11)
    assert throttle.chance(10.1) == 0.0


def test_a_tenth_of_the_window_ends_with_the_first_moment_of_the_next() -> None:
    throttle = ThrottleMachine(multiple=2.0, window=8.0)
    throttle.ended(accepted=False, now=0.0)
    throttle.ended(accepted=False, now=0.5)
    assert throttle.chance(7.0) == pytest.approx(2 / 3)
    throttle = ThrottleMachine(multiple=2.0, window=10.0)
    throttle.ended(accepted=False, now=0.0)
    throttle.ended(accepted=False, now=1.0)  # the second tenth
    assert throttle.chance(10.0) == pytest.approx(1 / 2)
    assert throttle.chance(11.0) == 0.0


@pytest.mark.parametrize(("multiple", "capacity"), [(2.0, 0.3), (1.2, 0.5)])
def test_so_many_times_as_much_is_sent_as_is_served(multiple: float, capacity: float) -> None:
    """Ten calls a millisecond for a far side that serves a part of them."""
    throttle, rng = ThrottleMachine(multiple=multiple, window=10.0), random.Random(7)
    sent = served = credit = 0.0
    for number in range(40_000):
        now = number / 1000
        credit = min(1.0, credit + capacity)
        if throttle.refused(rng.random(), now):
            continue
        accepted = credit >= 1.0
        credit -= accepted
        throttle.ended(accepted=accepted, now=now)
        if now > 20:
            sent, served = sent + 1, served + accepted
    assert sent / served == pytest.approx(multiple, rel=0.05)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_hundred_thousand_steps(seed: int) -> None:
    """Against a list of all calls: those of the last nine tenths count, those before ten do not."""
    rng, throttle = random.Random(seed), ThrottleMachine(multiple=1.5, window=10.0)
    calls: list[tuple[float, bool]] = []
    now = 0.0
    for step in range(5000):
        now += rng.choice([0.0, 0.01, 0.1, 30.0 if rng.random() < 0.01 else 0.2])
        well = step // 1000 % 2 == 0
        calls = [each for each in calls if each[0] > now - 10.5]
        chances = []
        for age in (8.999, 10.001):
            seen = [accepted for at, accepted in calls if at > now - age]
            chances.append(max(0.0, (len(seen) - 1.5 * sum(seen)) / (len(seen) + 1)))
        chance = throttle.chance(now)
        if all(now - at < 8.999 or now - at > 10.001 for at, _ in calls):
            assert chance == pytest.approx(chances[0])
        assert 0 <= chance < 1
        draw = rng.random()
        refused = throttle.refused(draw, now)
        assert refused is (draw < chance)
        accepted = not refused and rng.random() < (0.95 if well else 0.2)
        calls.append((now, accepted))
        if not refused:
            throttle.ended(accepted=accepted, now=now)
