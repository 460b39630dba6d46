"""Rise and fall, from a table and against a model that keeps the whole history."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.balancing.pure.health import Health, State, Transition

STARTING, HEALTHY, UNHEALTHY = State


def health(state: State, *, fall: int = 2, rise: int = 2) -> Health:
    """A judge that is in this state and has no streak."""
    made = Health(fall=fall, rise=rise)
    if state is HEALTHY:
        made.observe(0.0, ok=True)
    elif state is UNHEALTHY:
        for _ in range(fall):
            made.observe(0.0, ok=False)
    assert made.state is state
    return made


# Each letter is one piece of evidence: + and - are checks, c and x connections.
TABLE = [
    (STARTING, "", STARTING),
    (STARTING, "+", HEALTHY),
    (STARTING, "-", STARTING),
    (STARTING, "--", UNHEALTHY),
    (STARTING, "-+", HEALTHY),
    (STARTING, "xx", UNHEALTHY),
    (STARTING, "c", STARTING),
    (STARTING, "-x", STARTING),
    (HEALTHY, "-", HEALTHY),
    (HEALTHY, "--", UNHEALTHY),
    (HEALTHY, "-+-", HEALTHY),
    (HEALTHY, "-+--", UNHEALTHY),
    (HEALTHY, "-c-", UNHEALTHY),
    (HEALTHY, "x", HEALTHY),
    (HEALTHY, "xx", UNHEALTHY),
    (HEALTHY, "xcx", HEALTHY),
    (HEALTHY, "x+x", HEALTHY),
    (HEALTHY, "x-x", UNHEALTHY),
    (HEALTHY, "-x", HEALTHY),
    (UNHEALTHY, "+", UNHEALTHY),
    (UNHEALTHY, "++", HEALTHY),
    (UNHEALTHY, "+-+", UNHEALTHY),
    (UNHEALTHY, "+-++", HEALTHY),
    (UNHEALTHY, "cccc", UNHEALTHY),
    (UNHEALTHY, "+c+", HEALTHY),
    (UNHEALTHY, "xx++", HEALTHY),
    (UNHEALTHY, "++-", HEALTHY),
    (UNHEALTHY, "++x", HEALTHY),
]


def feed(made: Health, evidence: str, at: float = 1.0) -> list[Transition]:
    found = []
    for each in evidence:
        tell = made.observe if each in "+-" else made.report
        if change := tell(at, ok=each in "+c"):
            found.append(change)
        at += 1
    return found


@pytest.mark.parametrize(
    ("before", "evidence", "after"), TABLE, ids=[f"{a.value} {e}" for a, e, _ in TABLE]
)
def test_what_evidence_leads_to(before: State, evidence: str, after: State) -> None:
    made = health(before)
    changes = feed(made, evidence)
    assert made.state is after
    assert [change.after for change in changes[-1:]] == ([after] if after is not before else [])


def test_a_transition_says_what_when_and_why() -> None:
    made = Health(fall=3, rise=2)
    assert made.reason == "not checked yet"
    assert feed(made, "+") == [Transition(STARTING, HEALTHY, 1.0, "the first check passed")]
    assert feed(made, "---", at=5.0) == [
        Transition(HEALTHY, UNHEALTHY, 7.0, "3 checks in a row failed")
    ]
    assert made.reason == "3 checks in a row failed"
    assert feed(made, "++") == [Transition(UNHEALTHY, HEALTHY, 2.0, "2 checks in a row passed")]
    assert feed(made, "xxx") == [
        Transition(HEALTHY, UNHEALTHY, 3.0, "3 connections in a row failed")
    ]


def test_a_threshold_of_one_is_said_so() -> None:
    made = Health(fall=1, rise=1)
    changes = feed(made, "+-+x")
    assert [change.reason for change in changes] == [
        "the first check passed",
        "a check failed",
        "a check passed",
        "a connection failed",
    ]


def test_doubt_is_a_failed_connection_that_nothing_has_outweighed() -> None:
    made = health(HEALTHY)
    seen = []
    for evidence in ("-", "x", "c", "x", "+", "x", "x"):
        feed(made, evidence)
        seen.append(made.doubted)
    assert seen == [False, True, False, True, False, True, False]
    assert made.state is UNHEALTHY


def test_late_news_of_a_target_that_is_out_changes_nothing() -> None:
    made = health(UNHEALTHY)
    assert feed(made, "----xxxx") == []
    assert feed(made, "++")[0].after is HEALTHY
    assert feed(made, "-x") == [], "old streaks are over when it comes back"


@given(st.integers(1, 5), st.integers(1, 5), st.text("+-cx", max_size=60))
def test_the_machine_agrees_with_the_whole_history(fall: int, rise: int, evidence: str) -> None:
    made, state, since = Health(fall=fall, rise=rise), STARTING, ""
    for each in evidence:
        feed(made, each)
        since += each
        checks = since.replace("c", "").replace("x", "")
        connections = since.replace("-", "")
        down = each == "-" and checks.endswith("-" * fall)
        down |= each == "x" and connections.endswith("x" * fall)
        up = each == "+" and (state is STARTING or checks.endswith("+" * rise))
        if state is not UNHEALTHY and down:
            state, since = UNHEALTHY, ""
        elif state is not HEALTHY and up:
            state, since = HEALTHY, ""
        assert made.state is state
