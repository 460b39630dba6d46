"""What one of several processes asks the store, and what it makes of the answer."""

from __future__ import annotations

from typing import Any

import pytest

from escala.resilience.pure.breaker import REFUSED, BreakerRules
from escala.resilience.pure.breaker_table import BreakerState
from escala.resilience.pure.shared_breaker import Answer, Question, SharedMachine

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def machine(probes: int = 1, **rules: Any) -> SharedMachine:
    return SharedMachine(BreakerRules(consecutive=1, probes=probes, **rules), refresh=0.25)


def said(state: BreakerState, left: float = 0.0, **fields: Any) -> Answer:
    given = {"known": True, "granted": False, "reason": "elsewhere", **fields}
    return Answer(state=state, left=left, **given)


def opened(probes: int = 1, now: float = 0.0) -> SharedMachine:
    breaker = machine(probes)
    breaker.failed(breaker.admit(now), now)
    return breaker


def test_looks_once_in_each_interval() -> None:
    breaker = machine()
    assert [breaker.due(now) for now in (0.0, 0.1, 0.24, 0.25, 0.26, 9.0, 9.1)] == [
        *(True, False, False, True, False, True, False)
    ]


def test_what_it_asks() -> None:
    breaker = machine()
    assert breaker.ask("look") == Question(1, "look", opened=False, given_back=())
    breaker.failed(breaker.admit(0.0), 0.0)
    assert breaker.ask("look") == Question(2, "open", opened=True, given_back=())
    assert breaker.ask("probe") == Question(3, "probe", opened=True, given_back=())
    breaker.give_back("a")
    breaker.give_back("b")
    assert breaker.ask("passed").given_back == ("a", "b")
    assert breaker.ask("look").given_back == ()


def test_opens_by_itself_and_says_so_until_the_store_has_heard() -> None:
    breaker = opened()
    assert breaker.unreported
    question = breaker.ask("open")
    breaker.unheard(question, "")
    assert breaker.unreported
    breaker.learn(breaker.ask("look"), said(OPEN, 4.0), 1.0)
    assert not breaker.unreported
    assert breaker.stay_away(1.0) == 4.0
    assert breaker.ask("look").errand == "look"


@pytest.mark.parametrize("state", [CLOSED, OPEN, HALF_OPEN])
def test_goes_where_the_store_is(state: BreakerState) -> None:
    breaker = machine()
    breaker.learn(breaker.ask("look"), said(state, 3.0), 1.0)
    assert (breaker.state, breaker.unreported) == (state, False)
    assert len(breaker.changes) == (state is not CLOSED)


def test_a_store_that_knows_nothing_changes_nothing() -> None:
    breaker = opened()
    breaker.learn(breaker.ask("look"), said(CLOSED, known=False), 1.0)
    assert breaker.state is OPEN
    assert breaker.unreported


def test_an_answer_from_before_it_opened_does_not_close_it() -> None:
    breaker = machine()
    early = breaker.ask("look")
    breaker.failed(breaker.admit(0.0), 0.0)
    breaker.learn(early, said(CLOSED), 1.0)
    assert breaker.state is OPEN
    breaker.learn(breaker.ask("open"), said(CLOSED), 1.0)
    assert breaker.state is CLOSED, "the store has heard of it, and knows better"


def test_answers_are_heard_in_the_order_of_their_questions() -> None:
    breaker = machine()
    first, second = breaker.ask("look"), breaker.ask("look")
    breaker.learn(second, said(OPEN, 3.0), 1.0)
    breaker.learn(first, said(CLOSED), 1.0)
    assert breaker.state is OPEN
    breaker.learn(second, said(CLOSED), 1.0)
    assert breaker.state is CLOSED, "the same is not an earlier one"


def test_what_it_closed_alone_is_no_news() -> None:
    breaker = opened()
    breaker.succeeded(breaker.admit(5.0), 5.0)
    assert (breaker.state, breaker.unreported) == (CLOSED, False)


@pytest.mark.parametrize("end", ["failed", "slowed"])
def test_what_opened_again_alone_is(end: str) -> None:
    breaker = opened()
    permit = breaker.admit(5.0)
    assert not breaker.unreported
    getattr(breaker, end)(permit, 5.0)
    assert breaker.unreported


def test_slow_calls_and_rates_open_it_as_well() -> None:
    for rules in ({"failure_rate": 0.5}, {"slow_rate": 0.5, "failure_rate": None}):
        breaker = SharedMachine(BreakerRules(minimum_calls=1, **rules), refresh=1.0)
        breaker.failed(breaker.admit(0.0), 0.0, slow=True)
        assert breaker.unreported


def test_asks_for_a_probe_when_the_cooldown_is_over_and_not_all_at_once() -> None:
    breaker = opened(probes=2)
    assert not breaker.may_ask(4.999)
    assert [breaker.may_ask(5.0) for _ in range(4)] == [True, True, False, False]
    breaker.asked()
    assert [breaker.may_ask(5.0) for _ in range(2)] == [True, False]


def test_a_refused_probe_is_asked_for_again_after_a_while() -> None:
    for left, again in ((10.0, 5.25), (0.125, 5.125)):
        breaker = opened()
        breaker.unreported = False
        breaker.learn(breaker.ask("probe"), said(HALF_OPEN, left), 5.0)
        assert breaker.state is HALF_OPEN
        assert not breaker.may_ask(again - 0.001)
        assert breaker.may_ask(again)


def test_a_granted_probe_may_be_asked_for_again_at_once() -> None:
    breaker = opened(probes=2)
    breaker.learn(breaker.ask("probe"), said(HALF_OPEN, 0.0, granted=True), 5.0)
    assert (breaker.state, breaker.unreported) == (HALF_OPEN, False)
    assert breaker.may_ask(5.0)
    assert breaker.admit(5.0) == REFUSED, "the store gives them out"


def test_other_answers_do_not_hold_back_a_probe() -> None:
    breaker = machine()
    breaker.learn(breaker.ask("look"), said(HALF_OPEN, 10.0), 5.0)
    assert breaker.may_ask(5.0)


def test_what_was_not_heard_is_said_again() -> None:
    breaker = machine()
    breaker.give_back("a")
    question = breaker.ask("probe")
    breaker.give_back("c")
    breaker.unheard(question, "b")
    breaker.unheard(breaker.ask("look"), "")
    assert sorted(breaker.ask("look").given_back) == ["a", "b", "c"]


def test_what_is_given_back_is_said_at_once() -> None:
    breaker = machine()
    assert breaker.due(1.0)
    breaker.give_back("a")
    assert breaker.due(1.0)
    assert not breaker.due(1.0)
    breaker.unheard(breaker.ask("look"), "b")
    assert not breaker.due(1.0), "but not while the store is away"


def test_what_cannot_be_said_is_kept_within_bounds() -> None:
    breaker = machine()
    for at in range(1000):
        breaker.unheard(breaker.ask("probe"), f"probe {at}")
    assert breaker.ask("look").given_back == tuple(f"probe {at}" for at in range(936, 1000))
