from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from escala.hashing.pure.preference import spread

ZONES = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "b2": "b", "c1": "c"}


def test_one_of_each_zone_before_a_second_of_any() -> None:
    order = ["a1", "a2", "b1", "a3", "b2", "c1"]
    assert spread(order, ZONES, 1) == ["a1"]
    assert spread(order, ZONES, 2) == ["a1", "b1"]
    assert spread(order, ZONES, 3) == ["a1", "b1", "c1"]
    assert spread(order, ZONES, 4) == ["a1", "b1", "c1", "a2"]
    assert spread(order, ZONES, 9) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_node_without_a_zone_is_one_of_its_own() -> None:
    assert spread(["x", "y", "a1", "a2"], ZONES, 4) == ["x", "y", "a1", "a2"]
    assert spread(["a1", "a2", "x", "y"], ZONES, 3) == ["a1", "x", "y"]


def test_no_more_of_an_order_is_asked_for_than_is_needed() -> None:
    order = iter(["a1", "a2", "b1", "c1"])
    assert spread(order, ZONES, 2) == ["a1", "b1"]
    assert next(order) == "c1"


@given(st.permutations(sorted(ZONES)), st.integers(1, 8))
def test_zones_never_differ_by_more_than_they_must(order: list[str], count: int) -> None:
    chosen = spread(order, ZONES, count)
    assert len(chosen) == len(set(chosen)) == min(count, len(ZONES))
    assert chosen[0] == order[0]
    used, sizes = Counter(ZONES[node] for node in chosen), Counter(ZONES.values())
    for zone, size in sizes.items():
        assert used[zone] == size or used[zone] >= max(used.values()) - 1
