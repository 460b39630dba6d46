from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.balancing.pure.subset import subset


def fleet(count: int) -> list[str]:
    return [f"10.0.0.{number}:80" for number in range(count)]


@pytest.mark.parametrize(
    ("targets", "size", "clients"), [(100, 10, 300), (103, 10, 300), (12, 4, 30), (300, 30, 100)]
)
def test_numbered_clients_are_spread_evenly(targets: int, size: int, clients: int) -> None:
    names = fleet(targets)
    known = Counter(name for client in range(clients) for name in subset(names, size, client))
    rounds = clients // (targets // size)
    # In each whole round a target has one client, or none where the division leaves a rest.
    assert max(known.values()) <= rounds + 1
    if targets % size == 0:
        assert set(known.values()) == {rounds}
        assert len(known) == targets
    else:
        assert min(known[place] for place in range(targets)) >= rounds * 0.75


def test_named_clients_are_spread_evenly_on_average() -> None:
    names = fleet(50)
    known = Counter(
        place for client in range(2000) for place in subset(names, 10, f"pod-{client}-x")
    )
    assert len(known) == 50
    assert 300 < min(known.values()) <= 400 <= max(known.values()) < 500


def test_a_small_fleet_is_used_whole() -> None:
    assert subset(fleet(3), 3, 7) == (0, 1, 2)
    assert subset(fleet(3), 20, "me") == (0, 1, 2)
    assert subset([], 2, 0) == ()


def test_it_is_the_same_in_every_process() -> None:
    assert subset(fleet(20), 5, 7) == subset(fleet(20), 5, 7) == (1, 2, 8, 14, 15)
    assert subset(fleet(20), 5, "pod-a") == (0, 4, 7, 9, 16)


def test_a_target_more_changes_at_most_one_of_each_client() -> None:
    names = fleet(101)
    for client in range(50):
        before = {names[place] for place in subset(names, 10, client)}
        wider = [*names, "10.0.1.1:80"]
        after = {wider[place] for place in subset(wider, 10, client)}
        assert len(before - after) <= 1


@given(st.integers(1, 60), st.integers(1, 30), st.integers(0, 10**6))
def test_every_client_has_so_many_different_targets(count: int, size: int, client: int) -> None:
    found = subset(fleet(count), size, client)
    assert len(set(found)) == len(found) == min(size, count)
    assert list(found) == sorted(found)
    assert all(0 <= place < count for place in found)
