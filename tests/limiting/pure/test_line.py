"""Who waits for tokens: in order, exactly as long as the rate demands, and no token is lost."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from escala.limiting.pure.gcra import GcraMachine
from escala.limiting.pure.line import Turn, WaitingLines


def line(burst: int = 1, rate: float = 1.0) -> tuple[GcraMachine, WaitingLines[str]]:
    machine = GcraMachine(rate=rate, burst=burst, max_keys=2)
    return machine, WaitingLines(machine.keys, burst)


def join(machine: GcraMachine, lines: WaitingLines[str], now: float, cost: int = 1) -> Turn[str]:
    assert machine.take("k", cost, now) > 0
    return lines.join("k", cost)


def test_turns_come_one_after_the_other() -> None:
    machine, lines = line()
    assert machine.take("k", 1, 0.0) == 0.0
    assert [join(machine, lines, 0.0).due for _ in range(3)] == [1.0, 2.0, 3.0]
    assert lines.waiting("k") == 3
    assert join(machine, lines, 0.0).waker is None
    assert lines.waiting("other") == 0
    assert machine.take("k", 1, 0.0) == 5.0, "who comes now would be the fifth"


def test_a_burst_lets_the_first_come_sooner() -> None:
    machine, lines = line(burst=3)
    assert machine.take("k", 3, 0.0) == 0.0
    assert join(machine, lines, 0.5, cost=2).due == 2.0
    assert join(machine, lines, 0.5, cost=1).due == 3.0


def test_who_is_served_moves_no_one() -> None:
    machine, lines = line()
    machine.take("k", 1, 0.0)
    first, second = join(machine, lines, 0.0), join(machine, lines, 0.0)
    assert lines.served(first) is None
    assert second.due == 2.0
    assert lines.served(second) is None
    assert lines.waiting("k") == 0
    assert machine.take("k", 1, 2.5) == 0.5


def test_when_the_first_leaves_the_next_moves_up_at_once() -> None:
    machine, lines = line()
    machine.take("k", 1, 0.0)
    first, second, third = (join(machine, lines, 0.0) for _ in range(3))
    assert lines.left(first) is second
    assert (second.due, third.due) == (1.0, 3.0)
    assert lines.served(second) is third, "it is told when it has become the next"
    assert third.due == 2.0
    assert lines.served(third) is None


def test_when_one_in_the_middle_leaves_the_first_stays() -> None:
    machine, lines = line()
    machine.take("k", 1, 0.0)
    first, second, third = (join(machine, lines, 0.0) for _ in range(3))
    assert lines.left(second) is None
    assert (first.due, third.due) == (1.0, 3.0)
    assert lines.served(first) is third
    assert third.due == 2.0


def test_when_the_last_leaves_the_next_newcomer_has_its_place() -> None:
    machine, lines = line()
    machine.take("k", 1, 0.0)
    join(machine, lines, 0.0)
    last = join(machine, lines, 0.0)
    lines.left(last)
    assert join(machine, lines, 0.0).due == 2.0


def test_one_that_wakes_late_holds_up_no_one() -> None:
    machine, lines = line()
    machine.take("k", 1, 0.0)
    late, punctual = join(machine, lines, 0.0), join(machine, lines, 0.0)
    assert lines.served(punctual) is None
    assert late.due == 1.0
    assert lines.waiting("k") == 1
    lines.served(late)
    assert machine.take("k", 1, 2.0) == 1.0


def test_one_that_was_taken_out_as_gone_gives_nothing_back_later() -> None:
    machine, lines = line()
    machine.take("k", 1, 0.0)
    gone, second = join(machine, lines, 0.0), join(machine, lines, 0.0)
    assert lines.left(gone) is second
    before = dict(machine.keys.moments)
    assert lines.left(gone) is lines.served(gone) is None
    assert lines.served(second) is None
    assert lines.left(gone) is lines.left(second) is None, "nor when the line has ended"
    assert machine.keys.moments == before


def test_a_forgotten_key_keeps_what_was_promised() -> None:
    machine, lines = line()
    machine.take("k", 1, 0.0)
    first, second = join(machine, lines, 0.0), join(machine, lines, 0.0)
    for other in "ab":
        machine.take(other, 1, 0.0)
    del machine.keys.moments["k"]  # as eviction does
    assert lines.left(first) is None
    assert second.due == 2.0
    assert lines.served(second) is None
    assert "k" not in machine.keys.moments


@given(st.lists(st.integers(1, 3), min_size=1, max_size=12), st.randoms())
def test_when_all_leave_it_is_as_if_none_had_come(costs: list[int], random: object) -> None:
    machine, lines = line(burst=3)
    machine.take("k", 3, 0.0)
    before = dict(machine.keys.moments)
    turns = [join(machine, lines, 0.0, cost) for cost in costs]
    random.shuffle(turns)  # type: ignore[attr-defined]
    for turn in turns:
        lines.left(turn)
    assert machine.keys.moments == before
    assert lines._lines == {}


class InVirtualTime(RuleBasedStateMachine):
    """Callers come, wait, leave; each is served at its due moment or (rarely) a little late."""

    @initialize(burst=st.integers(1, 3))
    def build(self, burst: int) -> None:
        self.machine, self.lines = line(burst)
        self.burst = burst
        self.now = 0.0
        self.waiting: list[Turn[str]] = []
        self.served: list[tuple[float, int]] = []  # at which moment, so many tokens
        self.told: dict[Turn[str], float] = {}  # when a turn moved up, perhaps to the past

    @rule(cost=st.integers(1, 3))
    def come(self, cost: int) -> None:
        cost = min(cost, self.burst)
        wait = self.machine.take("k", cost, self.now)
        if wait == 0.0:
            assert not self.waiting or self.waiting[-1].due <= self.now, "no one is overtaken"
            self.served.append((self.now, cost))
            return
        turn = self.lines.join("k", cost)
        assert turn.due == pytest.approx(self.now + wait)
        self.waiting.append(turn)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        turn = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        self.moved(self.lines.left(turn), self.now)

    @rule(pause=st.sampled_from([0.25, 0.5, 1.0, 3.0]), late=st.booleans())
    def pass_time(self, pause: float, late: bool) -> None:
        self.now += pause
        while due := [turn for turn in self.waiting if turn.due <= self.now - 0.25 * late]:
            turn = self.waiting.pop(0)
            assert turn is due[0], "first come, first served"
            at = max(turn.due, self.told.get(turn, 0.0))
            self.served.append((at, turn.cost))
            self.moved(self.lines.served(turn), at)

    def moved(self, turn: Turn[str] | None, at: float) -> None:
        if turn is not None:
            assert turn is self.waiting[0], "only the next one is told"
            self.told[turn] = at

    @invariant()
    def never_more_than_burst_and_rate(self) -> None:
        if not hasattr(self, "served"):
            return
        recent = sorted(self.served)[-12:]
        for first, (start, _) in enumerate(recent):
            tokens = 0
            for at, cost in recent[first:]:
                tokens += cost
                assert tokens <= self.burst + (at - start) + 1e-6

    @invariant()
    def no_token_is_lost(self) -> None:
        """Whoever is next has its turn as soon as the tokens given so far allow it."""
        if not getattr(self, "waiting", None):
            return
        full = -math.inf
        for at, cost in sorted(self.served):
            full = max(full, at) + cost
        head = self.waiting[0]
        assert head.due <= max(full + head.cost - self.burst, self.now) + 1e-6


InVirtualTime.TestCase.settings = settings(stateful_step_count=50, deadline=None)
TestInVirtualTime = InVirtualTime.TestCase
