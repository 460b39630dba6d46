"""The circuit breaker's decisions: a table of its steps, and a model that remembers everything."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from escala.resilience.pure.breaker import REFUSED, BreakerMachine, BreakerState, Change

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def machine(
    failure_rate: float = 0.5, minimum_calls: int = 4, probes: int = 2, cooldown: float = 5.0
) -> BreakerMachine:
    return BreakerMachine(
        failure_rate=failure_rate,
        window=10.0,
        minimum_calls=minimum_calls,
        cooldown=cooldown,
        probes=probes,
        probe_lease=30.0,
    )


def opened(**options: float) -> BreakerMachine:
    """A breaker that four failures opened at 0."""
    breaker = machine(**options)  # type: ignore[arg-type]
    for _ in range(4):
        breaker.failed(breaker.admit(0.0), 0.0)
    return breaker


def probing(**options: float) -> tuple[BreakerMachine, int]:
    """The same at 5.0, with the first probe out."""
    breaker = opened(**options)
    return breaker, breaker.admit(5.0)


def outcomes(breaker: BreakerMachine, text: str, now: float = 0.0) -> None:
    for outcome in text:
        permit = breaker.admit(now)
        (breaker.failed if outcome == "x" else breaker.succeeded)(permit, now)


@pytest.mark.parametrize(
    ("calls", "state"),
    [
        ("", CLOSED),
        ("xxx", CLOSED),  # fewer than four calls
        ("xxxx", OPEN),
        ("xx..", OPEN),  # the fourth completes half of them failing
        ("x...", CLOSED),
        ("x...x", CLOSED),
        ("x...xx", OPEN),
        ("....xxx", CLOSED),
        ("....xxxx", OPEN),
        ("." * 40, CLOSED),
    ],
)
def test_opens_at_the_rate_once_there_are_enough_calls(calls: str, state: BreakerState) -> None:
    breaker = machine()
    outcomes(breaker, calls)
    assert breaker.state is state


@pytest.mark.parametrize("percent", range(1, 101))
def test_a_rate_in_percent_is_met_exactly(percent: int) -> None:
    breaker = machine(failure_rate=percent / 100, minimum_calls=100)
    outcomes(breaker, "." * (100 - percent) + "x" * (percent - 1))
    assert breaker.state is CLOSED
    outcomes(breaker, "x")
    assert breaker.state is OPEN


def test_old_calls_do_not_count() -> None:
    breaker = machine()
    outcomes(breaker, "xxx", now=0.0)
    outcomes(breaker, "x", now=10.0)
    assert breaker.state is CLOSED
    outcomes(breaker, "xx", now=19.0)
    assert breaker.state is CLOSED
    outcomes(breaker, "x", now=19.5)
    assert breaker.state is OPEN


@pytest.mark.parametrize("first", [".", "x"])
def test_a_call_at_the_edge_of_two_buckets_counts_in_the_later_one(first: str) -> None:
    breaker = machine(minimum_calls=3, failure_rate=0.1)
    outcomes(breaker, ".", now=0.0)
    outcomes(breaker, first, now=1.0)
    outcomes(breaker, ".", now=10.75)
    assert breaker.state is CLOSED, "two calls: that of 0.0 is past"
    outcomes(breaker, "x", now=10.75)
    assert breaker.state is OPEN, "three: that of 1.0 is not"


def test_successes_that_are_past_no_longer_hold_it_closed() -> None:
    breaker = machine()
    outcomes(breaker, "......", now=0.0)
    outcomes(breaker, "xxxx", now=5.0)
    assert breaker.state is CLOSED
    outcomes(breaker, ".", now=10.5)
    assert breaker.state is OPEN, "four of five that still count"
    assert breaker.changes == [Change(CLOSED, OPEN, 10.5, "4 of 5 calls in 10 s failed")]


def test_every_step_with_its_time_and_reason() -> None:
    breaker = opened()
    first = breaker.admit(5.0)
    breaker.failed(first, 6.0)
    second, third = breaker.admit(11.0), breaker.admit(12.0)
    breaker.succeeded(second, 13.0)
    breaker.succeeded(third, 14.0)
    outcomes(breaker, ".", now=15.0)
    assert breaker.changes == [
        Change(CLOSED, OPEN, 0.0, "4 of 4 calls in 10 s failed"),
        Change(OPEN, HALF_OPEN, 5.0, "the cooldown is over"),
        Change(HALF_OPEN, OPEN, 6.0, "a probe failed"),
        Change(OPEN, HALF_OPEN, 11.0, "the cooldown is over"),
        Change(HALF_OPEN, CLOSED, 14.0, "2 of 2 probes passed"),
    ]
    assert breaker.reason == "2 of 2 probes passed"


def test_refuses_for_the_whole_cooldown_and_says_how_much_is_left() -> None:
    breaker = opened()
    for now in (0.0, 1.0, 4.999):
        assert breaker.admit(now) == REFUSED
        assert breaker.stay_away(now) == 5.0 - now
        assert breaker.state is OPEN
    assert breaker.stay_away(7.0) == 0.0
    assert breaker.admit(5.0) != REFUSED
    assert breaker.state is HALF_OPEN


def test_lets_so_many_probes_pass_and_no_more() -> None:
    breaker, _ = probing()
    assert breaker.admit(5.0) != REFUSED
    assert [breaker.admit(5.0 + wait) for wait in range(29)] == [REFUSED] * 29
    assert breaker.stay_away(6.0) == 5.0, "a cooldown is the best guess"
    assert breaker.stay_away(34.0) == 1.0, "but no longer than the lease"
    assert breaker.stay_away(36.0) == 0.0


Step = Callable[[BreakerMachine, int], None]


@pytest.mark.parametrize(
    ("step", "state"),
    [
        (lambda breaker, probe: breaker.succeeded(probe, 6.0), HALF_OPEN),  # one of two
        (lambda breaker, probe: breaker.failed(probe, 6.0), OPEN),
        (lambda breaker, probe: breaker.returned(probe), HALF_OPEN),
    ],
    ids=["passed", "failed", "returned"],
)
def test_one_probe(step: Step, state: BreakerState) -> None:
    breaker, probe = probing()
    step(breaker, probe)
    assert breaker.state is state


def test_a_probe_that_tells_nothing_gives_its_permit_back() -> None:
    breaker, probe = probing(probes=1)
    assert breaker.admit(5.0) == REFUSED
    breaker.returned(probe)
    again = breaker.admit(5.0)
    assert again == probe, "the same epoch"
    breaker.succeeded(again, 6.0)
    assert breaker.state is CLOSED


def test_a_result_of_an_older_epoch_changes_nothing() -> None:
    breaker = machine()
    early = breaker.admit(0.0)
    outcomes(breaker, "xxxx")
    breaker.succeeded(early, 1.0)
    breaker.failed(early, 1.0)
    breaker.returned(early)
    assert breaker.state is OPEN
    probe = breaker.admit(5.0)
    breaker.failed(early, 5.0)
    breaker.succeeded(early, 5.0)
    breaker.returned(early)
    assert breaker.state is HALF_OPEN
    other = breaker.admit(5.0)
    assert other != REFUSED
    assert breaker.admit(5.0) == REFUSED, "an old permit that comes back is none of these"
    breaker.succeeded(probe, 6.0)
    breaker.succeeded(other, 6.0)
    assert breaker.state is CLOSED
    for late in (early, probe, other) * 4:
        breaker.failed(late, 7.0)
    outcomes(breaker, "xxx", now=7.0)
    assert breaker.state is CLOSED, "only these three count"


def test_probes_that_do_not_come_back_are_replaced_when_their_lease_ends() -> None:
    breaker, lost = probing()
    also_lost = breaker.admit(7.0)
    assert breaker.admit(36.9) == REFUSED
    new = breaker.admit(37.0)
    assert new not in (REFUSED, lost)
    assert breaker.changes[-1] == Change(
        HALF_OPEN, HALF_OPEN, 37.0, "no probe came back within 30 s"
    )
    breaker.failed(lost, 38.0)
    breaker.succeeded(also_lost, 38.0)
    assert breaker.state is HALF_OPEN, "what comes after its lease changes nothing"
    breaker.succeeded(new, 38.0)
    breaker.succeeded(breaker.admit(38.0), 38.0)
    assert breaker.state is CLOSED


def test_a_free_permit_is_given_out_long_after_the_lease() -> None:
    breaker, probe = probing()
    breaker.returned(probe)
    assert breaker.admit(1000.0) == probe
    assert breaker.admit(1001.0) == probe
    assert breaker.admit(1030.9) == REFUSED, "the lease is that of the last probe"
    assert breaker.admit(1031.0) not in (REFUSED, probe)


def test_the_window_begins_anew_when_it_closes_again() -> None:
    breaker, probe = probing(probes=1)
    breaker.succeeded(probe, 5.0)
    outcomes(breaker, "xxx", now=5.5)
    assert breaker.state is CLOSED
    outcomes(breaker, "x", now=5.5)
    assert breaker.state is OPEN


def test_passing_is_the_permit_while_closed_and_refusal_otherwise() -> None:
    breaker = machine(probes=1)
    assert breaker.reason == "", "nothing has happened yet"
    assert breaker.passing == breaker.admit(0.0) == breaker.epoch != REFUSED
    outcomes(breaker, "xxxx")
    assert breaker.passing == REFUSED
    probe = breaker.admit(5.0)
    assert breaker.passing == REFUSED
    breaker.succeeded(probe, 6.0)
    assert breaker.passing == breaker.admit(6.0) == breaker.epoch != REFUSED


class AgainstAModel(RuleBasedStateMachine):
    """Any order of calls, results, lost results and pauses; times are exact quarters."""

    @initialize(
        rate=st.sampled_from([0.25, 0.5, 1.0]),
        minimum=st.integers(1, 5),
        probes=st.integers(1, 3),
    )
    def build(self, rate: float, minimum: int, probes: int) -> None:
        self.breaker = machine(failure_rate=rate, minimum_calls=minimum, probes=probes)
        self.rate, self.minimum, self.probes = rate, minimum, probes
        self.now = 0.0
        self.out: list[int] = []
        self.enter(CLOSED)
        self.epochs = 1

    def enter(self, state: BreakerState) -> None:
        self.state, self.since = state, self.now
        self.epochs = getattr(self, "epochs", 0) + 1
        self.given: list[tuple[int, float]] = []  # probes: permit, when
        self.back = self.passed = 0
        self.calls: list[tuple[int, bool]] = []
        self.origin = self.now

    @rule(pause=st.sampled_from([0.25, 0.5, 1.0, 4.75, 5.0, 9.0, 10.0, 30.0]))
    def wait(self, pause: float) -> None:
        self.now += pause

    @rule()
    def call(self) -> None:
        permit = self.breaker.admit(self.now)
        if self.state is OPEN and self.now >= self.since + 5.0:
            self.enter(HALF_OPEN)
        left = self.probes - len(self.given) + self.back
        if self.state is HALF_OPEN and not left and self.now >= self.given[-1][1] + 30.0:
            self.enter(HALF_OPEN)
            left = self.probes
        expected = self.state is CLOSED or (self.state is HALF_OPEN and left > 0)
        assert (permit != REFUSED) is expected
        if not expected:
            assert 0.0 <= self.breaker.stay_away(self.now) <= 5.0
            return
        assert permit == self.epochs
        self.out.append(permit)
        if self.state is HALF_OPEN:
            self.given.append((permit, self.now))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=st.sampled_from(["failed", "succeeded", "returned"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        if outcome == "returned":
            self.breaker.returned(permit)
        else:
            getattr(self.breaker, outcome)(permit, self.now)
        if permit != self.epochs:
            return
        if self.state is HALF_OPEN:
            self.probe_ended(outcome)
        elif outcome != "returned":
            self.count(failed=outcome == "failed")

    def probe_ended(self, outcome: str) -> None:
        if outcome == "returned":
            self.back += 1
        elif outcome == "failed":
            self.enter(OPEN)
        else:
            self.passed += 1
            if self.passed == self.probes:
                self.enter(CLOSED)

    def count(self, *, failed: bool) -> None:
        if not self.calls or self.bucket() - self.calls[-1][0] >= 10:
            self.calls, self.origin = [], self.now
        self.calls.append((self.bucket(), failed))
        young = [failed for bucket, failed in self.calls if self.bucket() - bucket < 10]
        if len(young) >= self.minimum and any(young) and sum(young) >= self.rate * len(young):
            self.enter(OPEN)

    def bucket(self) -> int:
        return math.floor(self.now - self.origin)

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "breaker"):
            assert self.breaker.state is self.state
            assert self.breaker.epoch == self.epochs
            assert self.breaker.passing == (self.epochs if self.state is CLOSED else REFUSED)
            for before, after in zip(self.breaker.changes, self.breaker.changes[1:], strict=False):
                assert before.after is after.before


AgainstAModel.TestCase.settings = settings(stateful_step_count=60, deadline=None)
TestAgainstAModel = AgainstAModel.TestCase
