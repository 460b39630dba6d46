"""nginx's order, against the rule as it is written down, which looks at every target."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.balancing.pure.weighted_round_robin import WeightedRoundRobinChoice

WEIGHTS = st.lists(st.integers(1, 12) | st.integers(1, 1_000_000), min_size=1, max_size=9)
SKIPS = st.lists(st.sets(st.integers(-1, 9), max_size=9), max_size=60)


class Definition:
    """Smooth weighted round robin as nginx has it: O(n), one number for each server."""

    def __init__(self, weights: list[int]) -> None:
        self.weights = weights
        self.current = [0] * len(weights)

    def pick(self, tried: Collection[int] = ()) -> int:
        servers = [index for index in range(len(self.weights)) if index not in tried]
        servers = servers or list(range(len(self.weights)))
        best = servers[0]
        for index in servers:
            self.current[index] += self.weights[index]
            if self.current[index] > self.current[best]:
                best = index
        self.current[best] -= sum(self.weights[index] for index in servers)
        return best


def picks(weights: list[int], count: int) -> list[int]:
    choice = WeightedRoundRobinChoice(weights)
    return [choice.pick(0.0) for _ in range(count)]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([5, 1, 1], [0, 0, 1, 0, 2, 0, 0]),
        ([1, 1, 1], [0, 1, 2]),
        ([2, 1], [0, 1, 0]),
        ([1, 2], [1, 0, 1]),
        ([4, 3, 2], [0, 1, 2, 0, 1, 0, 2, 1, 0]),
        ([7], [0]),
    ],
    ids=str,
)
def test_the_order_of_small_weights(weights: list[int], expected: list[int]) -> None:
    assert picks(weights, 3 * len(expected)) == expected * 3


@given(WEIGHTS)
def test_the_order_is_that_of_the_definition(weights: list[int]) -> None:
    definition = Definition(weights)
    assert picks(weights, 200) == [definition.pick() for _ in range(200)]


@given(WEIGHTS, SKIPS)
def test_also_after_servers_that_were_tried(weights: list[int], skips: list[set[int]]) -> None:
    choice, definition = WeightedRoundRobinChoice(weights), Definition(weights)
    for skip in skips:
        assert choice.pick(0.0, skip) == definition.pick(skip)
        assert choice.pick(0.0) == definition.pick()


@pytest.mark.parametrize("seed", range(3))
def test_also_among_many(seed: int) -> None:
    rng = random.Random(seed)
    weights = [rng.randint(1, 1000) for _ in range(200 + seed)]
    choice, definition = WeightedRoundRobinChoice(weights), Definition(weights)
    for _ in range(2000):
        skip = rng.sample(range(len(weights)), 2) if rng.random() < 0.1 else ()
        assert choice.pick(0.0, skip) == definition.pick(skip)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=7))
def test_a_whole_round_holds_each_target_by_its_weight_and_then_comes_again(
    weights: list[int],
) -> None:
    common = gcd(*weights)
    length = sum(weights) // common
    order = picks(weights, 3 * length)
    assert order == order[:length] * 3
    assert Counter(order[:length]) == {
        index: weight // common for index, weight in enumerate(weights)
    }


def test_a_release_changes_nothing() -> None:
    choice = WeightedRoundRobinChoice([1, 1])
    assert choice.pick(0.0) == 0
    choice.release(0, 0.0, took=1.0)
    assert choice.pick(0.0) == 1
    assert choice.seconds(0) is None


def matches_played(weights: list[int], picks: int) -> float:
    """How many matches of the tournament a pick plays, on average."""
    played = 0

    class Counting(WeightedRoundRobinChoice):
        def _replay(self, match: int) -> None:
            nonlocal played
            played += 1
            super()._replay(match)

    choice = Counting(weights)
    choice.pick(0.0)
    played = 0
    for _ in range(picks):
        choice.pick(0.0)
    return played / picks


@pytest.mark.parametrize(("many", "most"), [(16, 5.5), (256, 12.0), (4096, 20.0)], ids=str)
def test_a_pick_plays_few_matches(many: int, most: float) -> None:
    rng = random.Random(1)
    assert matches_played([1] * many, 500) <= many.bit_length() - 1  # no lines cross: one path
    assert matches_played([rng.randint(1, 1000) for _ in range(many)], 2000) <= most
