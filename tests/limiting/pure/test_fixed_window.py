"""One window after the other, each opened by the first call after the one before."""

from __future__ import annotations

import math

import pytest
from tests.limiting.pure.limits import limit

from escala.limiting.pure.fixed_window import FixedWindowMachine


def machine(count: int = 3, period: float = 10.0, max_keys: int = 100) -> FixedWindowMachine:
    return FixedWindowMachine((limit(count, period),), max_keys)


def granted(windows: FixedWindowMachine, tries: int, now: float, key: str = "") -> int:
    return sum(windows.take(key, 1, now) == 0.0 for _ in range(tries))


def test_a_window_opens_with_the_first_call_and_ends_a_period_later() -> None:
    windows = machine()
    assert granted(windows, 1, 4.0) == 1
    assert granted(windows, 9, 13.9) == 2
    assert granted(windows, 9, 14.0) == 3, "its end is not in it"
    assert granted(windows, 9, 23.9) == 0
    assert granted(windows, 9, 99.0) == 3


def test_around_an_end_twice_as_many_may_pass() -> None:
    windows = machine()
    assert granted(windows, 1, 0.0) == 1
    assert granted(windows, 9, 9.9) + granted(windows, 9, 10.0) == 5


@pytest.mark.parametrize(
    ("used", "cost", "ahead", "wait"),
    [
        (0, 3, 0, 0.0),
        (0, 1, 2, 0.0),
        (0, 1, 3, 10.0),
        (0, 1, 5, 10.0),
        (0, 1, 6, 20.0),
        (2, 1, 0, 0.0),
        (2, 2, 0, 6.0),
        (3, 1, 0, 6.0),
        (3, 3, 0, 6.0),
        (3, 1, 2, 6.0),
        (3, 1, 3, 16.0),
        (3, 1, 8, 26.0),
    ],
)
def test_says_how_long_to_wait(used: int, cost: int, ahead: int, wait: float) -> None:
    windows = machine()
    granted(windows, used, 0.0)
    now = 4.0 if used else 0.0
    assert windows.wait("", cost, now, ahead) == wait
    if wait and not ahead:
        assert windows.take("", cost, now) == wait
        assert windows.take("", cost, now + wait) == 0.0, "then it is granted"


def test_says_how_things_stand() -> None:
    windows = machine()
    first = windows.decide("", 2, 1.0)
    assert (first.allowed, first.limit, first.remaining) == (True, 3, 1)
    assert (first.reset_after, first.retry_after) == (10.0, 0.0)
    refused = windows.decide("", 2, 5.0)
    assert (refused.allowed, refused.remaining, refused.reset_after) == (False, 1, 6.0)
    assert refused.retry_after == 6.0
    ended = windows.granted("", 11.0)
    assert (ended.allowed, ended.remaining, ended.reset_after) == (True, 3, 0.0)
    assert windows.granted("new", 0.0).remaining == 3
    assert "new" not in windows.keys.states


def test_gives_back_in_the_open_window_and_never_more() -> None:
    windows = machine()
    windows.give_back("", 1, 0.0)
    assert granted(windows, 9, 0.0) == 3
    windows.give_back("", 2, 1.0)
    assert granted(windows, 9, 1.0) == 2
    windows.give_back("", 99, 1.0)
    unused = windows.granted("", 1.0)
    assert (unused.remaining, unused.reset_after) == (3, 0.0)
    assert granted(windows, 9, 1.0) == 3


def test_what_is_forgotten_begins_anew_and_makes_room() -> None:
    windows = machine(max_keys=1)
    windows.forget("unknown")
    assert granted(windows, 9, 0.0, "a") == 3
    windows.forget("a")
    assert windows.granted("a", 0.0).remaining == 3
    assert granted(windows, 9, 5.0, "a") == 3
    assert windows.granted("a", 5.0).reset_after == 10.0
    windows.forget("a")
    assert granted(windows, 1, 5.0, "b") == 1
    assert list(windows.keys.states) == ["b"]


def test_a_key_makes_room_when_its_longest_window_has_ended() -> None:
    windows = FixedWindowMachine((limit(1), limit(5, 10.0)), 100)
    assert granted(windows, 9, 0.0, "old") == 1
    assert granted(windows, 9, 9.9, "new") == 1
    assert set(windows.keys.states) == {"old", "new"}
    assert granted(windows, 9, 10.0, "newer") == 1
    assert set(windows.keys.states) == {"newer", "new"}


def test_several_limits_are_charged_together_or_not_at_all() -> None:
    windows = FixedWindowMachine((limit(2), limit(3, 60.0)), 100)
    assert granted(windows, 9, 0.0) == 2
    assert [left for left, _ in windows.granted("", 0.5).each] == [0, 1]
    assert windows.decide("", 1, 0.5).decided_by == 0
    assert granted(windows, 9, 1.0) == 1
    refused = windows.decide("", 1, 1.0)
    assert (refused.decided_by, refused.limit, refused.retry_after) == (1, 3, 59.0)
    assert [left for left, _ in refused.each] == [1, 0]
    assert refused.each[0][1] == 1.0


def test_a_wait_is_never_too_short_however_floats_round() -> None:
    for number in range(200):
        windows, now = machine(1, 0.1), 1e5 + number / 7
        assert windows.take("", 1, now) == 0.0
        later = math.nextafter(now + 0.05, math.inf)
        assert windows.take("", 1, later + windows.wait("", 1, later)) == 0.0
