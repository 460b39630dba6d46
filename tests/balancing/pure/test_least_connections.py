"""Always the least loaded, against a model that looks at every target."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from escala.balancing.pure.least_connections import LeastConnectionsChoice

LOADS = st.lists(
    st.tuples(st.integers(1, 1_000_000), st.integers(0, 1_000)), min_size=1, max_size=8
)


class Model(RuleBasedStateMachine):
    """Any picks and releases: no other target had fewer calls for its weight."""

    @initialize(loads=LOADS)
    def start(self, loads: list[tuple[int, int]]) -> None:
        self.weights = [weight for weight, _ in loads]
        self.in_flight = [count for _, count in loads]
        self.choice = LeastConnectionsChoice(self.weights, self.in_flight.copy())

    def load(self, index: int) -> Fraction:
        return Fraction(self.in_flight[index], self.weights[index])

    @rule(skip=st.sets(st.integers(0, 7), max_size=4))
    def pick(self, skip: set[int]) -> None:
        everyone = set(range(len(self.weights)))
        picked = self.choice.pick(0.0, skip)
        assert self.load(picked) == min(map(self.load, everyone - skip or everyone))
        assert picked in (everyone - skip or everyone)
        self.in_flight[picked] += 1

    @rule(count=st.integers(1, 20))
    def pick_many(self, count: int) -> None:
        for _ in range(count):
            self.pick(set())

    @precondition(lambda self: any(self.in_flight))
    @rule(data=st.data(), count=st.integers(1, 20))
    def release(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            busy = [index for index, calls in enumerate(self.in_flight) if calls]
            if busy:
                index = data.draw(st.sampled_from(busy))
                self.choice.release(index, 0.0)
                self.in_flight[index] -= 1

    @invariant()
    def memory_is_bounded(self) -> None:
        if hasattr(self, "choice"):
            assert len(self.choice._heap) <= 4 * len(self.weights) + 16


TestModel = Model.TestCase


def test_equal_targets_take_turns() -> None:
    choice = LeastConnectionsChoice([1, 1, 1], [0, 0, 0])
    order = []
    for _ in range(9):
        order.append(choice.pick(0.0))
        choice.release(order[-1], 0.0)
    assert order == [0, 1, 2] * 3


def test_equal_targets_take_turns_while_calls_go_on() -> None:
    choice = LeastConnectionsChoice([1, 1, 1], [0, 0, 0])
    assert [choice.pick(0.0) for _ in range(9)] == [0, 1, 2] * 3


@given(st.lists(st.integers(1, 10), min_size=1, max_size=6))
def test_an_idle_upstream_is_shared_by_weight(weights: list[int]) -> None:
    choice, had, rounds = LeastConnectionsChoice(weights, [0] * len(weights)), Counter[int](), 20
    for _ in range(rounds * sum(weights)):
        picked = choice.pick(0.0)
        choice.release(picked, 0.0)
        had[picked] += 1
    for index, weight in enumerate(weights):
        assert abs(had[index] - rounds * weight) <= 1 + weight


def test_load_counts_by_weight() -> None:
    choice = LeastConnectionsChoice([3, 1], [0, 0])
    had = Counter(choice.pick(0.0) for _ in range(400))
    assert had == {0: 300, 1: 100}


def test_calls_already_in_flight_count() -> None:
    choice = LeastConnectionsChoice([1, 1], [5, 3])
    assert [choice.pick(0.0) for _ in range(4)] == [1, 1, 0, 1]


def test_a_target_that_was_busy_for_long_comes_back_with_one_turn_and_no_more() -> None:
    choice = LeastConnectionsChoice([1, 1, 1], [10, 0, 0])
    for _ in range(100):
        choice.release(choice.pick(0.0), 0.0)
    for _ in range(10):
        choice.release(0, 0.0)
    order = []
    for _ in range(9):
        order.append(choice.pick(0.0))
        choice.release(order[-1], 0.0)
    assert Counter(order)[0] == 4


def test_loads_that_differ_by_the_least_possible_are_told_apart() -> None:
    # 999,998/999,999 is less than 999,999/1,000,000 by 1e-12.
    choice = LeastConnectionsChoice([1_000_000, 999_999], [999_999, 999_998])
    assert choice.pick(0.0) == 1
    choice = LeastConnectionsChoice([999_999, 1_000_000], [999_998, 999_999])
    assert choice.pick(0.0) == 0


def test_equal_loads_of_unequal_weights_are_equal() -> None:
    choice = LeastConnectionsChoice([3, 7], [3 * 11, 7 * 11])
    assert [choice.pick(0.0) for _ in range(10)].count(1) == 7


@pytest.mark.parametrize(
    ("skip", "picked", "after"), [({0}, 2, [0, 0, 2]), ({0, 2}, 1, [0, 2, 0])], ids=["0", "0, 2"]
)
def test_skipped_targets_stay_where_they_are(skip: set[int], picked: int, after: list[int]) -> None:
    choice = LeastConnectionsChoice([1, 1, 1], [0, 5, 1])
    assert choice.pick(0.0, skip) == picked
    choice.release(picked, 0.0)
    assert [choice.pick(0.0) for _ in range(3)] == after


def test_a_place_that_was_left_behind_a_skipped_target_is_not_taken_for_the_current_one() -> None:
    choice = LeastConnectionsChoice([1, 1, 1], [5, 6, 0])
    choice.release(0, 0.0)  # 4; its place at 5 stays in the heap, behind that of the idle target
    assert [choice.pick(0.0, {2}) for _ in range(3)] == [0, 0, 1]


def test_picks_past_a_skipped_target_leave_nothing_behind() -> None:
    choice = LeastConnectionsChoice([1, 1], [0, 0])
    for _ in range(100):
        assert choice.pick(0.0, {0}) == 1
    assert len(choice._heap) == 2


def test_all_skipped_is_the_least_loaded_of_all() -> None:
    choice = LeastConnectionsChoice([1, 1, 1], [4, 2, 3])
    assert choice.pick(0.0, {0, 1, 2}) == 1
    assert choice.pick(0.0, {0, 1, 2}) == 2  # 3 and 3: the turn of 1 is over
