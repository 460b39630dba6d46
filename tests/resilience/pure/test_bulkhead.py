"""Who may enter, who waits and who is next, against a plain list."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from escala.resilience.pure.bulkhead import BulkheadMachine, Entry


class AgainstAList(RuleBasedStateMachine):
    @initialize(slots=st.integers(1, 3), queue=st.integers(0, 3))
    def build(self, slots: int, queue: int) -> None:
        self.machine = BulkheadMachine[int](slots=slots, queue=queue)
        self.slots, self.queue = slots, queue
        self.inside: set[int] = set()
        self.unaware: set[int] = set()  # handed a slot, not yet awake
        self.line: list[int] = []
        self.names = iter(range(10**6))

    def free(self) -> int:
        return self.slots - len(self.inside) - len(self.unaware)

    @rule()
    def enter(self) -> None:
        name = next(self.names)
        entry = self.machine.enter(name)
        if self.free():
            assert entry is Entry.GRANTED
            self.inside.add(name)
        elif len(self.line) < self.queue:
            assert entry is Entry.QUEUED
            self.line.append(name)
        else:
            assert entry is Entry.FULL

    @rule()
    def take(self) -> None:
        free = self.free() > 0
        assert self.machine.take() is free
        if free:
            self.inside.add(next(self.names))

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.inside.remove(data.draw(st.sampled_from(sorted(self.inside))))
        following = self.machine.leave()
        if self.line:
            assert following == self.line[0], "first come, first served"
            self.unaware.add(self.line.pop(0))
        else:
            assert following is None

    @precondition(lambda self: self.line)
    @rule(data=st.data())
    def withdraw_from_the_queue(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.line))
        assert self.machine.withdraw(name)
        self.line.remove(name)

    @precondition(lambda self: self.unaware)
    @rule(data=st.data())
    def wake_with_a_slot(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.unaware)))
        assert not self.machine.withdraw(name)
        self.unaware.remove(name)
        self.inside.add(name)

    @rule()
    def withdraw_again(self) -> None:
        """Whoever has ended its wait has nothing to give back any more."""
        assert self.machine.withdraw(next(self.names))
        for name in self.inside:
            assert self.machine.withdraw(name)

    @invariant()
    def every_slot_is_accounted_for(self) -> None:
        if hasattr(self, "machine"):
            assert self.machine.free == self.free()
            assert self.machine.waiting == len(self.line)
            assert not (self.machine.free and self.line), "free only when no one waits"


AgainstAList.TestCase.settings = settings(stateful_step_count=40, deadline=None)
TestAgainstAList = AgainstAList.TestCase


@pytest.mark.parametrize("slots", [1, 2, 7])
def test_what_comes_back_can_be_taken_again(slots: int) -> None:
    machine = BulkheadMachine[int](slots=slots, queue=0)
    for _ in range(3):
        assert [machine.take() for _ in range(slots + 1)] == [True] * slots + [False]
        assert [machine.leave() for _ in range(slots)] == [None] * slots
