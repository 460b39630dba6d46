"""Token buckets in one number, against buckets that count their tokens as exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.limiting.pure.limits import limit

from escala.limiting.pure.gcra import GcraMachine
from escala.limiting.pure.machine import Machine


def machine(rate: float = 10.0, burst: int = 5, max_keys: int = 100) -> GcraMachine:
    return GcraMachine((limit(rate, burst=burst),), max_keys)


def granted(bucket: GcraMachine, tries: int, now: float, key: str = "") -> int:
    return sum(bucket.take(key, 1, now) == 0.0 for _ in range(tries))


def test_a_new_bucket_is_full_and_refills_at_the_rate() -> None:
    bucket = machine()
    assert granted(bucket, 20, 0.0) == 5
    assert granted(bucket, 20, 0.05) == 0
    assert granted(bucket, 20, 0.1) == 1
    assert granted(bucket, 20, 0.4) == 3
    assert granted(bucket, 20, 100.0) == 5


def test_keys_have_buckets_of_their_own() -> None:
    bucket = machine()
    assert granted(bucket, 20, 0.0, "a") == granted(bucket, 20, 0.0, "b") == 5
    assert len(bucket.keys) == 2


@pytest.mark.parametrize(
    ("taken", "cost", "now", "wait"),
    [
        (0, 5, 0.0, 0.0),
        (5, 1, 0.0, 0.1),
        (5, 5, 0.0, 0.5),
        (5, 1, 0.05, 0.05),
        (3, 2, 0.0, 0.0),
        (3, 3, 0.0, 0.1),
        (5, 1, 0.1, 0.0),
    ],
)
def test_says_how_long_to_wait_and_takes_nothing_then(
    taken: int, cost: int, now: float, wait: float
) -> None:
    bucket = machine()
    granted(bucket, taken, 0.0)
    before = dict(bucket.keys.states)
    assert bucket.take("", cost, now) == pytest.approx(wait)
    if wait:
        assert bucket.keys.states == before
        assert bucket.wait("", cost, now) == pytest.approx(wait)
        assert bucket.take("", cost, now + wait) == 0.0, "then it is granted"


def test_decide_says_how_things_stand() -> None:
    bucket = machine()
    first = bucket.decide("", 2, 0.0)
    assert (first.allowed, first.limit, first.remaining) == (True, 5, 3)
    assert first.reset_after == pytest.approx(0.2)
    assert first.retry_after == 0.0
    second = bucket.decide("", 4, 0.0)
    assert (second.allowed, second.remaining) == (False, 3)
    assert second.reset_after == pytest.approx(0.2)
    assert second.retry_after == pytest.approx(0.1)
    third = bucket.decide("", 3, 0.05)
    assert (third.allowed, third.remaining) == (True, 0)
    refused = bucket.refusal("", 1, 0.05, ahead=2)
    assert (refused.allowed, refused.remaining, refused.decided_by) == (False, 0, 0)
    assert refused.retry_after == pytest.approx(0.25)
    assert refused.each == ()
    assert refused.standings == ((0, refused.reset_after),)
    assert refused.reset_after == pytest.approx(0.45)
    later = bucket.granted("", 10.0)
    assert (later.allowed, later.remaining, later.reset_after) == (True, 5, 0.0)
    assert (later.limit, later.retry_after) == (5, 0.0)
    fresh = bucket.decide("new", 2, 10.0)
    assert (fresh.allowed, fresh.remaining, fresh.retry_after) == (True, 3, 0.0)
    assert fresh.reset_after == pytest.approx(0.2)


def test_the_wait_counts_those_ahead() -> None:
    bucket = machine()
    assert bucket.wait("", 5, 0.0) == 0.0
    assert bucket.wait("", 1, 0.0, ahead=4) == 0.0
    assert bucket.wait("", 1, 0.0, ahead=5) == pytest.approx(0.1)
    assert bucket.wait("", 3, 0.0, ahead=100) == pytest.approx(9.8)
    assert bucket.take("", 5, 0.0) == 0.0
    assert bucket.wait("", 3, 0.1, ahead=100) == pytest.approx(10.2)
    assert bucket.wait("", 3, 99.0, ahead=0) == 0.0


def test_what_is_given_back_can_be_taken_again_and_never_more() -> None:
    bucket = machine()
    assert granted(bucket, 5, 0.0) == 5
    bucket.give_back("", 2, 0.0)
    assert granted(bucket, 9, 0.0) == 2
    bucket.give_back("", 99, 0.0)
    assert granted(bucket, 9, 0.0) == 5
    bucket.give_back("", 1, 99.0)
    assert granted(bucket, 9, 99.0) == 5
    bucket.give_back("unknown", 1, 99.0)
    assert "unknown" not in bucket.keys.states


def test_what_is_forgotten_begins_anew_and_makes_room() -> None:
    bucket = machine(max_keys=1)
    assert granted(bucket, 9, 0.0, "a") == 5
    bucket.forget("a")
    assert granted(bucket, 9, 0.0, "a") == 5
    bucket.forget("a")
    bucket.forget("unknown")
    assert len(bucket.keys) == 1
    assert bucket.granted("a", 0.0).remaining == 5
    assert granted(bucket, 1, 0.0, "b") == 1
    assert list(bucket.keys.states) == ["b"]


def test_says_whether_it_is_strict() -> None:
    assert not machine().strict
    assert GcraMachine((limit(1),), 1, strict=True).strict


@pytest.mark.parametrize("now", [0.0, 1e3, 123_456.789, 1e7])
@pytest.mark.parametrize("rate", [0.001, 1 / 3, 7.0, 1000.0])
def test_exactly_the_burst_is_granted_however_floats_round(rate: float, now: float) -> None:
    bucket = machine(rate=rate, burst=5_000)
    assert granted(bucket, 5_100, now) == 5_000
    assert granted(bucket, 5_100, now + 2_500 / rate) in (2_499, 2_500)


@given(
    st.fractions(Fraction(1, 100), 1000, max_denominator=100),
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(1, 6), st.fractions(0, 2, max_denominator=64)), max_size=80),
)
def test_grants_what_exact_buckets_grant(
    rate: Fraction, burst: int, steps: list[tuple[int, Fraction]]
) -> None:
    bucket = machine(rate=float(rate), burst=burst)
    tokens, now = Fraction(burst), Fraction(0)
    for wanted, pause in steps:
        cost = min(wanted, burst)
        now += pause
        tokens = min(Fraction(burst), tokens + pause * rate)
        answer = bucket.decide("k", cost, float(now))
        close = abs(tokens - cost) < Fraction(1, 10**5)
        assert close or answer.allowed is (tokens >= cost)
        if answer.allowed:
            tokens = max(Fraction(0), tokens - cost)
        else:
            assert answer.retry_after == pytest.approx(
                float((cost - tokens) / rate), abs=1e-5 / rate
            )
        near = abs(tokens - round(tokens)) < Fraction(1, 10**5)
        assert answer.remaining == (round(tokens) if near else math.floor(tokens))
        assert answer.reset_after == pytest.approx(float((burst - tokens) / rate), abs=1e-4 / rate)


@given(
    st.floats(0.1, 100),
    st.integers(1, 10),
    st.lists(st.floats(0, 1), min_size=1, max_size=100),
)
def test_no_time_sees_more_than_burst_and_rate_allow(
    rate: float, burst: int, pauses: list[float]
) -> None:
    bucket, now = machine(rate=rate, burst=burst), 0.0
    passed: list[float] = []
    for pause in pauses:
        now += pause
        if bucket.take("", 1, now) == 0.0:
            passed.append(now)
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            allowed = burst + rate * (passed[last] - start)
            assert last - first + 1 <= allowed + 1e-4


def test_a_key_that_is_full_again_makes_room_and_loses_nothing() -> None:
    bucket = machine(max_keys=2)
    assert granted(bucket, 9, 0.0, "a") == 5
    bucket.take("b", 1, 0.0)
    bucket.take("c", 1, 0.2)
    assert set(bucket.keys.states) == {"a", "c"}, "b is full again"
    assert granted(bucket, 9, 0.2, "a") == 2, "a was not"


def test_many_keys_take_constant_room() -> None:
    bucket = machine(max_keys=50)
    for number in range(1000):
        bucket.take(str(number), 1, 0.0)
    assert len(bucket.keys) == 50


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 5), st.floats(0, 2)), max_size=60),
    st.booleans(),
)
def test_the_shorter_way_goes_where_every_machine_goes(
    steps: list[tuple[str, int, float]], decides: bool
) -> None:
    short, long, now = machine(), machine(), 0.0
    for key, cost, pause in steps:
        now += pause
        if decides:
            answer, other = short.decide(key, cost, now), Machine.decide(long, key, cost, now)
            assert (answer.allowed, answer.remaining) == (other.allowed, other.remaining)
            assert answer.retry_after == pytest.approx(other.retry_after, abs=1e-6)
            assert answer.reset_after == pytest.approx(other.reset_after, abs=1e-6)
        else:
            wait = Machine.take(long, key, cost, now)
            assert short.take(key, cost, now) == pytest.approx(wait, abs=1e-6)
        assert short.keys.states == pytest.approx(long.keys.states)
