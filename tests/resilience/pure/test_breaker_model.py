"""The circuit breaker against a model that remembers every call, and against its own table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.resilience.pure.breaker import REFUSED, UNCOUNTED, BreakerMachine, BreakerRules
from escala.resilience.pure.breaker_table import TRANSITIONS, BreakerState, Transition

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
FORCED_OPEN, DISABLED = BreakerState.FORCED_OPEN, BreakerState.DISABLED

STEPS = 1000  # in each of 100 examples: 10^5 in all
PAUSES = (0.25, 0.5, 1.0, 4.75, 5.0, 9.0, 10.0, 30.0)  # exact in binary, as are the buckets
ENDS = ("well", "well", "failed", "slow", "slow failure", "returned")
MODES: tuple[Any, ...] = ("enforce", "shadow", "disabled", "forced_open")

rules = st.builds(
    BreakerRules,
    failure_rate=st.sampled_from([0.25, 0.5, 1.0, None]),
    slow_rate=st.sampled_from([0.5, 1.0, None]),
    consecutive=st.sampled_from([1, 3, None]),
    window_calls=st.sampled_from([None, None, 5, 1]),
    window=st.just(10.0),
    minimum_calls=st.integers(1, 5),
    cooldown=st.just(5.0),
    cooldown_cap=st.sampled_from([None, 5.0, 12.0, 1000.0]),
    probes=st.integers(1, 3),
    probe_lease=st.just(30.0),
)


class Model:
    """The same rules by lists of everything that ever happened in this epoch."""

    def __init__(self, rules: BreakerRules) -> None:
        self.rules, self.now, self.cooldown = rules, 0.0, rules.cooldown
        self.epoch = 0
        self.enter(CLOSED)

    def enter(self, state: BreakerState) -> None:
        if state is CLOSED:
            self.cooldown = self.rules.cooldown
        self.state, self.until = state, self.now + self.cooldown
        self.epoch += 1
        self.given: list[float] = []  # when each probe began
        self.back = self.passed = 0
        self.calls: list[tuple[int, bool, bool]] = []  # bucket, failed, slow
        self.results: list[bool] = []  # failed
        self.origin = self.now
        self.followed = False

    def reopen(self) -> None:
        if self.rules.cooldown_cap is not None:
            self.cooldown = min(self.cooldown * 2, self.rules.cooldown_cap)
        self.enter(OPEN)

    def admit(self) -> int:
        if self.state in (CLOSED, DISABLED):
            return self.epoch if self.state is CLOSED else UNCOUNTED
        if self.state is OPEN and self.now >= self.until:
            self.enter(HALF_OPEN)
        if self.state is not HALF_OPEN:
            return REFUSED
        if not self.left() and self.now >= self.given[-1] + self.rules.probe_lease:
            self.enter(HALF_OPEN)
        if not self.left():
            return REFUSED
        self.given.append(self.now)
        return self.epoch

    def left(self) -> int:
        own = 0 if self.followed else self.rules.probes
        return own - (len(self.given) - self.followed) + self.back

    def end(self, permit: int, how: str) -> None:
        if permit != self.epoch:
            return
        failed, slow = how.endswith(("failed", "failure")), how.startswith("slow")
        if self.state is HALF_OPEN:
            self.back += how == "returned"
            self.passed += how == "well"
            if failed or slow:
                self.reopen()
            elif self.passed == self.rules.probes:
                self.enter(CLOSED)
        elif how != "returned":
            self.count(failed=failed, slow=slow)

    def count(self, *, failed: bool, slow: bool) -> None:
        self.results.append(failed)
        streak = next((at for at, each in enumerate(reversed(self.results)) if not each), None)
        streak = len(self.results) if streak is None else streak
        if not self.calls or self.bucket() - self.calls[-1][0] >= 10:
            self.origin = self.now
            if self.rules.window_calls is None:
                self.calls = []
        self.calls.append((self.bucket(), failed, slow))
        calls = self.rules.window_calls
        if calls is None:
            seen = [call for call in self.calls if self.bucket() - call[0] < 10]
        else:
            seen = self.calls[-calls:]
        enough = len(seen) >= self.rules.minimum_calls
        limits = (self.rules.failure_rate, self.rules.slow_rate)
        for which, limit in enumerate(limits, start=1):
            share = sum(call[which] for call in seen) / len(seen)
            if enough and limit is not None and share >= limit:
                self.enter(OPEN)
                return
        if self.rules.consecutive is not None and streak >= self.rules.consecutive:
            self.enter(OPEN)

    def bucket(self) -> int:
        return math.floor(self.now - self.origin)


class Run:
    """One machine and one model through the same steps; which step, says a byte."""

    def __init__(self, rules: BreakerRules) -> None:
        self.breaker, self.model = BreakerMachine(rules), Model(rules)
        self.out: list[int] = []

    def step(self, byte: int) -> None:
        kind, which = byte % 8, byte // 8
        if kind == 0:
            self.model.now += PAUSES[which % len(PAUSES)] if which else 0.0
        elif kind <= 3:
            self.call()
        elif kind <= 6:
            self.end(which)
        elif self.model.state in (FORCED_OPEN, DISABLED):
            self.switch(which % 2)
        elif which == 0:
            self.switch(len(self.out) % 4)
        elif which == 1:
            self.follow((CLOSED, OPEN, HALF_OPEN)[len(self.out) % 3])
        else:
            self.call()

    def switch(self, which: int) -> None:
        self.breaker.switch(MODES[which], self.model.now)
        self.model.enter((CLOSED, CLOSED, DISABLED, FORCED_OPEN)[which])

    def call(self) -> None:
        now = self.model.now
        permit = self.breaker.admit(now)
        assert permit == self.model.admit()
        if permit != REFUSED:
            self.out.append(permit)
        elif self.model.state is OPEN:
            assert self.breaker.stay_away(now) == self.model.until - now > 0
        elif self.model.state is HALF_OPEN:
            ends = self.model.given[-1] + self.model.rules.probe_lease
            assert self.breaker.stay_away(now) == min(self.model.cooldown, ends - now) > 0
        else:
            assert self.breaker.stay_away(now) is None

    def end(self, which: int) -> None:
        if not self.out:
            return
        permit = self.out.pop(which % len(self.out) if which % 4 else -1)
        how, now = ENDS[which % len(ENDS)], self.model.now
        if how == "returned":
            self.breaker.returned(permit)
        elif how == "well":
            self.breaker.succeeded(permit, now)
        elif how == "slow":
            self.breaker.slowed(permit, now)
        else:
            self.breaker.failed(permit, now, slow=how != "failed")
        self.model.end(permit, how)

    def follow(self, state: BreakerState) -> None:
        now, left = self.model.now, 2.5
        self.breaker.follow(state, now, left, "elsewhere")
        if state is not self.model.state:
            self.model.enter(state)
            self.model.given, self.model.followed = [now], state is HALF_OPEN
        if state is OPEN:
            self.model.until = now + left

    def agree(self) -> None:
        breaker, model = self.breaker, self.model
        assert breaker.state is model.state
        assert breaker.epoch == model.epoch
        passing = {CLOSED: model.epoch, DISABLED: UNCOUNTED}.get(model.state, REFUSED)
        assert breaker.passing == passing
        assert breaker.cooldown == model.cooldown


def listed(before: BreakerState, after: BreakerState) -> Iterator[Transition]:
    return (each for each in TRANSITIONS if each.after is after and each.before in (None, before))


@given(rules, st.binary(min_size=STEPS, max_size=STEPS))
def test_a_model_takes_the_same_steps(rules: BreakerRules, steps: bytes) -> None:
    run = Run(rules)
    for at, byte in enumerate(steps):
        run.step(byte)
        run.agree()
        for change in run.breaker.changes:
            assert any(listed(change.before, change.after)), (at, change)
            assert change.at == run.model.now
        run.breaker.changes.clear()


def machine(**given: Any) -> BreakerMachine:
    return BreakerMachine(BreakerRules(**{"minimum_calls": 1, **given}))


def fail(breaker: BreakerMachine, now: float = 0.0) -> BreakerMachine:
    breaker.failed(breaker.admit(now), now)
    return breaker


def slow(breaker: BreakerMachine) -> BreakerMachine:
    breaker.slowed(breaker.admit(0.0), 0.0)
    return breaker


def probe(breaker: BreakerMachine) -> BreakerMachine:
    assert breaker.admit(5.0) != REFUSED
    return breaker


def passed(breaker: BreakerMachine) -> BreakerMachine:
    breaker.succeeded(breaker.admit(5.0), 5.0)
    return breaker


def renewed(breaker: BreakerMachine) -> BreakerMachine:
    assert breaker.admit(35.0) != REFUSED
    return breaker


def switched(breaker: BreakerMachine, mode: Any) -> BreakerMachine:
    breaker.switch(mode, 5.0)
    return breaker


def followed(breaker: BreakerMachine, state: BreakerState) -> BreakerMachine:
    breaker.follow(state, 5.0, 1.0, "elsewhere")
    return breaker


# A breaker that has just taken each step of the table, in its order.
TAKEN: list[tuple[str, BreakerMachine]] = [
    ("`failure_rate` of them failed", fail(machine())),
    ("`slow_rate` of them took `slow` or longer", slow(machine(slow_rate=0.5))),
    ("`consecutive` calls in a row failed", fail(machine(failure_rate=None, consecutive=1))),
    ("a call comes after the cooldown", probe(fail(machine()))),
    ("a probe failed or was slow", fail(fail(machine()), 5.0)),
    ("`probes` of them passed", passed(fail(machine()))),
    ("none came back for `probe_lease`", renewed(probe(fail(machine())))),
    ("`switch` to `enforce` or `shadow`", switched(fail(machine()), "shadow")),
    ("`switch` to `forced_open`", switched(machine(), "forced_open")),
    ("`switch` to `disabled`", switched(machine(), "disabled")),
    ("another process closed it", followed(fail(machine()), CLOSED)),
    ("another process opened it", followed(machine(), OPEN)),
    ("the probes of all processes began", followed(machine(), HALF_OPEN)),
]


@pytest.mark.parametrize("at", range(len(TRANSITIONS)))
def test_every_step_of_the_table_is_taken(at: int) -> None:
    step, (when, breaker) = TRANSITIONS[at], TAKEN[at]
    assert when in step.when
    assert breaker.changes[-1].after is step.after
    assert step.before in (None, breaker.changes[-1].before)


def test_the_table_lists_each_step_once() -> None:
    assert len(TAKEN) == len(TRANSITIONS) == len(set(TRANSITIONS))
    assert {step.after for step in TRANSITIONS} == set(BreakerState)
