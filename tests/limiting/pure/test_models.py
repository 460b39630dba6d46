"""Each machine beside a model that remembers every call: a hundred thousand steps each."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.limiting.pure.limits import limit

from escala.limiting.plan import Limit, Plan
from escala.limiting.pure.algorithms import machine_of

STEPS, RUNS = 3_400, 10  # for each of three sets of limits
Passed = list[tuple[float, int]]  # when, and how many

# Pauses are multiples of 1/64 s and rates of powers of two, so that every sum is exact and the
# models, which compute otherwise, may be compared to the last bit.
LIMITS = (limit(4, 0.5), limit(16, 8.0))


def bucket(passed: Passed, limit: Limit, now: float) -> float:
    """How much is used of a bucket, from every call there was."""
    used, last = 0.0, 0.0
    for at, cost in passed:
        used, last = max(0.0, used - (at - last) * limit.rate) + cost, at
    return max(0.0, used - (now - last) * limit.rate)


def log(passed: Passed, limit: Limit, now: float) -> float:
    return sum(cost for at, cost in passed if at + limit.period > now)


def counter(passed: Passed, limit: Limit, now: float) -> float:
    window = math.floor(now / limit.period)
    share = now / limit.period - window
    before = sum(cost for at, cost in passed if math.floor(at / limit.period) == window - 1)
    return before * (1 - share) + sum(
        cost for at, cost in passed if math.floor(at / limit.period) == window
    )


def fixed(passed: Passed, limit: Limit, now: float) -> float:
    end, used = -math.inf, 0
    for at, cost in passed:
        if at >= end:
            end, used = at + limit.period, 0
        used += cost
    return used if now < end else 0


MODELS: dict[str, Callable[[Passed, Limit, float], float]] = {
    "token_bucket": bucket,
    "sliding_window_log": log,
    "sliding_window_counter": counter,
    "fixed_window": fixed,
}


@pytest.mark.parametrize("algorithm", MODELS)
@pytest.mark.parametrize("limits", [LIMITS[:1], LIMITS[1:], LIMITS], ids=["one", "slow", "both"])
@settings(max_examples=RUNS, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_decides_as_the_model_does(algorithm: str, limits: Any, seed: int) -> None:
    rng, model = Random(seed), MODELS[algorithm]
    machine = machine_of(Plan(algorithm=algorithm, limits=limits, name="model"), 10)
    calm = 4 * max(limit.period for limit in limits)
    passed: Passed = []
    now = 0.0
    for _ in range(STEPS):
        now += rng.choice([0.0, 0.0, 1 / 64, 1 / 8, 0.5, 1.0, 8.0 * (rng.random() < 0.05)])
        cost = rng.choice([1, 1, 1, 2, 4])
        used = [model(passed, each, now) for each in limits]
        free = [each.burst - part for each, part in zip(limits, used, strict=True)]
        decision = machine.decide("k", cost, now)
        assert decision.allowed is all(part >= cost for part in free)
        if decision.allowed:
            passed.append((now, cost))
            free = [part - cost for part in free]
            assert decision.retry_after == 0.0
        else:
            assert decision.retry_after > 0
            lacking = limits[decision.decided_by]
            later = now + decision.retry_after
            assert lacking.burst - model(passed, lacking, later + 1e-9) >= cost - 1e-6
            if decision.retry_after > 1e-6:
                assert lacking.burst - model(passed, lacking, later - 1e-6) < cost
        assert [left for left, _ in decision.standings] == [math.floor(part) for part in free]
        for each, (_, reset) in zip(limits, decision.standings, strict=True):
            assert model(passed, each, now + reset + 1e-9) == pytest.approx(0, abs=1e-6)
        if len(passed) > 60:  # a quiet time, after which nothing counts
            passed, now = [], now + calm


@pytest.mark.parametrize("burst", [1, 2, 3, 9, 10])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_strict_bucket_lets_no_period_hold_more(burst: int, seed: int) -> None:
    from escala import TokenBucket

    rng, most, period = Random(seed), 10, 3.0
    limiter = TokenBucket(f"{most}/3s", burst=burst, strict=True)
    now, window = 1e6 * rng.random(), list[float]()
    for _ in range(400):
        wait = limiter._machine.wait("", 1, now)
        now += rng.choice([wait, wait, wait, 0.0, 0.01, 1.0, period, 30 * (rng.random() < 0.1)])
        for _ in range(rng.randint(1, 12)):
            if limiter._machine.take("", 1, now) == 0.0:
                window = [at for at in window if at >= now - period]  # both ends count
                window.append(now)
                assert len(window) <= most
