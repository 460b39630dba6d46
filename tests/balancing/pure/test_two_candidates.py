"""Pairs drawn without putting back: every one, exactly as likely as it should be."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.balancing.pure.two_candidates import TwoCandidates

WEIGHTS = st.lists(st.integers(1, 4), min_size=1, max_size=5)


def tape(*numbers: float) -> Callable[[], float]:
    return iter(numbers).__next__


@given(WEIGHTS, st.sets(st.integers(-1, 5)))
def test_each_pair_is_as_likely_as_its_weights_have_it(weights: list[int], skip: set[int]) -> None:
    left = [index for index in range(len(weights)) if index not in skip]
    left = left or list(range(len(weights)))
    total = sum(weights[index] for index in left)
    odds: Counter[tuple[int, int]] = Counter()
    for one in range(total):
        at = (one + 0.5) / total
        first, _ = TwoCandidates(weights, tape(at, 0.0)).two(skip)
        rest = total - weights[first]
        for other in range(rest or 1):
            pair = TwoCandidates(weights, tape(at, (other + 0.5) / (rest or 1))).two(skip)
            assert pair[0] == first
            odds[pair] += 1
    for (first, second), count in odds.items():
        if len(left) == 1:
            assert (first, second) == (left[0], left[0])
            continue
        assert first != second
        assert {first, second} <= set(left)
        # Of `total` draws weights[first] give the first, of the rest weights[second] the second.
        assert count == weights[first] * weights[second]
    pairs = len(left) * (len(left) - 1) or 1
    assert len(odds) == pairs


@pytest.mark.parametrize("skip", [set[int](), {1}, {0, 2}], ids=str)
def test_the_shares_of_many_draws(skip: set[int]) -> None:
    weights, count = [1, 2, 3, 4], 20_000
    candidates = TwoCandidates(weights, random.Random(7).random)
    had = Counter(candidates.two(skip)[0] for _ in range(count))
    left = {index: weight for index, weight in enumerate(weights) if index not in skip}
    total = sum(left.values())
    squares = sum(
        (had[index] - count * Fraction(weight, total)) ** 2 / (count * Fraction(weight, total))
        for index, weight in left.items()
    )
    assert had.keys() == left.keys()
    assert squares < 16.3  # chi-square of up to 3 degrees of freedom: once in a thousand seeds


@given(st.lists(st.integers(1, 10_000_000), min_size=2, max_size=3000))
def test_the_largest_random_number_is_the_last_target(weights: list[int]) -> None:
    largest = 1 - 2**-53
    last = len(weights) - 1
    candidates = TwoCandidates(weights, lambda: largest)
    assert candidates.two() == (last, last - 1)
    assert candidates.two({last})[0] == last - 1


def test_the_smallest_random_number_is_the_first_target() -> None:
    candidates = TwoCandidates([1, 1, 1, 1], lambda: 0.0)
    assert candidates.two() == (0, 1)
    assert candidates.two({0}) == (1, 2)
    assert candidates.two({0, 1, 2}) == (3, 3)
    assert candidates.two({0, 1, 2, 3}) == (0, 1)
    assert candidates.two({-1, 4}) == (0, 1)


def test_a_single_target_needs_one_random_number() -> None:
    assert TwoCandidates([3], tape(0.9)).two() == (0, 0)
