"""Exact shares: every window of a whole round, every prefix, any weights."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.balancing.pure.round_robin import RoundRobinChoice

WEIGHTS = st.lists(st.integers(1, 12), min_size=1, max_size=7)
SKIPS = st.lists(st.sets(st.integers(0, 6), max_size=7), max_size=60)


def picks(weights: list[int], count: int) -> list[int]:
    choice = RoundRobinChoice(weights)
    return [choice.pick(0.0) for _ in range(count)]


def test_equal_weights_go_round_in_order() -> None:
    assert picks([1, 1, 1], 7) == [0, 1, 2, 0, 1, 2, 0]
    assert picks([9, 9, 9], 7) == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([5, 1, 1], [0, 0, 0, 1, 0, 0, 2]),
        ([2, 1], [0, 0, 1]),
        ([1, 2], [1, 0, 1]),
        ([3, 3, 2], [0, 1, 2, 0, 1, 0, 1, 2]),
        ([4, 1, 1, 1, 1], [0, 1, 0, 2, 0, 3, 0, 4]),
    ],
    ids=str,
)
def test_a_heavy_target_is_spread_over_the_round(weights: list[int], expected: list[int]) -> None:
    assert picks(weights, 2 * len(expected)) == expected * 2


@given(WEIGHTS)
def test_every_window_of_one_round_holds_each_target_by_its_weight(weights: list[int]) -> None:
    common = gcd(*weights)
    length = sum(weights) // common
    order = picks(weights, 4 * length)
    for start in range(3 * length):
        window = Counter(order[start : start + length])
        assert window == {index: weight // common for index, weight in enumerate(weights)}


@given(WEIGHTS)
def test_no_target_is_ever_a_whole_turn_away_from_its_share(weights: list[int]) -> None:
    choice, total, had = RoundRobinChoice(weights), sum(weights), [0] * len(weights)
    for step in range(1, 2 * total + 1):
        had[choice.pick(0.0)] += 1
        for weight, count in zip(weights, had, strict=True):
            assert abs(Fraction(step * weight, total) - count) < 1


def test_weights_of_any_size_stay_exact() -> None:
    weights = [1_000_000, 999_999, 1]
    had = Counter(picks(weights, 20_000))
    assert had[0] - had[1] in {0, 1}
    assert had[2] == 0  # its first turn may come as late as the end of two million picks


@given(WEIGHTS, SKIPS)
def test_a_skipped_target_is_picked_only_when_all_are_skipped(
    weights: list[int], skips: list[set[int]]
) -> None:
    choice = RoundRobinChoice(weights)
    for skip in skips:
        picked = choice.pick(0.0, skip)
        assert picked in range(len(weights))
        assert picked not in skip or skip.issuperset(range(len(weights)))


@given(WEIGHTS, SKIPS)
def test_after_skips_the_shares_are_exact_again_within_one_turn(
    weights: list[int], skips: list[set[int]]
) -> None:
    choice, total = RoundRobinChoice(weights), sum(weights)
    for skip in skips:
        choice.pick(0.0, skip)
    had = Counter(choice.pick(0.0) for _ in range(total * 5))
    for index, weight in enumerate(weights):
        # One turn that was kept, and one that was taken early by those who stood in.
        assert abs(had[index] - 5 * weight) <= 2, (weights, had)


def test_a_skipped_target_keeps_its_turn() -> None:
    choice = RoundRobinChoice([1, 1, 1])
    assert choice.pick(0.0, {0}) == 1
    assert [choice.pick(0.0) for _ in range(5)] == [0, 2, 0, 1, 2]


def test_a_target_that_was_skipped_for_long_keeps_one_turn_only() -> None:
    choice = RoundRobinChoice([1, 1, 1])
    assert [choice.pick(0.0, {0}) for _ in range(50)] == [1, 2] * 25
    after = [choice.pick(0.0) for _ in range(12)]
    assert max(len(list(run)) for index, run in itertools.groupby(after) if index == 0) <= 2
    assert Counter(after)[0] <= 5


def test_a_heavy_target_that_was_skipped_for_long_keeps_one_turn_only() -> None:
    choice = RoundRobinChoice([20, 1, 1])
    for _ in range(200):
        choice.pick(0.0, {0})
    had = Counter(choice.pick(0.0) for _ in range(44))
    assert 40 <= had[0] <= 42  # its own, and one each that the others had early


def test_standing_in_follows_the_weights() -> None:
    choice = RoundRobinChoice([5, 3, 1])
    had = Counter(choice.pick(0.0, {0}) for _ in range(400))
    assert had == {1: 300, 2: 100}


def test_all_skipped_is_as_none_skipped() -> None:
    choice = RoundRobinChoice([2, 1])
    assert [choice.pick(0.0, {0, 1}) for _ in range(6)] == [0, 0, 1, 0, 0, 1]


def test_a_single_target_is_always_the_one() -> None:
    choice = RoundRobinChoice([7])
    assert {choice.pick(0.0), choice.pick(0.0, {0}), choice.pick(0.0)} == {0}
    choice.release(0, 0.0)
    assert choice.pick(0.0) == 0
