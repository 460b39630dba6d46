"""The rolling window against a list of every call."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.resilience.pure.window import RollingWindow

LENGTH = 10.0  # so that a bucket is one second, and quarters of it add up exactly
steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 2.5, 8.75, 9.0, 9.25, 10.0, 30.0]),
        st.booleans(),
    ),
    max_size=60,
)


def count(window: RollingWindow, now: float, *, marked: bool) -> None:
    if now >= window.ends:
        window.turn(now)
    window.calls += 1
    window.marked += marked


class EveryCall:
    """The same, by remembering each call and the bucket it fell into."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, bool]] = []
        self.origin = 0.0

    def count(self, now: float, *, marked: bool) -> None:
        if not self.calls or self.bucket(now) - self.calls[-1][0] >= 10:
            self.calls, self.origin = [], now
        self.calls.append((self.bucket(now), marked))

    def bucket(self, now: float) -> int:
        return math.floor(now - self.origin)

    def totals(self) -> tuple[int, int]:
        last = self.calls[-1][0]
        young = [marked for bucket, marked in self.calls if last - bucket < 10]
        return len(young), sum(young)


@given(steps)
def test_counts_what_a_list_of_every_call_counts(steps: list[tuple[float, bool]]) -> None:
    window, model, now = RollingWindow(LENGTH), EveryCall(), 100.0
    for pause, marked in steps:
        now += pause
        count(window, now, marked=marked)
        model.count(now, marked=marked)
        assert (window.calls, window.marked) == model.totals()


@given(st.lists(st.floats(0, 3), max_size=80), st.floats(0.001, 100))
def test_a_call_counts_for_nine_tenths_to_all_of_the_length(
    pauses: list[float], length: float
) -> None:
    window, now = RollingWindow(length), 7.0
    times: list[float] = []
    for pause in pauses:
        now += pause * length / 3
        count(window, now, marked=True)
        times.append(now)
        surely = sum(now - at < 0.9 * length * (1 - 1e-9) for at in times)
        perhaps = sum(now - at < length * (1 + 1e-9) for at in times)
        assert surely <= window.calls <= perhaps
        assert window.marked == window.calls


def test_an_earlier_moment_counts_in_the_current_bucket() -> None:
    window = RollingWindow(LENGTH)
    for now in (5.0, 6.5, 5.5):
        count(window, now, marked=False)
    assert window.calls == 3
    assert window.ends == 7.0


def test_clear_forgets_all() -> None:
    window = RollingWindow(LENGTH)
    for now in (0.0, 1.0, 2.0):
        count(window, now, marked=True)
    window.clear()
    assert (window.calls, window.marked, window.ends) == (0, 0, -math.inf)
    count(window, 2.0, marked=False)
    assert (window.calls, window.marked, window.ends) == (1, 0, 3.0)
    count(window, 11.5, marked=False)
    assert window.calls == 2, "what was cleared must not come back, or be subtracted twice"


@pytest.mark.parametrize("length", [1e-12, 5e-324, 1e-6, 1e9])
def test_any_length_ends_every_turn(length: float) -> None:
    window, now = RollingWindow(length), 1e6
    for _ in range(50):
        now = math.nextafter(now, math.inf)
        count(window, now, marked=False)
        assert 1 <= window.calls <= 50


def test_memory_is_constant() -> None:
    window = RollingWindow(LENGTH)
    for step in range(10_000):
        count(window, step * 0.01, marked=True)
    assert len(window._ring) == 10
    assert window.calls <= 1000
