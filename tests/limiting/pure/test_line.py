"""Who waits for tokens: in order, exactly as long as the limit demands, and no token is lost."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.limiting.pure.limits import limit

from escala.limiting.plan import Plan
from escala.limiting.pure.algorithms import machine_of
from escala.limiting.pure.gcra import GcraMachine
from escala.limiting.pure.line import Turn, WaitingLines
from escala.limiting.pure.machine import Machine


def line(
    burst: int = 1, rate: float = 1.0, *, strict: bool = False
) -> tuple[GcraMachine, WaitingLines[str]]:
    machine = GcraMachine((limit(rate, burst=burst),), 2, strict=strict)
    return machine, WaitingLines(machine)


def emptied(burst: int = 1) -> tuple[GcraMachine, WaitingLines[str]]:
    machine, lines = line(burst)
    assert machine.take("k", burst, 0.0) == 0.0
    return machine, lines


def test_turns_come_one_after_the_other() -> None:
    machine, lines = emptied()
    assert lines.first_due("k") == math.inf
    first, second, third = (lines.join("k", 1, 0.0) for _ in range(3))
    assert [first.due, second.due, third.due] == [1.0, 2.0, 3.0]
    assert (lines.owed("k"), lines.waiting(), lines.first_due("k")) == (3, 3, 1.0)
    assert first.waker is None
    assert not first.granted
    assert machine.wait("k", 1, 0.0, lines.owed("k")) == 4.0, "who comes now would be the fourth"


def test_keys_have_lines_of_their_own() -> None:
    machine, lines = emptied()
    machine.take("other", 1, 0.5)
    lines.join("k", 1, 0.5)
    assert lines.join("other", 1, 0.5).due == 1.5
    assert (lines.owed("k"), lines.owed("other"), lines.owed("none")) == (1, 1, 0)
    assert lines.waiting() == 2
    assert lines.settle("none", 9.0) == []
    assert lines.moved("none", 9.0) == []


def test_a_burst_lets_the_first_come_sooner() -> None:
    _, lines = emptied(burst=3)
    assert lines.join("k", 2, 0.5).due == 2.0
    assert lines.join("k", 1, 0.5).due == 3.0
    assert lines.owed("k") == 3


def test_whoever_comes_by_serves_all_whose_turn_has_come() -> None:
    machine, lines = emptied()
    first, second, third = (lines.join("k", 1, 0.0) for _ in range(3))
    assert lines.settle("k", 0.9) == []
    assert not first.granted
    assert lines.settle("k", 2.0) == [first, second], "who are served are told, in order"
    assert [first.granted, second.granted, third.granted] == [True, True, False]
    assert (lines.owed("k"), lines.waiting(), lines.first_due("k")) == (1, 1, 3.0)
    lines.settle("k", 7.5)
    assert third.granted
    assert (lines.owed("k"), lines.waiting(), lines.lines) == (0, 0, {})
    assert machine.take("k", 1, 7.5) == 0.0, "being late cost no one anything"


def test_a_turn_that_was_put_off_is_served_in_the_same_look_if_it_has_come_again() -> None:
    machine, lines = emptied()
    waits = lines.join("k", 1, 0.0)
    assert machine.take("k", 1, 1.0) == 0.0, "by someone who knew of no line"
    assert lines.settle("k", 1.5) == []
    assert waits.due == 2.0
    lines.leave(waits, 1.5)
    waits = lines.join("k", 1, 1.5)
    assert machine.take("k", 1, 2.0) == 0.0
    assert lines.settle("k", 3.5) == [waits], "due at 2, put off to 3, and it is past 3"


def test_a_strict_limit_charges_those_who_are_late_as_of_now() -> None:
    machine, lines = line(strict=True)
    machine.take("k", 1, 0.0)
    first, second = lines.join("k", 1, 0.0), lines.join("k", 1, 0.0)
    lines.settle("k", 1.75)
    assert first.granted
    assert second.due == 2.75
    lines.settle("k", 2.5)
    assert not second.granted
    lines.settle("k", 2.75)
    assert second.granted
    assert machine.wait("k", 1, 2.75) == 1.0


def test_when_the_first_leaves_the_next_moves_up_at_once() -> None:
    _, lines = emptied()
    first, second, third = (lines.join("k", 1, 0.0) for _ in range(3))
    assert lines.leave(first, 0.5) == [second]
    assert (second.due, third.due) == (1.0, 3.0)
    told = lines.settle("k", 1.0)
    assert told == [second, third], "it is told when it has become the next"
    assert third.due == 2.0
    assert lines.settle("k", 2.0) == [third]
    assert third.granted


def test_when_one_in_the_middle_leaves_the_first_stays() -> None:
    _, lines = emptied()
    first, second, third = (lines.join("k", 1, 0.0) for _ in range(3))
    assert lines.leave(second, 0.5) == []
    assert (first.due, third.due, lines.owed("k")) == (1.0, 3.0, 2)
    assert lines.settle("k", 1.0) == [first, third]
    assert third.due == 2.0


def test_when_the_last_leaves_the_next_newcomer_has_its_place() -> None:
    _, lines = emptied()
    lines.join("k", 1, 0.0)
    last = lines.join("k", 1, 0.0)
    assert lines.leave(last, 0.0) == []
    assert lines.join("k", 1, 0.0).due == 2.0


def test_one_that_left_gives_nothing_back_later() -> None:
    machine, lines = emptied()
    gone, second = lines.join("k", 1, 0.0), lines.join("k", 1, 0.0)
    assert lines.leave(gone, 0.0) == [second]
    before = dict(machine.keys.states)
    assert lines.leave(gone, 0.0) == []
    lines.settle("k", 1.0)
    assert second.granted
    assert lines.leave(gone, 1.0) == [], "nor when the line has ended"
    assert machine.keys.states != before
    assert machine.wait("k", 1, 1.0) == 1.0


def test_one_that_was_served_and_leaves_gives_its_tokens_to_the_next() -> None:
    machine, lines = emptied()
    first, second = lines.join("k", 1, 0.0), lines.join("k", 1, 0.0)
    lines.settle("k", 1.25)
    assert lines.leave(first, 1.25) == [second]
    assert second.due == 1.25
    lines.settle("k", 1.25)
    assert second.granted
    assert lines.leave(second, 1.25) == []
    assert machine.take("k", 1, 1.25) == 0.0
    assert lines.leave(second, 1.25) == [], "once"
    assert machine.take("k", 1, 1.25) > 0


def test_who_joins_late_is_not_due_before_it_came() -> None:
    _, lines = emptied()
    lines.join("k", 1, 0.0)
    late = lines.join("k", 1, 0.75)
    assert late.due == 2.0
    first = next(iter(lines.lines["k"].turns))
    lines.leave(first, 9.0)
    assert late.due == 1.0


def test_the_first_moves_up_when_tokens_come_back() -> None:
    machine, lines = emptied(burst=2)
    first, second = lines.join("k", 2, 0.0), lines.join("k", 1, 0.0)
    machine.give_back("k", 1, 0.5)
    assert lines.moved("k", 0.5) == [first]
    assert (first.due, second.due) == (1.0, 3.0)
    assert lines.moved("k", 0.5) == [], "no nearer than that"
    machine.forget("k")
    assert lines.moved("k", 0.6) == [first]
    assert first.due == 0.6
    assert lines.settle("k", 0.6) == [first, second]
    assert second.due == pytest.approx(1.6)


def test_all_who_are_served_sooner_than_they_know_are_told() -> None:
    machine, lines = emptied(burst=3)
    turns = [lines.join("k", 1, 0.0) for _ in range(4)]
    machine.forget("k")
    assert lines.moved("k", 0.0) == [turns[0]]
    assert lines.settle("k", 0.0) == turns
    assert [turn.granted for turn in turns] == [True, True, True, False]
    assert turns[3].due == 1.0


def test_tokens_that_went_elsewhere_make_the_first_wait_longer() -> None:
    machine, lines = emptied()
    first = lines.join("k", 1, 0.0)
    assert machine.take("k", 1, 1.0) == 0.0  # not through the line
    assert lines.settle("k", 1.0) == []
    assert not first.granted
    assert first.due == 2.0
    lines.settle("k", 2.0)
    assert first.granted


def test_a_forgotten_key_keeps_its_line() -> None:
    machine, lines = emptied()
    first, second = lines.join("k", 1, 0.0), lines.join("k", 1, 0.0)
    for other in "ab":
        machine.take(other, 1, 0.0)
    machine.take("c", 1, 0.0)
    assert "k" not in machine.keys.states
    assert (first.due, second.due) == (1.0, 2.0)
    lines.settle("k", 1.0)
    assert first.granted
    assert second.due == 2.0


PLANS = {
    "gcra": ("token_bucket", (limit(1, burst=3),)),
    "two": ("token_bucket", (limit(2, burst=3), limit(6, 8.0))),
    "fixed": ("fixed_window", (limit(3, 2.0),)),
    "log": ("sliding_window_log", (limit(3, 2.0),)),
    "logs": ("sliding_window_log", (limit(3, 2.0), limit(5, 4.0))),
    "counter": ("sliding_window_counter", (limit(3, 2.0),)),
}


def machine_named(name: str) -> Machine[Any]:
    algorithm, limits = PLANS[name]
    return machine_of(Plan(algorithm=algorithm, limits=limits, name=name), 4)


@given(
    st.sampled_from(sorted(PLANS)),
    st.lists(st.integers(1, 3), min_size=1, max_size=12),
    st.randoms(),
)
def test_when_all_leave_it_is_as_if_none_had_come(name: str, costs: list[int], random: Any) -> None:
    machine = machine_named(name)
    lines = WaitingLines[str](machine)
    assert machine.take("k", 3, 0.0) == 0.0
    before = machine.granted("k", 0.5)
    turns = [lines.join("k", cost, 0.5) for cost in costs]
    random.shuffle(turns)
    for turn in turns:
        lines.leave(turn, 0.5)
    assert machine.granted("k", 0.5) == before
    assert lines.lines == {}


@given(st.sampled_from(sorted(PLANS)), st.integers(1, 40), st.sampled_from([0.0, 0.5, 1.5]))
def test_what_a_caller_is_told_when_it_comes_is_when_its_turn_is(
    name: str, callers: int, now: float
) -> None:
    """Where all cost the same and no one leaves, the moment is exact from the beginning.

    Several limits that hold each other up, and two counts that cannot foresee on which side of a
    window's end a call will fall, may name a moment too early: a caller finds out when it wakes.
    """
    machine = machine_named(name)
    lines = WaitingLines[str](machine)
    for _ in range(3):
        assert machine.take("k", 1, 0.0) == 0.0
    turns = []
    for _ in range(callers):
        if machine.wait("k", 1, now, lines.owed("k")):
            turns.append(lines.join("k", 1, now))
        else:
            machine.take("k", 1, now)
    told = [turn.due for turn in turns]
    passed = now
    while not all(turn.granted for turn in turns):
        passed = max(passed, lines.first_due("k"))
        lines.settle("k", passed)
    due = [turn.due for turn in turns]
    assert due == sorted(due)
    if name in {"counter", "logs", "two"}:
        assert all(first <= last + 1e-9 for first, last in zip(told, due, strict=True))
    else:
        assert due == pytest.approx(told, abs=1e-4)


class InVirtualTime(RuleBasedStateMachine):
    """Callers come, wait, leave; the model replays who passed on a machine of its own.

    No one passes whom that machine would not let pass, no one overtakes, and the first in line
    passes at the moment from which on that machine would let it.
    """

    @initialize(name=st.sampled_from(sorted(PLANS)))
    def build(self, name: str) -> None:
        self.machine, self.model = machine_named(name), machine_named(name)
        self.lines = WaitingLines[str](self.machine)
        self.now = 0.0
        self.waiting: list[Turn[str]] = []
        self.told: set[Turn[str]] = set()

    @rule(cost=st.integers(1, 3))
    def come(self, cost: int) -> None:
        self.settle()
        owed = self.lines.owed("k")
        assert owed == sum(turn.cost for turn in self.waiting)
        if not owed and self.machine.take("k", cost, self.now) == 0.0:
            assert self.model.take("k", cost, self.now) == 0.0
            return
        assert self.machine.wait("k", cost, self.now, owed) > 0, "no one is overtaken"
        self.waiting.append(self.lines.join("k", cost, self.now))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.settle()
        if self.waiting:
            turn = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
            self.lines.leave(turn, self.now)

    @rule(pause=st.sampled_from([0.25, 0.5, 1.0, 3.0]))
    def pass_time(self, pause: float) -> None:
        self.now += pause

    @rule()
    def settle(self) -> None:
        self.lines.settle("k", self.now)
        while self.waiting and self.waiting[0].granted:
            turn = self.waiting.pop(0)
            assert turn.due <= self.now
            assert self.model.take("k", turn.cost, turn.due) == 0.0, "the limit holds"
        assert not any(turn.granted for turn in self.waiting), "first come, first served"

    @invariant()
    def the_first_is_due_as_soon_as_the_limit_allows(self) -> None:
        if getattr(self, "waiting", None) and not self.waiting[0].granted:
            head = self.waiting[0]
            assert head.due == self.lines.first_due("k")
            wait = self.model.wait("k", head.cost, min(head.due, self.now))
            assert head.due <= min(head.due, self.now) + wait + 1e-4


InVirtualTime.TestCase.settings = settings(stateful_step_count=50, deadline=None)
TestInVirtualTime = InVirtualTime.TestCase
