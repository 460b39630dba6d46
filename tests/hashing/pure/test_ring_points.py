from __future__ import annotations

import xxhash

from escala.hashing.pure.ring_points import points_of, ring


def test_points_are_digests_of_the_name_and_a_number() -> None:
    names = ["käse:80#0", "käse:80#1", "käse:80#2"]
    expected = [xxhash.xxh3_64_intdigest(name.encode(), 9) for name in names]
    assert points_of("käse:80", 3, 9) == expected
    assert points_of("käse:80", 2, 9) == expected[:2]
    assert points_of("käse:80", 3, 8) != expected


def test_points_ascend_with_their_owners_and_the_first_owner_ends_the_circle() -> None:
    assert ring([("a", [5, 1]), ("b", [9, 3])]) == ([1, 3, 5, 9], ["a", "b", "a", "b", "a"])
    assert ring([("b", [2])]) == ([2], ["b", "b"])


def test_a_point_of_two_is_that_of_the_one_placed_first() -> None:
    assert ring([("a", [5, 1]), ("b", [5, 3])]) == ([1, 3, 5], ["a", "b", "a", "a"])
    assert ring([("b", [5, 3]), ("a", [5, 1])]) == ([1, 3, 5], ["a", "b", "b", "a"])
