"""A key's numbers in a row lead to the same decisions as the machine that keeps them in memory."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.errors import ConfigError
from escala.limiting.plan import Limit, Plan
from escala.limiting.pure.algorithms import machine_of
from escala.limiting.pure.row import RowForm, prefix

ALGORITHMS = ["token_bucket", "leaky_bucket", "fixed_window", "sliding_window_counter"]
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


def plan(algorithm: str, *counts_and_periods: tuple[int, float], strict: bool = False) -> Plan:
    limits = [
        Limit(text=f"{n}/{period:g}s", count=n, period=period, burst=n, rate=n / period)
        for n, period in counts_and_periods or [(3, 1.0)]
    ]
    return Plan(algorithm=algorithm, limits=tuple(limits), name="api", strict=strict)


steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "peek", "refund"]),
        st.integers(1, 3),
        st.sampled_from([0.0, 0.1, 0.25, 1.0, 7.0]),
    ),
    max_size=40,
)


@every_algorithm
@pytest.mark.parametrize("limits", [[(3, 1.0)], [(3, 1.0), (7, 10.0)]], ids=["one", "two"])
@given(steps=steps)
def test_the_same_as_in_memory(
    algorithm: str, limits: list[tuple[int, float]], steps: list[tuple[str, int, float]]
) -> None:
    promised = plan(algorithm, *limits)
    form, machine = RowForm(promised, "a store"), machine_of(promised, 10)
    numbers, now = form.fresh, 1000.0
    for what, cost, pause in steps:
        now += pause
        row = form.row(numbers)
        if what == "take":
            assert row.take(cost, now, 0.0) == (machine.decide("k", cost, now), 0.0)
        elif what == "refund":
            row.give_back(cost, now)
            machine.give_back("k", cost, now)
        else:
            waits = machine.wait("k", 1, now)
            told = machine.refusal("k", 1, now) if waits else machine.granted("k", now)
            assert row.peek(now) == told
        numbers = row.numbers


def test_a_place_ahead_is_charged_now_and_said_with_its_time() -> None:
    form = RowForm(plan("token_bucket", (1, 0.5)), "a store")
    row = form.row(form.fresh)
    told = [row.take(1, 10.0, 1.0) for _ in range(4)]
    assert [(decision.allowed, sleep) for decision, sleep in told] == [
        (True, 0.0),
        (True, 0.5),
        (True, 1.0),
        (False, 0.0),
    ]
    assert told[2][0].remaining == 0
    assert told[2][0].reset_after == 0.5  # seen from when it goes on
    assert told[3][0].retry_after == 1.5
    assert told[3][0].remaining == 0  # never fewer than none
    row.give_back(1, 10.0)
    assert row.take(1, 10.0, 1.0)[1] == 1.0


@pytest.mark.parametrize("algorithm", ["fixed_window", "sliding_window_counter"])
def test_a_window_gives_no_place_ahead(algorithm: str) -> None:
    form = RowForm(plan(algorithm, (1, 1.0)), "a store")
    assert not form.reserves
    row = form.row(form.fresh)
    row.take(1, 10.0, 0.0)
    before = row.numbers
    decision, sleep = row.take(1, 10.0, 100.0)
    assert (decision.allowed, sleep) == (False, 0.0)
    assert row.numbers == before


def test_a_strict_bucket_gives_no_place_ahead() -> None:
    assert RowForm(plan("token_bucket"), "a store").reserves
    assert RowForm(plan("leaky_bucket"), "a store").reserves
    assert not RowForm(plan("token_bucket", strict=True), "a store").reserves


@every_algorithm
def test_as_many_numbers_for_each_limit(algorithm: str) -> None:
    form = RowForm(plan(algorithm, (3, 1.0), (7, 10.0)), "a store")
    assert len(form.fresh) == 2 * form.width
    assert form.row(form.fresh).numbers == form.fresh
    assert form.fresh[0] == -math.inf


def test_a_log_of_calls_is_no_row() -> None:
    with pytest.raises(ConfigError) as caught:
        RowForm(plan("sliding_window_log"), "SQLite")
    assert str(caught.value) == (
        "api: store: sliding_window_log keeps the time of each call, and SQLite would write all "
        "of them anew at each; expected one of token_bucket, leaky_bucket, fixed_window, "
        "sliding_window_counter, or a store such as 'redis://localhost:6379'"
    )


def test_limiters_that_promise_something_else_have_other_keys() -> None:
    first = plan("token_bucket")
    others = [
        plan("fixed_window"),
        plan("token_bucket", strict=True),
        plan("token_bucket", (3, 2.0)),
        plan("token_bucket", (4, 1.0)),
        plan("token_bucket", (3, 1.0), (3, 1.0)),
        msgspec.structs.replace(first, name="web"),
    ]
    assert prefix(first) == prefix(plan("token_bucket"))
    assert prefix(first).startswith("api:")
    assert len({prefix(each) for each in [first, *others]}) == 7
