from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.databases.pure.snowflake_sequence import Parts, SnowflakeSequence, parts
from escala.errors import ClockWentBack, ConfigError


def begun(node: int = 5, *, at: int = 1000, most_back: int = 10) -> SnowflakeSequence:
    return SnowflakeSequence(node, at - most_back - 1, most_back)


def test_an_id_is_time_node_and_number() -> None:
    sequence = begun(node=1023, at=7)
    assert sequence.take(7) == 7 << 22 | 1023 << 12
    assert sequence.take(7) == 7 << 22 | 1023 << 12 | 1
    assert sequence.take(9) == 9 << 22 | 1023 << 12
    assert parts(7 << 22 | 1023 << 12 | 4095) == Parts(7, 1023, 4095)
    assert parts(0) == Parts(0, 0, 0)


def test_a_millisecond_has_4096_ids() -> None:
    sequence = begun()
    taken = [sequence.take(1000) for _ in range(4096)]
    assert parts(taken[-1]) == Parts(1000, 5, 4095)
    assert taken == sorted({*taken})
    assert sequence.take(1000) == sequence.take(1000) == -1
    assert parts(sequence.take(1001)) == Parts(1001, 5, 0)


def test_a_clock_that_is_set_back_is_waited_for() -> None:
    sequence = begun()
    sequence.take(1000)
    assert [sequence.take(now) for now in (999, 990)] == [-1, -10]
    with pytest.raises(ClockWentBack, match="11 ms behind the last id, and at most 10 ms"):
        sequence.take(989)
    assert parts(sequence.take(1000)) == Parts(1000, 5, 1)  # it went on where it was


def test_the_first_id_is_later_than_any_of_a_process_before() -> None:
    sequence = SnowflakeSequence(5, 1000, 10)
    assert [sequence.take(now) for now in (1000, 1009, 1010)] == [-10, -1, -1]
    assert parts(sequence.take(1011)) == Parts(1011, 5, 0)
    with pytest.raises(ClockWentBack):
        SnowflakeSequence(5, 1000, 10).take(999)
    assert SnowflakeSequence(5, 1000, 0).take(1000) == -1


def test_41_bits_are_the_end() -> None:
    sequence = begun()
    assert sequence.take(2**41 - 1) == (2**41 - 1) << 22 | 5 << 12
    assert sequence.take(2**41 - 1) < 2**63
    with pytest.raises(
        ConfigError, match=r"^Snowflake: epoch: 69 years are over; begin with a later one$"
    ):
        sequence.take(2**41)


@given(st.lists(st.integers(-12, 30), max_size=60), st.lists(st.integers(0, 40), max_size=4))
def test_no_id_comes_twice_whatever_clock_and_restarts_do(
    steps: list[int], restarts: list[int]
) -> None:
    """A restart comes with a clock that is back by at most what is waited for."""
    now, most_back = 10_000, 10
    sequence = SnowflakeSequence(3, now, most_back)
    taken: list[int] = []
    lasting = now
    for number, step in enumerate(steps):
        now += step
        if number in restarts:
            now = max(now, lasting - most_back)
            sequence = SnowflakeSequence(3, now, most_back)
        try:
            found = [sequence.take(now) for _ in range(3)]
        except ClockWentBack:
            continue
        for each in found:
            if each >= 0:
                taken.append(each)
                lasting = max(lasting, parts(each).moment)
            else:
                assert -most_back <= each < 0
    assert taken == sorted({*taken})
