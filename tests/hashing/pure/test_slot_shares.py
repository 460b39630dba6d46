from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.hashing.pure.slot_shares import resettled, shares

NODES = st.sampled_from(["a", "b", "c", "d"])
WEIGHTS = st.dictionaries(NODES, st.sampled_from([0.5, 1.0, 1.5, 3.0]), min_size=1)


@st.composite
def placed(draw: st.DrawFn) -> tuple[list[str], dict[str, float], dict[int, str]]:
    """Owners before, of whom some are gone, weights after, and pins to nodes that there are."""
    owners = draw(st.lists(NODES, min_size=4, max_size=12))
    weights = draw(WEIGHTS)
    slots = st.integers(0, len(owners) - 1)
    pins = draw(st.dictionaries(slots, st.sampled_from(sorted(weights)), max_size=len(owners)))
    return owners, weights, pins


def fair(counts: Counter[str], weights: dict[str, float], pinned: Counter[str], slots: int) -> bool:
    """Whether each node has its share, rounded down or up; more only when that many are pinned."""
    rest, left = dict(weights), slots
    while True:
        total = sum(map(Fraction, rest.values()))
        over = [node for node in rest if pinned[node] > Fraction(rest[node]) * left / total]
        if not over:
            break
        for node in over:
            if counts[node] != pinned[node]:
                return False
            left -= pinned[node]
            del rest[node]
    exact = {node: Fraction(weight) * left / total for node, weight in rest.items()}
    return all(math.floor(exact[node]) <= counts[node] <= math.ceil(exact[node]) for node in rest)


@given(placed())
def test_shares_are_fair_and_fewer_moves_are_not_possible(
    case: tuple[list[str], dict[str, float], dict[int, str]],
) -> None:
    owners, weights, pins = case
    slots, pinned = len(owners), Counter(pins.values())
    after = resettled(owners, slots, weights, pins)
    assert all(after[slot] == node for slot, node in pins.items())
    counts = Counter(after)
    assert counts.total() == slots
    assert set(counts) <= set(weights)
    assert fair(counts, weights, pinned, slots)
    # Every fair way to count, and what it would move at the least: what is free and too many.
    free = Counter(owner for slot, owner in enumerate(owners) if slot not in pins)
    least = slots
    for ways in itertools.product(range(slots + 1), repeat=len(weights)):
        wanted = Counter(dict(zip(weights, ways, strict=True)))
        if sum(ways) != slots or any(wanted[node] < pinned[node] for node in weights):
            continue
        if fair(wanted, weights, pinned, slots):
            stay = sum(min(free[node], wanted[node] - pinned[node]) for node in weights)
            least = min(least, slots - len(pins) - stay)
    least += sum(owners[slot] != node for slot, node in pins.items())
    assert sum(map(str.__ne__, owners, after)) == least


def test_what_is_left_over_stays_where_it_is() -> None:
    assert shares(4, {"a": 1, "b": 1, "c": 1}, {"b": 4}, {}) == {"a": 1, "b": 2, "c": 1}
    assert shares(4, {"a": 1, "b": 1, "c": 1}, {"c": 2, "b": 1}, {}) == {"a": 1, "b": 1, "c": 2}


def test_then_it_goes_by_fractions_and_then_by_names() -> None:
    assert shares(4, {"a": 1, "b": 1, "c": 1}, {}, {}) == {"a": 2, "b": 1, "c": 1}
    assert shares(3, {"a": 1.0, "b": 3.0}, {}, {}) == {"a": 1, "b": 2}
    assert shares(5, {"a": 1.0, "b": 3.0}, {}, {}) == {"a": 1, "b": 4}


def test_a_whole_share_is_never_rounded_up() -> None:
    # 1.5, 3 and 1.5 of six: the one that has four gives one up.
    wanted = shares(6, {"a": 1, "b": 2, "c": 1}, {"b": 4, "a": 1, "c": 1}, {})
    assert wanted == {"a": 2, "b": 3, "c": 1}


def test_more_pins_than_a_share_leave_the_rest_to_the_others() -> None:
    assert shares(8, {"a": 1, "b": 1}, {}, {"a": 6}) == {"a": 6, "b": 2}
    assert shares(8, {"a": 1, "b": 1}, {}, {"a": 4}) == {"a": 4, "b": 4}
    assert shares(4, {"a": 1, "b": 1, "c": 1}, {}, {"a": 2, "b": 2}) == {"a": 2, "b": 2, "c": 0}


def test_first_owners_are_runs_in_the_order_of_names() -> None:
    assert resettled((), 5, {"b": 1, "a": 1}, {}) == tuple("aaabb")


def test_the_last_slots_move_and_the_takers_take_in_order() -> None:
    before = tuple("aaabbb")
    assert resettled(before, 6, {"a": 1, "b": 1, "c": 1}, {}) == tuple("aacbbc")
    assert resettled(before, 6, {"c": 1, "d": 1}, {}) == tuple("cccddd")
    assert resettled(before, 6, {"a": 1, "b": 1, "c": 1}, {2: "a"}) == tuple("acabbc")


def test_nothing_moves_when_nothing_changed() -> None:
    owners = resettled((), 1000, {"a": 1, "b": 2, "c": 0.7}, {})
    assert resettled(owners, 1000, {"c": 0.7, "b": 2, "a": 1}, {}) == owners


@pytest.mark.parametrize("slots", [1, 2, 3, 16_384])
def test_one_node_has_all(slots: int) -> None:
    assert resettled((), slots, {"a": 0.3}, {}) == ("a",) * slots
