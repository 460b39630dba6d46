"""The same target for the same key, never above its bound, and no further than needed."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from escala.balancing.pure.choice import Member
from escala.balancing.pure.consistent_hash import ConsistentHashChoice
from escala.hashing import HashRing

KEYS = [f"user:{number}" for number in range(300)]


def made(
    weights: list[int],
    in_flight: list[int] | None = None,
    load_factor: float = 1.25,
    seed: int = 0,
) -> ConsistentHashChoice:
    calls = in_flight or [0] * len(weights)
    members = [
        Member(f"t{index}", weight, count)
        for index, (weight, count) in enumerate(zip(weights, calls, strict=True))
    ]
    ring = HashRing({each.name: float(each.weight) for each in members}, vnodes=16)
    return ConsistentHashChoice(members, ring, load_factor, random.Random(seed).random)


class Model(RuleBasedStateMachine):
    """Any picks and releases: the first target from the key on that has room, and no other."""

    @initialize(
        loads=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 9)), min_size=1, max_size=7),
        load_factor=st.sampled_from([1.01, 1.1, 1.25, 2.0, 1000.0]),
    )
    def start(self, loads: list[tuple[int, int]], load_factor: float) -> None:
        self.weights = [weight for weight, _ in loads]
        self.calls = [count for _, count in loads]
        self.factor = Fraction(load_factor)
        self.choice = made(self.weights, self.calls.copy(), load_factor)
        weights = {f"t{index}": float(weight) for index, weight in enumerate(self.weights)}
        self.ring = HashRing(weights, vnodes=16)

    def limit(self, index: int, among: set[int]) -> int:
        """The most calls it may have when one comes to those of these targets."""
        share = Fraction(self.weights[index], sum(self.weights[each] for each in among))
        return ceil(self.factor * share * (sum(self.calls[each] for each in among) + 1))

    @rule(key=st.sampled_from(KEYS), skip=st.sets(st.integers(-1, 7), max_size=6))
    def pick(self, key: str, skip: set[int]) -> None:
        everyone = set(range(len(self.weights)))
        among = everyone - skip or everyone
        limits = {index: self.limit(index, among) for index in among}
        wanted = [int(name[1:]) for name in self.ring.walk(key)]
        expected = next(
            index for index in wanted if index in among and self.calls[index] < limits[index]
        )
        assert self.choice.pick(0.0, skip, key) == expected
        self.calls[expected] += 1
        assert self.calls[expected] <= limits[expected]

    @rule(key=st.sampled_from(KEYS), count=st.integers(1, 30))
    def pick_many(self, key: str, count: int) -> None:
        for _ in range(count):
            self.pick(key, set())

    @precondition(lambda self: any(self.calls))
    @rule(data=st.data(), count=st.integers(1, 20))
    def release(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            busy = [index for index, calls in enumerate(self.calls) if calls]
            if busy:
                index = data.draw(st.sampled_from(busy))
                self.choice.release(index, 0.0, 1.0)
                self.calls[index] -= 1

    @invariant()
    def the_total_is_that_of_all_calls(self) -> None:
        if hasattr(self, "choice"):
            assert self.choice._total == sum(self.calls)


TestModel = Model.TestCase


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=20),
    st.sampled_from([1.01, 1.25, 3.0]),
    st.integers(1, 200),
)
def test_one_key_alone_never_puts_a_target_above_its_factor(
    weights: list[int], load_factor: float, count: int
) -> None:
    choice = made(weights, load_factor=load_factor)
    had = Counter(choice.pick(0.0, (), "the one in demand") for _ in range(count))
    for index, calls in had.items():
        assert calls <= ceil(Fraction(load_factor) * Fraction(weights[index], sum(weights)) * count)


def test_one_call_at_a_time_always_goes_to_the_keys_target() -> None:
    choice = made([1] * 5, load_factor=1.01)
    ring = HashRing([f"t{index}" for index in range(5)], vnodes=16)
    for key in KEYS:
        picked = choice.pick(0.0, (), key)
        choice.release(picked, 0.0)
        assert f"t{picked}" == ring.node(key)


def test_text_and_bytes_are_the_same_key() -> None:
    for key in KEYS[:50]:
        assert made([1] * 5).pick(0.0, (), key) == made([1] * 5).pick(0.0, (), key.encode())


def test_a_call_without_a_key_goes_to_a_random_place() -> None:
    choice, had = made([1, 1, 1, 1], seed=3), Counter[int]()
    for _ in range(4000):
        picked = choice.pick(0.0)
        choice.release(picked, 0.0)
        had[picked] += 1
    assert len(had) == 4
    assert min(had.values()) > 400  # as much of the ring as it has
    again = made([1, 1, 1, 1], seed=3)
    once = [again.pick(0.0) for _ in range(9)]
    other = made([1, 1, 1, 1], seed=3)
    assert once == [other.pick(0.0) for _ in range(9)]


def test_calls_without_a_key_reach_every_target_of_many() -> None:
    choice, had = made([1] * 300, seed=5), set[int]()
    for _ in range(6000):
        picked = choice.pick(0.0)
        choice.release(picked, 0.0)
        had.add(picked)
    assert len(had) == 300


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-53], ids=["least", "most"])
def test_any_random_number_is_a_place(draw: float) -> None:
    ring = HashRing(["a"])
    assert ConsistentHashChoice([Member("a")], ring, 1.25, lambda: draw).pick(0.0) == 0


def test_skipped_targets_leave_their_calls_and_their_weight_out() -> None:
    choice = made([10, 1, 1], [500, 1, 1])
    had = Counter(choice.pick(0.0, {0}, "k") for _ in range(98))
    # Of the 100 calls that the two have then, each may have 1.25 halves, rounded up.
    assert sorted(had.values()) == [36, 62]


def test_all_skipped_is_as_none_skipped() -> None:
    for key in KEYS[:20]:
        assert made([1, 2, 3]).pick(0.0, {0, 1, 2}, key) == made([1, 2, 3]).pick(0.0, (), key)


def test_a_pick_passes_by_few_targets_however_many_there_are() -> None:
    looked: list[int] = []

    class Counting(ConsistentHashChoice):
        def _has_room(self, index: int, total: int, weight: int) -> bool:
            looked[-1] += 1
            return super()._has_room(index, total, weight)

    for many in (20, 200, 1000):
        members = [Member(f"t{index}") for index in range(many)]
        ring = HashRing([each.name for each in members], vnodes=16)
        choice = Counting(members, ring, 1.25, random.Random(0).random)
        rng, looked = random.Random(1), []
        for _ in range(10 * many):
            looked.append(0)
            choice.pick(0.0, (), rng.randbytes(8))
        assert sum(looked) / len(looked) < 4
