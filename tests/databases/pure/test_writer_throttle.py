"""Writers wait while a lag does not shrink, and no longer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.databases.pure.writer_throttle import MOST, WriterThrottle


def test_the_wait_doubles_until_the_lag_shrinks() -> None:
    throttle = WriterThrottle()
    waits = [throttle.after(lag, caught_up=False) for lag in (100, 100, 120, 108, 90, 82, 200)]
    assert waits == [1, 2, 4, 4, 4, 8, 16]


def test_it_ends_at_the_most() -> None:
    throttle = WriterThrottle(most=5)
    assert [throttle.after(1, caught_up=False) for _ in range(5)] == [1, 2, 4, 5, 5]
    assert WriterThrottle()._most == MOST == 50


def test_it_is_halved_once_the_stream_has_caught_up() -> None:
    throttle = WriterThrottle()
    for _ in range(4):
        throttle.after(100, caught_up=False)
    assert [throttle.after(0, caught_up=True) for _ in range(5)] == [4, 2, 1, 0, 0]


def test_what_has_caught_up_is_measured_from_there() -> None:
    throttle = WriterThrottle()
    assert throttle.after(1000, caught_up=True) == 0
    assert throttle.after(500, caught_up=False) == 0, "half of it is less"
    assert throttle.after(450, caught_up=False) == 0, "a tenth less is less"
    assert throttle.after(406, caught_up=False) == 1


def test_no_one_waits_when_there_is_nothing_behind() -> None:
    assert WriterThrottle().after(0, caught_up=True) == 0


@pytest.mark.parametrize("most", [1, 7, 50], ids=str)
@given(st.lists(st.tuples(st.integers(0, 10**9), st.booleans())))
def test_the_wait_stays_in_its_bounds(most: int, looks: list[tuple[int, bool]]) -> None:
    throttle, last = WriterThrottle(most), 0
    for lag, caught_up in looks:
        wait = throttle.after(lag, caught_up=caught_up)
        assert 0 <= wait <= most
        assert wait <= last or not caught_up
        last = wait


def test_the_first_lag_is_one_that_does_not_shrink() -> None:
    assert WriterThrottle().after(0.5, caught_up=False) == 1
