"""The times of the last so many calls, in memory that does not grow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from escala.limiting.pure.time_log import TimeLog


def test_grows_to_its_bound_and_no_further() -> None:
    log = TimeLog(3)
    for number in range(10):
        log.append(float(number), 1)
        assert log.next == number + 1
        assert len(log._times) == min(3, number + 1)
        for back in range(min(3, number + 1)):
            assert log[number - back] == number - back


def test_one_time_several_times() -> None:
    log = TimeLog(4)
    log.append(1.0, 3)
    log.append(2.0, 2)
    assert log.next == 5
    assert [log[number] for number in range(1, 5)] == [1.0, 1.0, 2.0, 2.0]


def test_cleared_it_begins_anew() -> None:
    log = TimeLog(2)
    log.append(1.0, 5)
    log.clear()
    assert (log.next, len(log._times)) == (0, 0)
    log.append(7.0, 1)
    assert (log.next, log[0], len(log._times)) == (1, 7.0, 1)


@given(st.integers(1, 9), st.lists(st.tuples(st.floats(0, 9), st.integers(1, 5)), max_size=40))
def test_is_the_end_of_a_list(most: int, steps: list[tuple[float, int]]) -> None:
    log, all_of_them = TimeLog(most), list[float]()
    for time, times in steps:
        log.append(time, times)
        all_of_them += [time] * times
        assert log.next == len(all_of_them)
        for number in range(max(0, log.next - most), log.next):
            assert log[number] == all_of_them[number]
