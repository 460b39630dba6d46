from __future__ import annotations

from bisect import bisect_left

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from escala.hashing.pure.ring_points import BEYOND, fingers, points_of, ring


def test_points_are_digests_of_the_name_and_a_number() -> None:
    names = ["käse:80#0", "käse:80#1", "käse:80#2"]
    expected = [xxhash.xxh3_64_intdigest(name.encode(), 9) for name in names]
    assert points_of("käse:80", 3, 9) == expected
    assert points_of("käse:80", 2, 9) == expected[:2]
    assert points_of("käse:80", 3, 8) != expected


def test_points_ascend_with_their_owners_and_the_first_owner_ends_the_circle() -> None:
    assert ring({"a": [5, 1], "b": [9, 3]}) == ([1, 3, 5, 9, 2**64], ["a", "b", "a", "b", "a"])
    assert ring({"b": [2]}) == ([2, 2**64], ["b", "b"])


def test_a_point_of_two_is_that_of_the_one_placed_first() -> None:
    assert ring({"a": [5, 1], "b": [5, 3]}) == ([1, 3, 5, 2**64], ["a", "b", "a", "a"])
    assert ring({"b": [5, 3], "a": [5, 1]}) == ([1, 3, 5, 2**64], ["a", "b", "b", "a"])


def test_points_that_are_known_to_ascend_change_nothing() -> None:
    placed = {"a": [5, 1], "b": [5, 3]}
    assert ring(placed, [1, 5]) == ring(placed, [1, 3, 5]) == ring(placed)


@given(
    st.lists(st.one_of(st.integers(0, 2**32 - 1), st.integers(2**32 - 9, 2**32 - 1)), unique=True),
    st.integers(0, 2**32 - 1),
)
def test_a_cell_begins_at_or_before_the_next_point(found: list[int], digest: int) -> None:
    points = [*sorted(found), BEYOND]
    cells, shift = fingers(points, 32)
    for at in (digest, *found, *(point - 1 for point in found if point), 0, 2**32 - 1):
        begin = cells[at >> shift]
        assert begin <= bisect_left(points, at)
        assert begin == bisect_left(points, at >> shift << shift)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8, 1000, 1024, 5000])
def test_there_are_one_to_two_cells_for_each_point(count: int) -> None:
    points = [*sorted(points_of("a", count, 0)), BEYOND]
    cells, shift = fingers(points, 64)
    assert count < len(cells) <= 2 * (count + 1)
    assert len(cells) == 2 ** (64 - shift)


def test_more_points_than_digests_have_a_cell_each() -> None:
    assert fingers([0, 1, 2, 3, BEYOND], 2) == ([0, 1, 2, 3], 0)
