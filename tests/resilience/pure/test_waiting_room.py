"""Waiters by priority, against a sorted list."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from escala.resilience.pure.waiting_room import WaitingRoom


class AgainstAList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.room = WaitingRoom[int]()
        self.line: list[tuple[int, int, float]] = []  # minus the priority, name, moment
        self.names = 0

    @rule(priority=st.integers(-2, 2), passed=st.integers(0, 3))
    def add(self, priority: int, passed: int) -> None:
        self.names += 1
        now = float(self.names * 10 + passed)
        self.room.add(self.names, priority, now)
        self.line.append((-priority, self.names, now))
        self.line.sort()

    @precondition(lambda self: self.line)
    @rule()
    def first(self) -> None:
        assert self.room.first() == self.line.pop(0)[1]

    @rule(priority=st.integers(-3, 3))
    def last_behind(self, priority: int) -> None:
        expected = None
        if self.line and -self.line[-1][0] < priority:
            expected = self.line.pop()[1]
        assert self.room.last_behind(priority) == expected

    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        name = data.draw(st.integers(0, self.names + 1))
        self.room.discard(name)
        self.line = [each for each in self.line if each[1] != name]

    @invariant()
    def same(self) -> None:
        assert len(self.room) == len(self.line)
        for since in (0.0, *(each[2] for each in self.line), 10.0 * self.names + 9):
            standing = [-priority for priority, _, moment in self.line if moment < since]
            assert self.room.standing(since) == max(standing, default=None)


TestWaitingRoom: Any = AgainstAList.TestCase
TestWaitingRoom.settings = settings(stateful_step_count=60)


def test_nothing_is_kept_of_those_who_have_gone() -> None:
    room = WaitingRoom[int]()
    for number in range(100):
        room.add(number, number, 0.0)
    for number in range(50):
        room.discard(number)
    while len(room):
        room.first()
    assert (room._levels, room._priorities, room.places) == ({}, [], {})
