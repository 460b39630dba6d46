"""Of two at random the less loaded one, against a model that counts."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.balancing.pure.choice import Member
from escala.balancing.pure.power_of_two import PowerOfTwoChoice
from escala.balancing.pure.two_candidates import TwoCandidates


def made(weights: list[int], in_flight: list[int], seed: int = 0) -> PowerOfTwoChoice:
    members = [
        Member(str(index), weight, calls)
        for index, (weight, calls) in enumerate(zip(weights, in_flight, strict=True))
    ]
    return PowerOfTwoChoice(members, random.Random(seed).random)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9)), min_size=1, max_size=6),
    st.lists(st.sets(st.integers(-1, 6), max_size=6), max_size=40),
    st.integers(0, 99),
    st.data(),
)
def test_every_pick_is_the_less_loaded_of_two(
    loads: list[tuple[int, int]], skips: list[set[int]], seed: int, data: st.DataObject
) -> None:
    weights, calls = [weight for weight, _ in loads], [count for _, count in loads]
    choice, same = made(weights, calls, seed), TwoCandidates(weights, random.Random(seed).random)
    for skip in skips:
        first, second = same.two(skip)
        picked = choice.pick(0.0, skip)
        loaded = calls[second] / weights[second] < calls[first] / weights[first]
        assert picked == (second if loaded else first)
        calls[picked] += 1
        if data.draw(st.booleans()):
            busy = data.draw(st.sampled_from([at for at, count in enumerate(calls) if count]))
            choice.release(busy, 0.0, 1.0)
            calls[busy] -= 1


def test_loads_that_nearly_agree_are_told_apart() -> None:
    # 999,998/999,999 is less than 999,999/1,000,000 by 1e-12.
    for seed in range(20):
        assert made([1_000_000, 999_999], [999_999, 999_998], seed).pick(0.0) == 1


def test_of_two_targets_the_less_loaded_is_always_the_one() -> None:
    choice = made([1, 1], [3, 0])
    assert [choice.pick(0.0) for _ in range(3)] == [1, 1, 1]
    assert {made([1, 1], [1, 1], seed).pick(0.0) for seed in range(20)} == {0, 1}


def test_the_most_loaded_of_all_is_never_picked() -> None:
    for seed in range(200):
        assert made([1, 1, 1, 1], [1, 1, 2, 1], seed).pick(0.0) != 2


def test_an_idle_upstream_is_shared_by_weight() -> None:
    weights, count = [1, 2, 5], 24_000
    choice, had = made(weights, [0, 0, 0]), Counter[int]()
    for _ in range(count):
        picked = choice.pick(0.0)
        choice.release(picked, 0.0)
        had[picked] += 1
    expected = [count * weight / 8 for weight in weights]
    squares = sum((had[at] - each) ** 2 / each for at, each in enumerate(expected))
    assert squares < 13.8  # chi-square of 2 degrees of freedom: once in a thousand seeds


def test_calls_that_stay_are_spread_far_better_than_at_random() -> None:
    many = 1000
    choice = made([1] * many, [0] * many)
    had = Counter(choice.pick(0.0) for _ in range(many))
    assert max(had.values()) <= 4  # one at random: 6 or 7
    alone = random.Random(0)
    assert max(Counter(alone.randrange(many) for _ in range(many)).values()) >= 5


@pytest.mark.parametrize("weights", [[1, 1, 1], [3, 1, 2]], ids=str)
def test_load_follows_weight(weights: list[int]) -> None:
    choice = made(weights, [0, 0, 0])
    had = Counter(choice.pick(0.0) for _ in range(6000))
    for at, weight in enumerate(weights):
        assert abs(had[at] - 6000 * weight / sum(weights)) < 60


def test_nothing_is_learned_of_latency() -> None:
    choice = made([1], [0])
    choice.release(choice.pick(0.0), 1.0, 1.0)
    assert choice.seconds(0) is None
