"""The circuit breaker's decisions, each at its boundary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from escala.resilience.pure.breaker import (
    REFUSED,
    UNCOUNTED,
    BreakerMachine,
    BreakerRules,
    Change,
)
from escala.resilience.pure.breaker_table import BreakerState

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def machine(**rules: Any) -> BreakerMachine:
    given = {"minimum_calls": 4, "probes": 2, **rules}
    return BreakerMachine(BreakerRules(**given))


def opened(**rules: Any) -> BreakerMachine:
    """A breaker that four failures opened at 0."""
    breaker = machine(**rules)
    for _ in range(4):
        breaker.failed(breaker.admit(0.0), 0.0)
    return breaker


def probing(**rules: Any) -> tuple[BreakerMachine, int]:
    """The same at 5.0, with the first probe out."""
    breaker = opened(**rules)
    return breaker, breaker.admit(5.0)


def outcomes(breaker: BreakerMachine, text: str, now: float = 0.0) -> None:
    """Calls that end well (.), fail (x), are slow (s), or fail slowly (X)."""
    for outcome in text:
        permit = breaker.admit(now)
        if outcome in "xX":
            breaker.failed(permit, now, slow=outcome == "X")
        else:
            (breaker.slowed if outcome == "s" else breaker.succeeded)(permit, now)


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


def test_the_rules_it_goes_by_when_none_are_given() -> None:
    assert BreakerRules() == (0.5, None, None, 10.0, None, 20, 5.0, None, 1, 30.0)


@pytest.mark.parametrize(
    ("calls", "state", "reason"),
    [
        ("sss", CLOSED, ""),
        ("s...", CLOSED, ""),
        ("ss..", OPEN, "2 of 4 calls in 10 s were slow"),  # a quick one makes them enough
        ("s.s.", OPEN, "2 of 4 calls in 10 s were slow"),
        ("...sss", OPEN, "3 of 6 calls in 10 s were slow"),
        ("XX..", OPEN, "2 of 4 calls in 10 s were slow"),  # and not 2 of 4 failed: 75 % must
        ("XXX.", OPEN, "3 of 4 calls in 10 s failed"),
        ("xsx.", CLOSED, ""),
        ("xxsx", OPEN, "3 of 4 calls in 10 s failed"),
    ],
)
def test_slow_calls_have_a_rate_of_their_own(calls: str, state: BreakerState, reason: str) -> None:
    breaker = machine(failure_rate=0.75, slow_rate=0.5)
    outcomes(breaker, calls)
    assert (breaker.state, breaker.reason) == (state, reason)


def test_a_slow_call_is_a_call_where_no_one_looks_at_slow_ones() -> None:
    breaker = machine(failure_rate=0.5, slow_rate=None)
    outcomes(breaker, "ssssss")
    assert breaker.state is CLOSED
    outcomes(breaker, "XXXXX")
    assert breaker.state is CLOSED
    outcomes(breaker, "X")
    assert breaker.reason == "6 of 12 calls in 10 s failed"


def test_a_failure_is_quick_unless_it_is_said_to_be_slow() -> None:
    breaker = machine(failure_rate=None, slow_rate=0.5)
    for _ in range(9):
        breaker.failed(breaker.admit(0.0), 0.0)
    assert breaker.state is CLOSED


def test_slow_calls_that_are_past_no_longer_count() -> None:
    breaker = machine(slow_rate=0.5, failure_rate=None)
    outcomes(breaker, "ss.", now=0.0)
    outcomes(breaker, "s.", now=10.0)
    outcomes(breaker, "..", now=10.0)
    assert breaker.state is CLOSED, "one of four"
    outcomes(breaker, "ss", now=11.0)
    assert breaker.reason == "3 of 6 calls in 10 s were slow"


@pytest.mark.parametrize(
    ("calls", "state"),
    [
        ("xx", CLOSED),
        ("xxx", OPEN),
        ("xx.xx", CLOSED),
        ("xx.xxx", OPEN),
        ("xxsxx", CLOSED),
        ("xsxxx", OPEN),
        ("..." * 99 + "xxx", OPEN),
        ("XX.XXX", OPEN),
    ],
)
def test_failures_in_a_row(calls: str, state: BreakerState) -> None:
    breaker = machine(failure_rate=None, consecutive=3)
    outcomes(breaker, calls)
    assert breaker.state is state
    assert breaker.reason == ("3 calls in a row failed" if state is OPEN else "")


def test_failures_in_a_row_may_be_hours_apart_and_a_success_between_them_is_seen() -> None:
    breaker = machine(failure_rate=None, consecutive=3)
    for hour in range(2):
        outcomes(breaker, "x", now=hour * 3600.0)
    outcomes(breaker, ".", now=3 * 3600.0)
    outcomes(breaker, "xx", now=4 * 3600.0)
    assert breaker.state is CLOSED
    outcomes(breaker, "x", now=5 * 3600.0)
    assert breaker.state is OPEN


def test_the_first_of_both_opens_it() -> None:
    for calls, reason in (("xxx", "3 calls in a row failed"), ("x.x.", "2 of 4 calls in 10 s")):
        breaker = machine(consecutive=3)
        outcomes(breaker, calls)
        assert breaker.reason.startswith(reason)


def test_a_streak_ends_with_the_epoch() -> None:
    breaker = machine(failure_rate=None, consecutive=2, probes=1)
    outcomes(breaker, "xx")
    breaker.succeeded(breaker.admit(5.0), 5.0)
    outcomes(breaker, "x", now=6.0)
    assert breaker.state is CLOSED


@pytest.mark.parametrize(
    ("calls", "state"),
    [
        ("xx..", CLOSED),
        ("xx..x", CLOSED),
        ("xx..xx", CLOSED),  # ..xx of the last four is fine, since three are needed
        ("xx.x", OPEN),
        ("xx...xx.x", OPEN),
        ("xx.." * 30, CLOSED),
    ],
)
def test_of_the_last_calls(calls: str, state: BreakerState) -> None:
    breaker = machine(window_calls=4, failure_rate=0.75)
    outcomes(breaker, calls)
    assert breaker.state is state
    assert breaker.reason == ("3 of the last 4 calls failed" if state is OPEN else "")


def test_calls_count_in_a_window_of_calls_however_old_they_are() -> None:
    breaker = machine(window_calls=4, failure_rate=1.0)
    for day in range(4):
        outcomes(breaker, "x", now=day * 86_400.0)
    assert breaker.state is OPEN


@pytest.mark.parametrize("cap", [None, 5.0, 12.0, 20.0, 1000.0])
def test_the_cooldown_doubles_while_probes_fail_and_begins_anew_when_they_pass(
    cap: float | None,
) -> None:
    breaker, now = opened(cooldown_cap=cap, probes=1), 0.0
    for expected in (5.0, 10.0, 20.0, 40.0):
        cooldown = 5.0 if cap is None else min(cap, expected)
        assert breaker.cooldown == breaker.stay_away(now) == cooldown
        assert breaker.admit(now + cooldown - 0.001) == REFUSED
        now += cooldown
        breaker.failed(breaker.admit(now), now)
    now += breaker.cooldown
    breaker.succeeded(breaker.admit(now), now)
    assert breaker.cooldown == 5.0
    outcomes(breaker, "xxxx", now)
    assert breaker.stay_away(now) == 5.0


def test_new_probes_do_not_make_the_cooldown_longer() -> None:
    breaker, _ = probing(cooldown_cap=60.0, probes=1)
    assert breaker.admit(35.0) != REFUSED
    assert breaker.cooldown == 5.0


def test_a_slow_probe_opens_it_again() -> None:
    breaker, probe = probing()
    breaker.slowed(probe, 6.0)
    assert (breaker.state, breaker.reason) == (OPEN, "a probe was slow")
    breaker.slowed(probe, 6.0)
    assert breaker.stay_away(6.0) == 5.0, "once"


def test_a_late_slow_call_changes_nothing() -> None:
    breaker = machine(slow_rate=0.5)
    early = breaker.admit(0.0)
    outcomes(breaker, "xxxx")
    breaker.succeeded(breaker.admit(5.0), 5.0)
    breaker.succeeded(breaker.admit(5.0), 5.0)
    for _ in range(9):
        breaker.slowed(early, 6.0)
    assert breaker.state is CLOSED


@pytest.mark.parametrize("before", ["closed", "open", "half-open", "forced-open", "disabled"])
def test_switched_by_hand(before: str) -> None:
    def begin() -> BreakerMachine:
        if before in ("open", "half-open"):
            return opened() if before == "open" else probing()[0]
        breaker = machine()
        if before != "closed":
            breaker.switch("disabled" if before == "disabled" else "forced_open", 0.0)
        return breaker

    forced = begin()
    assert forced.state.value == before
    forced.switch("forced_open", 6.0)
    assert [forced.admit(now) for now in (6.0, 1e9)] == [REFUSED] * 2
    assert forced.stay_away(6.0) is None
    assert forced.reason == "it was switched to forced_open"
    assert forced.changes[-1].after is BreakerState.FORCED_OPEN

    disabled = begin()
    disabled.switch("disabled", 6.0)
    assert disabled.passing == disabled.admit(6.0) == UNCOUNTED
    outcomes(disabled, "xxxxxxsssss", now=6.0)
    assert disabled.state is BreakerState.DISABLED

    for mode in ("enforce", "shadow"):
        anew = begin()
        early = anew.epoch
        anew.switch(mode, 6.0)
        assert anew.passing == anew.admit(6.0) == anew.epoch != early
        outcomes(anew, "xxx", now=6.0)
        anew.failed(early, 6.0)
        assert anew.state is CLOSED
        outcomes(anew, "x", now=6.0)
        assert anew.state is OPEN


@pytest.mark.parametrize(
    ("mode", "state", "permit", "reason"),
    [
        ("enforce", CLOSED, 1, ""),
        ("shadow", CLOSED, 1, "it was switched to shadow"),
        ("disabled", BreakerState.DISABLED, UNCOUNTED, "it was switched to disabled"),
        ("forced_open", BreakerState.FORCED_OPEN, REFUSED, "it was switched to forced_open"),
    ],
)
def test_made_in_a_mode(mode: Any, state: BreakerState, permit: int, reason: str) -> None:
    breaker = BreakerMachine(BreakerRules(), mode)
    assert (breaker.state, breaker.passing, breaker.admit(0.0)) == (state, permit, permit)
    assert (breaker.reason, breaker.changes) == (reason, [])
    for _ in range(99):
        breaker.failed(UNCOUNTED, 0.0)
    assert breaker.state is state, "no permit of a call that counts"


def test_forgotten_while_calls_are_under_way() -> None:
    closed = machine()
    permit = closed.admit(0.0)
    closed.forget()
    for _ in range(9):
        closed.failed(permit, 0.0)
    assert closed.admit(0.0) == UNCOUNTED
    assert closed.state is CLOSED
    half_open, probe = probing()
    half_open.forget()
    half_open.failed(probe, 6.0)
    assert (half_open.state, half_open.passing) == (HALF_OPEN, REFUSED)
    renewed, lost = probing(probes=1)
    renewed.admit(35.0)
    renewed.forget()
    renewed.failed(lost, 36.0)
    assert renewed.state is HALF_OPEN, "nor one from before"


def test_follows_what_the_other_processes_do() -> None:
    breaker = machine()
    outcomes(breaker, "xxx")
    breaker.follow(CLOSED, 1.0, 0.0, "elsewhere")
    assert (breaker.changes, breaker.reason) == ([], "")
    breaker.follow(OPEN, 1.0, 3.5, "9 of 9 calls failed")
    assert breaker.stay_away(1.0) == 3.5
    breaker.follow(OPEN, 2.0, 3.0, "the same")
    assert (breaker.stay_away(2.0), breaker.reason) == (3.0, "9 of 9 calls failed")
    breaker.follow(HALF_OPEN, 5.0, 0.0, "the cooldown is over")
    assert breaker.admit(5.0) == breaker.admit(34.9) == REFUSED, "the store gives out the probes"
    assert breaker.admit(35.0) != REFUSED, "but not for ever, if it has gone away"
    breaker.follow(CLOSED, 36.0, 0.0, "1 of 1 probes passed")
    outcomes(breaker, "xxx", now=36.0)
    assert breaker.state is CLOSED
    assert breaker.changes == [
        Change(CLOSED, OPEN, 1.0, "9 of 9 calls failed"),
        Change(OPEN, HALF_OPEN, 5.0, "the cooldown is over"),
        Change(HALF_OPEN, HALF_OPEN, 35.0, "no probe came back within 30 s"),
        Change(HALF_OPEN, CLOSED, 36.0, "1 of 1 probes passed"),
    ]
