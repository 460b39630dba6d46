"""When the next copy starts, and what decides the race."""

from __future__ import annotations

import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from escala.resilience.pure.hedge import Ending, HedgeRace


def started(copies: int, *, most: int = 3, delay: float = 2.0) -> HedgeRace:
    race = HedgeRace(most=most, delay=delay)
    for copy in range(copies):
        race.start(10.0 + copy)
    return race


def test_the_first_is_due_at_once_and_each_other_after_the_delay() -> None:
    race = started(0)
    assert race.due == -math.inf
    assert (race.started, race.delay) == (0, 2.0)
    race.start(10.0)
    assert (race.started, race.due) == (1, 12.0)
    race.start(13.0)
    assert (race.started, race.due) == (2, 15.0)
    race.start(15.0)
    assert (race.started, race.due) == (3, math.inf)


def test_a_race_of_one_has_no_second() -> None:
    assert started(1, most=1).due == math.inf


def test_what_is_refused_is_never_due_again() -> None:
    race = started(1)
    race.refuse()
    assert race.due == math.inf
    assert race.started == 1


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_the_first_success_wins_whatever_failed_before(copies: int) -> None:
    race = started(copies)
    for _ in range(copies - 1):
        assert race.end(well=False) is Ending.WAIT
    assert race.end(well=True) is Ending.WON


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_it_is_lost_when_all_that_were_started_have_failed(copies: int) -> None:
    race = started(copies)
    ends = [race.end(well=False) for _ in range(copies)]
    assert ends == [Ending.WAIT] * (copies - 1) + [Ending.LOST]


class RaceModel(RuleBasedStateMachine):
    """Copies that start, fail and answer in any order, beside plain lists of them."""

    @initialize(most=st.integers(1, 5), delay=st.floats(0, 9))
    def begin(self, most: int, delay: float) -> None:
        self.race, self.most, self.delay = HedgeRace(most=most, delay=delay), most, delay
        self.now, self.running, self.failed, self.refused = 0.0, 1, 0, False
        self.last_start = 0.0
        self.race.start(0.0)
        self.over: Ending | None = None

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.over is None and self.now >= self.race.due)
    @rule()
    def start(self) -> None:
        self.race.start(self.now)
        self.running += 1
        self.last_start = self.now

    @precondition(lambda self: self.over is None)
    @rule()
    def refuse(self) -> None:
        self.race.refuse()
        self.refused = True

    @precondition(lambda self: self.over is None)
    @rule(well=st.booleans())
    def end(self, well: bool) -> None:
        ending = self.race.end(well=well)
        self.running -= 1
        self.failed += not well
        if well:
            assert ending is Ending.WON
        elif self.running:
            assert ending is Ending.WAIT
        else:
            assert ending is Ending.LOST
        if ending is not Ending.WAIT:
            self.over = ending

    @invariant()
    def bounded(self) -> None:
        if not hasattr(self, "race"):
            return
        started = self.running + self.failed + (self.over is Ending.WON)
        assert self.race.started == started <= self.most
        full = started == self.most or self.refused
        assert self.race.due == (math.inf if full else self.last_start + self.delay)


TestRaceModel = RaceModel.TestCase
