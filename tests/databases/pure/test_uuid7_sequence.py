from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from escala.databases.pure.uuid7_sequence import Uuid7Sequence

FRESH, TAIL = 2**41 - 1, 2**32 - 1
MOMENT = 0x017F22E279B0  # the example of RFC 9562, A.6


def test_the_example_of_the_standard() -> None:
    """017F22E2-79B0-7CC3-98C4-DC0C0C07398F, its random bits put where we have them."""
    counter = 0xCC3 << 30 | (0x18C4DC0C0C07398F >> 32)
    made = Uuid7Sequence().take(MOMENT, counter, 0x0C07398F)
    assert UUID(int=made) == UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")


def test_each_bit_is_where_it_should_be() -> None:
    for fresh, tail in ((0, 0), (FRESH, TAIL), (1, 0), (0, 1)):
        made = UUID(int=Uuid7Sequence().take(MOMENT, fresh, tail))
        assert (made.version, made.variant) == (7, "specified in RFC 4122")
        assert made.int >> 80 == MOMENT
        counter = (made.int >> 64 & 0xFFF) << 30 | made.int >> 32 & (2**30 - 1)
        assert (counter, made.int & TAIL) == (fresh, tail)


def counted(made: int) -> tuple[int, int]:
    return made >> 80, (made >> 64 & 0xFFF) << 30 | made >> 32 & (2**30 - 1)


def test_within_a_millisecond_it_counts() -> None:
    assert counted(Uuid7Sequence().take(0, 7, 0)) == (0, 7)
    sequence = Uuid7Sequence()
    assert counted(sequence.take(5, 70, 9)) == (5, 70)
    assert counted(sequence.take(5, 3, 1)) == (5, 71)
    assert counted(sequence.take(4, 3, 1)) == (5, 72)  # the clock was set back
    assert counted(sequence.take(6, 3, 1)) == (6, 3)


def test_after_the_last_count_the_next_millisecond_begins_early() -> None:
    sequence = Uuid7Sequence()
    sequence.take(5, 2**42 - 2, 0)  # twice what a random beginning can be
    assert counted(sequence.take(5, 8, 0)) == (5, 2**42 - 1)
    assert counted(sequence.take(5, 8, 0)) == (6, 8)
    assert counted(sequence.take(6, 1, 0)) == (6, 9)
    assert counted(sequence.take(7, 1, 0)) == (7, 1)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, FRESH), st.integers(0, TAIL))))
def test_they_grow_whatever_the_clock_does(steps: list[tuple[int, int, int]]) -> None:
    sequence = Uuid7Sequence()
    made = [sequence.take(*step) for step in steps]
    assert made == sorted({*made})
    assert all(UUID(int=each).version == 7 for each in made)


def test_the_time_has_48_bits() -> None:
    assert UUID(int=Uuid7Sequence().take(2**48 - 1, 0, 0)).int >> 80 == 2**48 - 1
    assert UUID(int=Uuid7Sequence().take(2**48 + 3, 0, 0)).int >> 80 == 3
