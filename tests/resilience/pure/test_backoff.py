"""When the next attempt is, or why there is none."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.resilience.pure.backoff import Backoff, GiveUp

BACKOFF = Backoff(attempts=5, base=0.5, cap=3.0)
FOREVER = math.inf


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 3.0), (5, 3.0)])
def test_the_ceiling_doubles_up_to_the_cap(attempt: int, ceiling: float) -> None:
    assert BACKOFF.ceiling(attempt) == ceiling


def test_the_millionth_attempt_overflows_nothing() -> None:
    assert Backoff(attempts=2_000_000, base=1e9, cap=7.0).ceiling(1_000_000) == 7.0
    assert Backoff(attempts=2_000_000, base=0.0, cap=7.0).ceiling(1_000_000) == 0.0
    assert Backoff(attempts=2_000, base=1e-300, cap=99.0).ceiling(1_001) == pytest.approx(10.715086)
    assert Backoff(attempts=2_000, base=1e-300, cap=99.0).ceiling(1_500) == pytest.approx(10.715086)


@pytest.mark.parametrize(
    ("attempt", "until", "draw", "hint", "answer"),
    [
        (1, FOREVER, 0.0, None, 0.0),
        (1, FOREVER, 1.0, None, 0.5),
        (3, FOREVER, 0.25, None, 0.5),
        (4, FOREVER, 0.5, None, 1.5),
        (5, FOREVER, 0.0, None, GiveUp.ATTEMPTS),
        (6, FOREVER, 0.0, 1.0, GiveUp.ATTEMPTS),
        (1, 10.5, 1.0, None, GiveUp.DEADLINE),
        (1, 10.5, 0.5, None, 0.25),
        (1, 10.0, 0.0, None, GiveUp.DEADLINE),
        (1, 9.0, 0.0, None, GiveUp.DEADLINE),
        (1, FOREVER, 0.5, 2.0, 2.25),
        (1, FOREVER, 0.5, 0.0, 0.25),
        (1, 12.25, 0.5, 2.0, 2.0),
        (1, 12.0, 0.0, 2.0, GiveUp.DEADLINE),
        (1, 12.5, 0.25, 2.0, 2.125),
        (1, FOREVER, 0.5, math.inf, GiveUp.DEADLINE),
    ],
)  # fmt: skip
def test_after(
    attempt: int, until: float, draw: float, hint: float | None, answer: float | GiveUp
) -> None:
    assert BACKOFF.after(attempt, now=10.0, until=until, draw=draw, hint=hint) == answer


@given(
    st.integers(1, 4),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.floats(0, 100),
    st.floats(0, 100),
)
def test_never_too_early_and_never_too_late(
    attempt: int, draw: float, hint: float | None, until: float
) -> None:
    wait = BACKOFF.after(attempt, now=0.0, until=until, draw=draw, hint=hint)
    if isinstance(wait, float):
        assert (hint or 0.0) <= wait < until
        assert wait <= (hint or 0.0) + BACKOFF.ceiling(attempt)
    else:
        assert wait is GiveUp.DEADLINE
        assert (hint or 0.0) + draw * BACKOFF.ceiling(attempt) >= until


def test_full_jitter_spreads_a_crowd_evenly() -> None:
    rng = random.Random(7)
    waits = [BACKOFF.after(4, now=0.0, until=FOREVER, draw=rng.random()) for _ in range(3000)]
    tenths = [0] * 10
    for wait in waits:
        assert isinstance(wait, float)
        tenths[int(wait / 0.3)] += 1
    assert all(240 < tenth < 360 for tenth in tenths)
