"""How likely a call is refused here, by what the far side served."""

from __future__ import annotations

import random

import pytest

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
