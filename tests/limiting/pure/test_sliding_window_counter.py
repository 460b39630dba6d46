"""Two counts a key: the window before counts for the part of it that is still in sight."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.limiting.pure.limits import limit

from escala.limiting.pure.sliding_window_counter import SlidingWindowCounterMachine


def machine(
    count: int = 10, period: float = 10.0, max_keys: int = 100
) -> SlidingWindowCounterMachine:
    return SlidingWindowCounterMachine((limit(count, period),), max_keys)


def granted(counts: SlidingWindowCounterMachine, tries: int, now: float, key: str = "") -> int:
    return sum(counts.take(key, 1, now) == 0.0 for _ in range(tries))


def test_the_window_before_counts_for_the_part_still_in_sight() -> None:
    counts = machine()
    assert granted(counts, 99, 8.0) == 10
    assert granted(counts, 99, 10.0) == 0
    assert granted(counts, 99, 11.0) == 1
    assert granted(counts, 99, 15.0) == 4
    assert granted(counts, 99, 19.9) == 4
    assert granted(counts, 99, 20.0) == 1, "nine in the window before"
    assert granted(counts, 99, 40.0) == 10, "and none in the one before this"


def test_a_window_that_was_skipped_counts_for_nothing() -> None:
    counts = machine()
    assert granted(counts, 99, 0.0) == 10
    assert granted(counts, 99, 20.0) == 10
    assert granted(counts, 99, 1e6) == 10


@pytest.mark.parametrize(
    ("before", "current", "cost", "ahead", "wait"),
    [
        (0, 0, 10, 0, 0.0),
        (0, 0, 1, 9, 0.0),
        (0, 9, 1, 0, 0.0),
        (0, 10, 1, 0, 9.0),  # at 21 a tenth of the ten is out of sight
        (0, 10, 5, 0, 13.0),
        (0, 6, 5, 0, 9.0 + 2 / 3),  # at 20 six are left, and a sixth later five
        (0, 6, 10, 0, 18.0),
        (10, 0, 2, 0, 0.0),
        (10, 0, 3, 0, 1.0),
        (10, 2, 1, 0, 1.0),
        (10, 2, 1, 1, 2.0),
        (10, 2, 1, 7, 8.0),
        (10, 2, 1, 8, 9.0),  # the window is full, and from then on one a second
        (10, 2, 1, 18, 19.0),
        (0, 0, 1, 10, 9.0),
    ],
)
def test_says_how_long_to_wait(
    before: int, current: int, cost: int, ahead: int, wait: float
) -> None:
    counts, now = machine(), 12.0
    if before:
        assert counts.take("", before, 5.0) == 0.0
    if current:
        assert counts.take("", current, now) == 0.0
    assert counts.wait("", cost, now, ahead) == pytest.approx(wait)
    if wait and not ahead:
        assert counts.take("", cost, now) == pytest.approx(wait)
        assert counts.take("", cost, now + counts.wait("", cost, now)) == 0.0


def test_says_how_things_stand() -> None:
    counts = machine()
    first = counts.decide("", 4, 5.0)
    assert (first.allowed, first.limit, first.remaining) == (True, 10, 6)
    assert (first.reset_after, first.retry_after) == (15.0, 0.0)
    refused = counts.decide("", 7, 5.0)
    assert (refused.allowed, refused.remaining, refused.reset_after) == (False, 6, 15.0)
    assert refused.retry_after == pytest.approx(7.5)
    half = counts.granted("", 15.0)
    assert (half.remaining, half.reset_after) == (8, 5.0)
    ended = counts.granted("", 20.0)
    assert (ended.remaining, ended.reset_after) == (10, 0.0)
    assert counts.granted("new", 0.0).remaining == 10
    assert counts.granted("new", 0.0).reset_after == 0.0
    assert "new" not in counts.keys.states


def test_gives_back_from_the_current_window_first_and_never_more() -> None:
    counts = machine()
    counts.give_back("", 1, 0.0)
    assert granted(counts, 99, 5.0) == 10
    assert granted(counts, 99, 15.0) == 5
    counts.give_back("", 3, 15.0)
    assert granted(counts, 99, 15.0) == 3
    counts.give_back("", 7, 15.0)
    state = counts.keys.states[""][0]
    assert (state.before, state.current) == (8, 0)
    counts.give_back("", 99, 15.0)
    assert (state.before, state.current) == (0, 0)
    assert granted(counts, 99, 15.0) == 10
    counts.give_back("", 4, 25.0)
    assert (state.before, state.current) == (6, 0), "it looks at the clock first"


def test_what_is_forgotten_begins_anew_and_makes_room() -> None:
    counts = machine(max_keys=1)
    counts.forget("unknown")
    assert granted(counts, 99, 0.0, "a") == 10
    counts.forget("a")
    assert granted(counts, 99, 0.0, "a") == 10
    assert granted(counts, 1, 10.0, "a") == 0
    counts.forget("a")
    assert granted(counts, 1, 10.0, "b") == 1
    assert list(counts.keys.states) == ["b"]


def test_a_key_makes_room_when_nothing_of_it_counts() -> None:
    counts = SlidingWindowCounterMachine((limit(5, 1.0), limit(5, 10.0)), 100)
    assert granted(counts, 1, 8.0, "old") == 1
    assert granted(counts, 1, 19.9, "new") == 1
    assert set(counts.keys.states) == {"old", "new"}
    assert granted(counts, 1, 20.0, "newer") == 1
    assert set(counts.keys.states) == {"newer", "new"}
    counts.give_back("new", 1, 25.0)
    counts.keys.states["new"][1].before = 1
    assert granted(counts, 1, 29.9, "newest") == 1
    assert "new" in counts.keys.states
    assert granted(counts, 1, 30.0, "last") == 1
    assert "new" not in counts.keys.states


def test_several_limits_are_charged_together_or_not_at_all() -> None:
    counts = SlidingWindowCounterMachine((limit(2), limit(3, 60.0)), 100)
    assert granted(counts, 9, 0.0) == 2
    assert granted(counts, 9, 2.0) == 1
    refused = counts.decide("", 1, 2.5)
    assert (refused.decided_by, refused.limit, refused.remaining) == (1, 3, 0)
    assert refused.retry_after == pytest.approx(77.5)
    assert [left for left, _ in refused.each] == [1, 0]
    assert [reset for _, reset in refused.each] == pytest.approx([1.5, 117.5])


def test_a_moment_before_the_current_window_changes_nothing() -> None:
    counts = machine()
    assert granted(counts, 10, 25.0) == 10
    assert counts.wait("", 1, 19.0) > 0
    state = counts.keys.states[""][0]
    assert (state.number, state.current) == (2, 10)


@given(st.lists(st.tuples(st.integers(1, 4), st.floats(0, 1.5)), max_size=80), st.integers(1, 9))
def test_estimates_what_the_lists_of_two_windows_would(
    steps: list[tuple[int, float]], count: int
) -> None:
    counts, now = machine(count, 1.0), 0.0
    passed: list[float] = []
    for wanted, pause in steps:
        cost = min(wanted, count)
        now += pause
        window = math.floor(now)
        current = sum(at >= window for at in passed)
        before = sum(window - 1 <= at < window for at in passed)
        estimate = before * (1 - (now - window)) + current
        close = abs(estimate + cost - count) < 1e-5
        decision = counts.decide("", cost, now)
        assert close or decision.allowed is (estimate + cost <= count)
        passed += [now] * cost * decision.allowed
        if not decision.allowed:
            assert counts.wait("", cost, now + decision.retry_after + 1e-6) == 0.0
            assert close or counts.wait("", cost, now) > 0
        for start in passed:
            assert sum(start <= at < start + 1.0 for at in passed) <= 2 * count


def test_a_wait_is_never_too_short_however_floats_round() -> None:
    for number in range(200):
        counts, now = machine(3, 0.1), 1e5 + number / 7
        assert counts.take("", 3, now) == 0.0
        later = now + number / 10_000
        assert counts.take("", 1, later + counts.wait("", 1, later)) == 0.0
