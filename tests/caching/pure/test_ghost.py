"""The memory of evicted keys: bounded, first in first out, now and then wrong to no one's harm."""

from __future__ import annotations

import sys

import pytest

from escala.caching.pure.ghost import Ghost


def test_remembers_a_key_once() -> None:
    ghost = Ghost(10)
    assert not ghost.take("a")
    ghost.add("a")
    assert ghost.take("a")
    assert not ghost.take("a"), "it was taken"
    ghost.add("a")
    assert ghost.take("a")


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_a_short_memory_holds_exactly_its_length(limit: int) -> None:
    ghost = Ghost(limit)
    for key in range(200):
        ghost.add(key)
        assert not ghost.take(key - limit), "one more than it holds"
    for key in range(200 - limit, 200):
        assert ghost.take(key)


@pytest.mark.parametrize("limit", [32, 33, 63, 64, 95, 1000])
def test_a_long_memory_forgets_a_generation_at_a_time(limit: int) -> None:
    step = limit // 32
    for added in (limit, 3 * limit, 3 * limit + step - 1):
        ghost = Ghost(limit)
        for key in range(added):
            ghost.add(key)
        known = [key for key in range(added) if ghost.take(key)]
        assert known[0] >= added - limit
        assert known[0] <= added - limit + 2 * step + limit % 32, "and hardly earlier than that"
        assert len(known) >= 0.9 * limit - 2 * step


def test_nothing_is_remembered_by_a_memory_of_no_length() -> None:
    ghost = Ghost(0)
    ghost.add(1)
    assert not ghost.take(1)


def test_few_of_those_that_come_back_are_forgotten_too_early() -> None:
    """Not all are remembered, but nearly."""
    limit, back = 10_000, 0
    ghost = Ghost(limit)
    for key in range(60_000):
        ghost.add((1, key))
        # Each comes back after half the length, which is the time that one has on average.
        if key >= limit // 2 and key % 5 == 0:
            back += ghost.take((1, key - limit // 2))
    asked = (60_000 - limit // 2) // 5
    assert 0.98 * asked < back < asked


def test_hardly_a_strange_key_is_taken_for_another() -> None:
    ghost = Ghost(10_000)
    for key in range(30_000):
        ghost.add(key)
    assert sum(ghost.take(key) for key in range(100_000, 200_000)) <= 3


@pytest.mark.parametrize("stride", [2, 1024, 1 << 16, 1 << 24, 1 << 32, 1 << 40])
def test_evenly_spaced_keys_do_not_fall_on_the_same_places(stride: int) -> None:
    ghost = Ghost(1000)
    for number in range(1000):
        ghost.add(number * stride)
    assert sum(ghost.take(number * stride) for number in range(1000)) > 900


def test_old_keys_stay_forgotten_when_the_generations_come_around() -> None:
    ghost = Ghost(64)  # a generation is two keys, and there are 256 before they come around
    for key in range(100, 164):
        ghost.add(key)
    seen = 0
    for key in range(10_000, 13_000):
        ghost.add(key)
        if key % 64 == 0 and key > 10_100:
            seen += sum(ghost.take(old) for old in range(100, 164))
    assert seen == 0


def test_size_does_not_change_and_is_about_six_bytes_a_key() -> None:
    ghost = Ghost(10_000)
    before = sys.getsizeof(ghost._places)
    assert 5.9 < before / 10_000 < 6.1
    for key in range(50_000):
        ghost.add(key)
    assert sys.getsizeof(ghost._places) == before
