"""Every call is remembered for a period: no window holds one too many, nor one too few."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.limiting.pure.limits import limit

from escala.limiting.pure.sliding_window_log import SlidingWindowLogMachine


def machine(count: int = 3, period: float = 10.0, max_keys: int = 100) -> SlidingWindowLogMachine:
    return SlidingWindowLogMachine((limit(count, period),), max_keys, strict=True)


def granted(log: SlidingWindowLogMachine, tries: int, now: float, key: str = "") -> int:
    return sum(log.take(key, 1, now) == 0.0 for _ in range(tries))


def test_a_call_counts_for_exactly_one_period() -> None:
    log = machine()
    assert granted(log, 1, 0.0) == 1
    assert granted(log, 1, 4.0) == 1
    assert granted(log, 9, 9.9) == 1
    assert granted(log, 9, 10.0) == 1, "the first no longer counts"
    assert granted(log, 9, 13.9) == 0
    assert granted(log, 9, 14.0) == 1
    assert granted(log, 9, 99.0) == 3


@pytest.mark.parametrize(
    ("cost", "ahead", "wait"),
    [
        (1, 0, 0.0),
        (2, 0, 5.0),
        (3, 0, 7.0),
        (1, 1, 5.0),
        (1, 2, 7.0),
        (1, 3, 10.0),
        (1, 4, 15.0),
        (1, 5, 17.0),
        (1, 6, 20.0),
    ],
)
def test_says_how_long_to_wait(cost: int, ahead: int, wait: float) -> None:
    log = machine()
    log.take("", 1, 0.0)
    log.take("", 1, 2.0)
    assert log.wait("", cost, 5.0, ahead) == wait
    if wait and not ahead:
        assert log.take("", cost, 5.0) == wait
        assert log.take("", cost, 5.0 + wait) == 0.0, "then it is granted"


def test_says_how_things_stand() -> None:
    log = machine()
    first = log.decide("", 2, 0.0)
    assert (first.allowed, first.limit, first.remaining) == (True, 3, 1)
    assert (first.reset_after, first.retry_after) == (10.0, 0.0)
    log.take("", 1, 4.0)
    refused = log.decide("", 2, 5.0)
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert (refused.reset_after, refused.retry_after) == (9.0, 5.0)
    ended = log.granted("", 14.0)
    assert (ended.remaining, ended.reset_after) == (3, 0.0)
    assert log.granted("new", 0.0).remaining == 3
    assert "new" not in log.keys.states


def test_gives_back_the_oldest_so_that_no_window_holds_more() -> None:
    log = machine(2)
    log.give_back("", 1, 0.0)
    assert granted(log, 1, 0.0) == 1
    assert granted(log, 1, 6.0) == 1
    log.give_back("", 1, 6.0)
    assert granted(log, 9, 6.0) == 1
    assert granted(log, 9, 10.0) == 0, "both were at 6"
    log.give_back("", 99, 10.0)
    assert log.granted("", 10.0).remaining == 2
    assert granted(log, 9, 10.0) == 2
    log.give_back("", 1, 25.0)
    assert granted(log, 9, 25.0) == 2


def test_what_is_forgotten_begins_anew_and_makes_room() -> None:
    log = machine(max_keys=1)
    log.forget("unknown")
    assert granted(log, 9, 0.0, "a") == 3
    log.forget("a")
    assert log.granted("a", 0.0).remaining == 3
    assert granted(log, 9, 0.0, "a") == 3
    log.forget("a")
    assert granted(log, 1, 0.0, "b") == 1
    assert list(log.keys.states) == ["b"]


def test_a_key_makes_room_a_period_after_its_last_call() -> None:
    log = SlidingWindowLogMachine((limit(1), limit(5, 10.0)), 100)
    assert granted(log, 9, 0.0, "old") == 1
    assert granted(log, 9, 2.0, "old") == 1
    assert granted(log, 9, 11.9, "new") == 1
    assert set(log.keys.states) == {"old", "new"}
    assert granted(log, 9, 12.0, "newer") == 1
    assert set(log.keys.states) == {"newer", "new"}


def test_it_is_the_last_of_many_calls_that_keeps_a_key() -> None:
    log = machine()
    for now in (0.0, 3.0, 6.0):
        log.take("old", 1, now)
    log.take("new", 1, 15.9)
    assert set(log.keys.states) == {"old", "new"}
    log.take("newer", 1, 16.0)
    assert set(log.keys.states) == {"newer", "new"}


def test_one_list_serves_several_limits() -> None:
    log = SlidingWindowLogMachine((limit(2), limit(3, 60.0)), 100)
    assert granted(log, 9, 0.0) == 2
    assert granted(log, 9, 1.0) == 1
    refused = log.decide("", 1, 1.0)
    assert (refused.decided_by, refused.retry_after) == (1, 59.0)
    assert refused.each == ((1, 1.0), (0, 60.0))
    assert log.keys.states[""].times.next == 3
    log.give_back("", 1, 1.0)
    assert [left for left, _ in log.granted("", 1.0).each] == [2, 1]


def test_takes_no_more_memory_than_the_largest_limit_counts() -> None:
    log = SlidingWindowLogMachine((limit(50), limit(3)), 100)
    for number in range(1000):
        log.take("", 1, number / 10)
    assert len(log.keys.states[""].times._times) <= 50
    assert granted(log, 9, 500.0) == 3
    assert len(log.keys.states[""].times._times) == 3, "and gives it back after a pause"


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(1, 3), st.floats(0, 3), st.booleans()), max_size=80),
)
def test_no_window_ever_holds_more_than_the_limit(
    count: int, steps: list[tuple[int, float, bool]]
) -> None:
    log, now = machine(count, 1.0), 1e4
    passed: list[float] = []
    for wanted, pause, exactly in steps:
        cost = min(wanted, count)
        now += log.wait("", cost, now) if exactly else pause
        counting = sum(at + 1.0 > now for at in passed)
        allowed = log.take("", cost, now) == 0.0
        assert allowed is (counting + cost <= count), "as many as may, and never more"
        assert allowed or not exactly
        passed += [now] * cost * allowed
    for start in passed:
        assert sum(start <= at < start + 1.0 - 1e-9 for at in passed) <= count


def test_a_wait_is_never_too_short_however_floats_round() -> None:
    for number in range(200):
        log, now = machine(1, 0.1), 1e5 + number / 7
        assert log.take("", 1, now) == 0.0
        later = math.nextafter(now + 0.05, math.inf)
        assert log.take("", 1, later + log.wait("", 1, later)) == 0.0
