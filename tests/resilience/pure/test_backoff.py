"""When the next attempt is, or why there is none."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.resilience.pure.backoff import Backoff, Bound, GiveUp, Growth, Jitter

FULL = Backoff(attempts=5, base=0.5, cap=3.0)
FOREVER = math.inf


def backoff(growth: Growth | Bound = "exponential", jitter: Jitter = "full") -> Backoff:
    return Backoff(attempts=9, base=0.5, cap=3.0, growth=growth, jitter=jitter)


@pytest.mark.parametrize(
    ("growth", "ceilings"),
    [
        ("exponential", [0.5, 1.0, 2.0, 3.0, 3.0]),
        ("linear", [0.5, 1.0, 1.5, 2.0, 2.5]),
        ("constant", [0.5, 0.5, 0.5, 0.5, 0.5]),
        (lambda attempt: attempt * 2.0, [2.0, 3.0, 3.0, 3.0, 3.0]),
    ],
    ids=["exponential", "linear", "constant", "function"],
)
def test_the_ceiling_grows_up_to_the_cap(growth: Growth | Bound, ceilings: list[float]) -> None:
    made = backoff(growth)
    assert [made.ceiling(attempt) for attempt in range(1, 6)] == ceilings


@pytest.mark.parametrize(
    ("says", "bound"), [(-1.0, 0.0), (math.nan, 3.0), (math.inf, 3.0), (-math.inf, 0.0)]
)
def test_a_function_that_says_nonsense_stays_within_the_cap(says: float, bound: float) -> None:
    assert backoff(lambda _: says).ceiling(1) == bound


def test_the_millionth_attempt_overflows_nothing() -> None:
    assert Backoff(attempts=2_000_000, base=1e9, cap=7.0).ceiling(1_000_000) == 7.0
    assert Backoff(attempts=2_000_000, base=0.0, cap=7.0).ceiling(1_000_000) == 0.0
    assert Backoff(attempts=2_000, base=1e-300, cap=99.0).ceiling(1_001) == pytest.approx(10.715086)
    assert Backoff(attempts=2_000, base=1e-300, cap=99.0).ceiling(1_500) == pytest.approx(10.715086)


@pytest.mark.parametrize(
    ("jitter", "attempt", "draw", "before", "wait"),
    [
        ("full", 1, 0.0, 0.0, 0.0),
        ("full", 3, 0.25, 9.0, 0.5),
        ("full", 4, 1.0, 0.0, 3.0),
        ("equal", 1, 0.0, 0.0, 0.25),
        ("equal", 3, 0.5, 9.0, 1.5),
        ("equal", 4, 1.0, 0.0, 3.0),
        ("none", 2, 0.0, 9.0, 1.0),
        ("none", 4, 0.5, 0.0, 3.0),
        ("decorrelated", 1, 0.0, 0.0, 0.5),
        ("decorrelated", 1, 1.0, 0.0, 1.5),
        ("decorrelated", 1, 0.5, 0.25, 1.0),
        ("decorrelated", 9, 0.0, 1.0, 0.5),
        ("decorrelated", 1, 0.5, 1.0, 1.75),
        ("decorrelated", 1, 1.0, 1.0, 3.0),
        ("decorrelated", 1, 1.0, 3.0, 3.0),
    ],
)
def test_the_wait_is_drawn_below_the_ceiling(
    jitter: Jitter, attempt: int, draw: float, before: float, wait: float
) -> None:
    assert backoff(jitter=jitter).wait(attempt, draw=draw, before=before) == wait


def test_the_first_decorrelated_wait_has_none_before_it() -> None:
    assert backoff(jitter="decorrelated").wait(1, draw=1.0) == 1.5


def test_a_cap_below_the_base_holds_whatever_the_jitter() -> None:
    made = Backoff(attempts=9, base=5.0, cap=1.0, jitter="decorrelated")
    assert made.wait(1, draw=0.0) == 1.0


@pytest.mark.parametrize(
    ("attempt", "until", "wait", "hint", "answer"),
    [
        (1, FOREVER, 0.0, None, 0.0),
        (1, FOREVER, 0.5, None, 0.5),
        (4, FOREVER, 1.5, None, 1.5),
        (5, FOREVER, 0.0, None, GiveUp.ATTEMPTS),
        (6, FOREVER, 0.0, 1.0, GiveUp.ATTEMPTS),
        (1, 10.5, 0.5, None, GiveUp.DEADLINE),
        (1, 10.5, 0.25, None, 0.25),
        (1, 10.0, 0.0, None, GiveUp.DEADLINE),
        (1, 9.0, 0.0, None, GiveUp.DEADLINE),
        (1, FOREVER, 0.25, 2.0, 2.25),
        (1, FOREVER, 0.25, 0.0, 0.25),
        (1, 12.25, 0.25, 2.0, 2.0),
        (1, 12.0, 0.0, 2.0, GiveUp.DEADLINE),
        (1, 12.5, 0.125, 2.0, 2.125),
        (1, FOREVER, 0.25, math.inf, GiveUp.DEADLINE),
    ],
)  # fmt: skip
def test_after(
    attempt: int, until: float, wait: float, hint: float | None, answer: float | GiveUp
) -> None:
    assert FULL.after(attempt, now=10.0, until=until, wait=wait, hint=hint) == answer


jitters = st.sampled_from(["full", "equal", "decorrelated", "none"])
growths = st.sampled_from(["exponential", "linear", "constant"])
draws = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 4), draws, st.none() | st.floats(0, 100), st.floats(0, 100))
def test_never_too_early_and_never_too_late(
    attempt: int, draw: float, hint: float | None, until: float
) -> None:
    own = FULL.wait(attempt, draw=draw)
    wait = FULL.after(attempt, now=0.0, until=until, wait=own, hint=hint)
    if isinstance(wait, float):
        assert (hint or 0.0) <= wait < until
        assert wait <= (hint or 0.0) + FULL.ceiling(attempt)
    else:
        assert wait is GiveUp.DEADLINE
        assert (hint or 0.0) + own >= until


@given(growths, jitters, st.floats(0, 100), st.floats(0, 100), st.lists(draws, max_size=30))
def test_a_whole_run_of_waits_follows_the_papers_formulas(
    growth: Growth, jitter: Jitter, base: float, cap: float, drawn: list[float]
) -> None:
    made = Backoff(attempts=99, base=base, cap=cap, growth=growth, jitter=jitter)
    before = 0.0
    for attempt, draw in enumerate(drawn, start=1):
        grown = {"exponential": base * 2 ** (attempt - 1), "linear": base * attempt}
        top = min(cap, grown.get(growth, base))
        low = {"full": 0.0, "equal": top / 2, "none": top}.get(jitter)
        if low is None:
            low, top = base, 3 * (before if attempt > 1 and before > base else base)
        wait = made.wait(attempt, draw=draw, before=before)
        assert wait == pytest.approx(min(cap, low + draw * (top - low)), abs=1e-9)
        assert 0 <= wait <= cap
        before = wait


def test_full_jitter_spreads_a_crowd_evenly() -> None:
    rng = random.Random(7)
    tenths = [0] * 10
    for _ in range(3000):
        tenths[int(FULL.wait(4, draw=rng.random()) / 0.3)] += 1
    assert all(240 < tenth < 360 for tenth in tenths)
