"""The window of the last calls against a list of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.resilience.pure.count_window import CountWindow

Call = tuple[bool, bool]  # failed, slow


def count(window: CountWindow, call: Call, now: float = 0.0) -> None:
    failed, slow = call
    if now >= window.ends:
        window.turn(now)
    window.calls += 1
    window.marked += failed + slow
    window.slow += slow


@given(st.integers(1, 7), st.lists(st.one_of(st.tuples(st.booleans(), st.booleans()), st.none())))
def test_counts_what_a_list_of_the_last_calls_counts(length: int, calls: list[Call | None]) -> None:
    window, model = CountWindow(length), list[Call]()
    for call in calls:
        if call is None:
            window.clear()
            model = []
        else:
            count(window, call)
            model = [*model, call][-length:]
        failures, slow = sum(failed for failed, _ in model), sum(slow for _, slow in model)
        assert (window.calls, window.marked, window.slow) == (len(model), failures + slow, slow)


@pytest.mark.parametrize("length", [1, 2, 99_999])
def test_memory_is_one_byte_for_each_call(length: int) -> None:
    window = CountWindow(length)
    for at in range(2 * length + 1):
        count(window, (True, True), now=-1.0 * at)
    assert (window.calls, window.marked, window.slow) == (length, 2 * length, length)
    assert len(window._ring) == length
