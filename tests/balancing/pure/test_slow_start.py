from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.balancing.pure.slow_start import STEPS, SlowStart


def test_weight_grows_by_a_tenth_each_tenth_of_the_window() -> None:
    slow = SlowStart(30.0)
    assert [slow.tenths(300.0, 300.0 + age) for age in (0, 2.9, 3, 6, 26.9, 27, 30, 1e6)] == [
        *(1, 1, 2, 3, 9, 10, 10, 10)
    ]


def test_the_steps_are_the_same_moments_for_all() -> None:
    slow = SlowStart(10.0)
    assert [slow.tenths(0.9, now) for now in (0.9, 1.0, 2.0)] == [1, 2, 3]
    assert [slow.tenths(0.0, now) for now in (0.9, 1.0, 2.0)] == [1, 2, 3]
    assert [slow.next(now) for now in (0.0, 0.9, 1.0, 1.1)] == [1.0, 1.0, 2.0, 2.0]


@pytest.mark.parametrize("window", [0.5, 7.0, 30.0])
@given(st.floats(0, 1e6), st.floats(0, 100))
def test_it_only_grows_and_ends_with_the_window(window: float, since: float, age: float) -> None:
    slow = SlowStart(window)
    tenths = slow.tenths(since, since + age)
    assert 1 <= tenths <= STEPS
    assert slow.tenths(since, slow.next(since + age)) >= tenths
    assert since + age <= slow.next(since + age) <= (since + age) * (1 + 1e-9) + window / STEPS
    if age >= window:
        assert tenths == STEPS


def test_a_clock_that_is_behind_begins_at_the_first_step() -> None:
    assert SlowStart(10.0).tenths(50.0, 20.0) == 1
