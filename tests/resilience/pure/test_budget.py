"""How many retries all callers together may make."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from escala.resilience.pure.budget import BudgetMachine


def budget(share: float = 0.2, floor: int = 3) -> BudgetMachine:
    return BudgetMachine(share=share, floor=floor, window=10.0)


def test_a_lone_caller_may_always_retry() -> None:
    machine = budget()
    machine.call(0.0)
    for attempt in range(1000):
        assert machine.take(attempt * 0.001)
        machine.give_back()


def test_so_many_at_once_as_the_floor_says() -> None:
    machine = budget()
    machine.call(0.0)
    assert [machine.take(0.0) for _ in range(5)] == [True, True, True, False, False]
    assert machine.under_way == 3
    machine.give_back()
    assert [machine.take(0.0), machine.take(0.0)] == [True, False]


@pytest.mark.parametrize(
    ("share", "calls", "granted"),
    [(0.2, 100, 20), (0.2, 99, 19), (0.07, 100, 7), (0.0, 100, 3), (1.0, 10, 10), (0.2, 15, 3)],
)
def test_a_crowd_gets_the_share(share: float, calls: int, granted: int) -> None:
    machine = budget(share)
    for _ in range(calls):
        machine.call(0.0)
    assert sum(machine.take(0.5) for _ in range(calls)) == granted


def test_without_a_floor_the_share_alone_decides() -> None:
    machine = budget(floor=0)
    assert not machine.take(0.0), "no calls, no share of them"
    for _ in range(5):
        machine.call(0.0)
    assert [machine.take(0.0), machine.take(0.0)] == [True, False]


def test_old_calls_and_old_retries_do_not_count() -> None:
    machine = budget(floor=0)
    for _ in range(10):
        machine.call(0.0)
    assert [machine.take(1.0) for _ in range(3)] == [True, True, False]
    for _ in range(5):
        machine.call(9.0)
    assert machine.take(9.5), "15 calls, and the 2 retries so far"
    assert not machine.take(10.0), "the first 10 calls are past"
    assert not machine.take(12.0), "so are the 2 retries, but not the third"
    for _ in range(5):
        machine.call(12.0)
    assert machine.take(12.0)
    assert not machine.take(30.0), "all is past"


def test_what_happens_at_the_edge_of_two_buckets_counts_in_the_later_one() -> None:
    machine = budget(share=1.0, floor=0)
    for now in (0.0, 1.0, 10.5):
        machine.call(now)
    assert [machine.take(10.5) for _ in range(3)] == [True, True, False], "1.0 still counts"
    machine = budget(share=1.0, floor=0)
    machine.call(0.0)
    assert machine.take(1.0)
    machine.call(10.5)
    assert not machine.take(10.5), "one call, and the retry of 1.0 still counts"


@given(
    st.lists(st.tuples(st.sampled_from(["call", "retry", "end"]), st.floats(0, 2)), max_size=300),
    st.integers(0, 4),
)
def test_retries_are_few_at_once_or_few_among_calls(
    steps: list[tuple[str, float]], floor: int
) -> None:
    machine, now = budget(floor=floor), 0.0
    calls: deque[float] = deque()
    retries: deque[float] = deque()
    under_way = 0
    for step, pause in steps:
        now += pause
        if step == "call":
            machine.call(now)
            calls.append(now)
        elif step == "end" and under_way:
            machine.give_back()
            under_way -= 1
        elif step == "retry":
            # A call counts for 0.9 to 1.0 of the window: the bounds of what may be granted.
            surely = sum(now - at < 8.999 for at in calls)
            perhaps = sum(now - at < 10.001 for at in calls)
            least = sum(now - at < 8.999 for at in retries) + 1
            most = sum(now - at < 10.001 for at in retries) + 1
            if machine.take(now):
                assert under_way < floor or least <= 0.2 * perhaps + 1e-9
                retries.append(now)
                under_way += 1
            else:
                assert under_way >= floor
                assert most > 0.2 * surely - 1e-9
        assert machine.under_way == under_way


STEPS = 2000  # in each of 50 examples: 10^5 in all


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), floor=st.integers(0, 4), share=st.sampled_from([0.05, 0.2, 1.0]))
def test_a_hundred_thousand_steps(seed: int, floor: int, share: float) -> None:
    rng, machine, now = Random(seed), budget(share, floor), 0.0
    calls: list[float] = []
    retries: list[float] = []

    def since(times: list[float], seconds: float) -> int:
        return len(times) - bisect_right(times, now - seconds)

    for step in rng.choices(["call", "retry", "end"], [10, 5, 4], k=STEPS):
        now += rng.choice([0.0, 0.0, 0.01, 0.1, 0.3, 1.1]) if rng.random() < 0.99 else 13.0
        before = machine.under_way
        if step == "call":
            machine.call(now)
            calls.append(now)
        elif step == "end" and before:
            machine.give_back()
            assert machine.under_way == before - 1
        elif step == "retry" and machine.take(now):
            assert machine.under_way == before + 1
            least = since(retries, 8.999) + 1
            assert before < floor or least <= share * since(calls, 10.001) + 1e-9
            retries.append(now)
        elif step == "retry":
            assert before >= floor
            assert since(retries, 10.001) + 1 > share * since(calls, 8.999) - 1e-9


class BudgetModel(RuleBasedStateMachine):
    """Calls, retries and their ends in any order: few at once, or few among calls."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = BudgetMachine(share=0.2, floor=2, window=10.0)
        self.now = 0.0
        self.calls: list[float] = []
        self.retries: list[float] = []
        self.under_way = 0

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(times=st.integers(1, 30))
    def call(self, times: int) -> None:
        for _ in range(times):
            self.machine.call(self.now)
        self.calls += [self.now] * times

    @rule()
    def take(self) -> None:
        # What happened counts for 0.9 to 1.0 of the window.
        granted = self.machine.take(self.now)
        if granted:
            surely = self._since(self.retries, 8.999)
            assert self.under_way < 2 or surely + 1 <= 0.2 * self._since(self.calls, 10.001) + 1e-9
            self.retries.append(self.now)
            self.under_way += 1
        else:
            assert self.under_way >= 2
            perhaps = self._since(self.retries, 10.001)
            assert perhaps + 1 > 0.2 * self._since(self.calls, 8.999) - 1e-9

    def _since(self, times: list[float], age: float) -> int:
        return sum(self.now - at < age for at in times)

    @precondition(lambda self: self.under_way)
    @rule()
    def give_back(self) -> None:
        self.machine.give_back()
        self.under_way -= 1

    @invariant()
    def counts_what_is_under_way(self) -> None:
        assert self.machine.under_way == self.under_way


TestBudgetModel = BudgetModel.TestCase
