"""Who may enter, who waits and who is next, against a plain list."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from escala.resilience.pure.bulkhead import BulkheadMachine, Entry

PRIORITIES = st.integers(-1, 2)
STEPS = 2000


class Model:
    """The machine, and beside it what it should be, in the plainest form."""

    def __init__(self, slots: int, queue: int) -> None:
        self.machine = BulkheadMachine[int](slots=slots, queue=queue)
        self.slots, self.queue = slots, queue
        self.inside = 0
        self.unaware: list[int] = []  # handed a slot, not yet awake
        self.line: list[tuple[int, int]] = []  # minus the priority, name: in order
        self.names = 0

    @property
    def free(self) -> int:
        return self.slots - self.inside - len(self.unaware)

    def enter(self, priority: int) -> None:
        self.names += 1
        entry = self.machine.enter(self.names, priority, float(self.names))
        if self.free > 0:
            assert entry is Entry.GRANTED
            self.inside += 1
        elif len(self.line) < self.queue:
            assert entry is Entry.QUEUED
            self.line.append((-priority, self.names))
            self.line.sort()
        else:
            assert entry is Entry.FULL

    def take(self) -> None:
        free = self.free > 0
        assert self.machine.take() is free
        self.inside += free

    def leave(self) -> None:
        if self.inside:
            self.inside -= 1
            handed, expected = self.machine.leave(), self.hand(1)
            assert handed == (expected[0] if expected else None)

    def hand(self, most: int) -> list[int]:
        """Those who get a slot now: as many as there are free ones, in their order."""
        names = [name for _, name in self.line[: max(0, min(most, self.free))]]
        del self.line[: len(names)]
        self.unaware += names
        return names

    def resize(self, by: int) -> None:
        if self.slots + by > 0:
            self.slots += by
            woken = self.machine.resize(by)
            assert woken == self.hand(len(self.line))

    def push_out(self, priority: int) -> None:
        behind = [each for each in self.line if -each[0] < priority]
        assert self.machine.push_out(priority) == (behind[-1][1] if behind else None)
        if behind:
            self.line.remove(behind[-1])
            assert self.machine.withdraw(behind[-1][1]), "it has waited in vain"

    def withdraw(self, at: int) -> None:
        if self.line:
            _, name = self.line.pop(at % len(self.line))
            assert self.machine.withdraw(name)

    def wake(self, at: int) -> None:
        if self.unaware:
            name = self.unaware.pop(at % len(self.unaware))
            assert not self.machine.withdraw(name)
            self.inside += 1
            assert self.machine.withdraw(name), "a wait ends once"

    def check(self) -> None:
        machine = self.machine
        assert machine.free == self.free
        assert machine.waiting == len(self.line)
        assert machine.standing(math.inf) == (-self.line[0][0] if self.line else None)
        assert not (machine.free > 0 and self.line), "free only when no one waits"


class AgainstAList(RuleBasedStateMachine):
    """What hypothesis can shrink to the shortest way into a fault."""

    @initialize(slots=st.integers(1, 3), queue=st.integers(0, 3))
    def build(self, slots: int, queue: int) -> None:
        self.model = Model(slots, queue)

    @rule(priority=PRIORITIES)
    def enter(self, priority: int) -> None:
        self.model.enter(priority)

    @rule()
    def take(self) -> None:
        self.model.take()

    @rule()
    def leave(self) -> None:
        self.model.leave()

    @rule(by=st.integers(-2, 2))
    def resize(self, by: int) -> None:
        self.model.resize(by)

    @rule(priority=PRIORITIES)
    def push_out(self, priority: int) -> None:
        self.model.push_out(priority)

    @rule(at=st.integers(0, 9))
    def withdraw(self, at: int) -> None:
        self.model.withdraw(at)

    @rule(at=st.integers(0, 9))
    def wake(self, at: int) -> None:
        self.model.wake(at)

    @invariant()
    def every_slot_is_accounted_for(self) -> None:
        if hasattr(self, "model"):
            self.model.check()


TestAgainstAList: Any = AgainstAList.TestCase
TestAgainstAList.settings = settings(stateful_step_count=40, deadline=None)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), slots=st.integers(1, 8), queue=st.integers(0, 12))
def test_a_hundred_thousand_steps(seed: int, slots: int, queue: int) -> None:
    rng, model = Random(seed), Model(slots, queue)
    steps = {
        "enter": lambda: model.enter(rng.randrange(-1, 3)),
        "take": model.take,
        "leave": model.leave,
        "wake": lambda: model.wake(rng.randrange(99)),
        "withdraw": lambda: model.withdraw(rng.randrange(99)),
        "push_out": lambda: model.push_out(rng.randrange(-1, 3)),
        "resize": lambda: model.resize(rng.choice((-1, 1)) if slots > 1 else 0),
    }
    often = [10, 2, 10, 8, 2, 1, 1]
    for step in rng.choices(list(steps), often, k=STEPS):
        steps[step]()
        model.check()


@pytest.mark.parametrize("slots", [1, 2, 7])
def test_what_comes_back_can_be_taken_again(slots: int) -> None:
    machine = BulkheadMachine[int](slots=slots, queue=0)
    for _ in range(3):
        assert [machine.take() for _ in range(slots + 1)] == [True] * slots + [False]
        assert [machine.leave() for _ in range(slots)] == [None] * slots


def test_unless_told_otherwise_a_call_has_priority_0_and_came_at_0() -> None:
    machine = BulkheadMachine[str](slots=1, queue=3)
    machine.take()
    machine.enter("low", -1, 5.0)
    machine.enter("plain")
    machine.enter("high", 1, 7.0)
    assert [machine.standing(since) for since in (0.0, 0.1, 7.1)] == [None, 0, 1]
    assert [machine.leave() for _ in range(3)] == ["high", "plain", "low"]


def test_slots_that_are_taken_away_vanish_as_they_come_back() -> None:
    machine = BulkheadMachine[int](slots=3, queue=1)
    for _ in range(3):
        machine.take()
    machine.enter(1)
    assert machine.resize(-2) == []
    assert machine.free == -2
    assert [machine.leave() for _ in range(3)] == [None, None, 1], "the last one is still there"
    assert (machine.free, machine.waiting) == (0, 0)
    machine.enter(2)
    machine.enter(3)
    assert machine.resize(5) == [2]
    assert machine.free == 4
