from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hashing.maps import COUNTS, KEYS, named

from escala.errors import ConfigError
from escala.hashing import Rendezvous

SOME = KEYS[:150]


@settings(max_examples=30)
@given(COUNTS, st.sampled_from([0.5, 1, 3]))
def test_a_node_that_joins_or_leaves_moves_its_own_keys_only(count: int, weight: float) -> None:
    few = Rendezvous(named(count))
    more = few.with_node("new", weight)
    for key in SOME:
        assert more.node(key) in {few.node(key), "new"}
    assert more.without_node("new") == few


@settings(max_examples=30)
@given(st.integers(2, 200), st.sampled_from([0.5, 2, 7]), st.data())
def test_a_weight_that_changes_moves_keys_to_or_from_that_node_only(
    count: int, weight: float, data: st.DataObject
) -> None:
    nodes = named(count)
    node = data.draw(st.sampled_from(nodes))
    few = Rendezvous(nodes)
    other = few.with_weight(node, weight)
    for key in SOME:
        old, new = few.node(key), other.node(key)
        if old != new:
            assert (new if weight > 1 else old) == node


def test_shares_are_the_weights() -> None:
    few = Rendezvous({"a": 1, "b": 2, "c": 5})
    keys = Counter(few.node(f"key:{number}") for number in range(20_000))
    for node, weight in few.nodes.items():
        assert keys[node] / 20_000 == pytest.approx(weight / 8, abs=0.015)


def test_equal_nodes_have_equal_shares() -> None:
    few = Rendezvous(named(10))
    keys = Counter(few.node(f"key:{number}") for number in range(20_000))
    assert max(keys.values()) < 2200


@pytest.mark.parametrize("weight", [1, 2], ids=["even", "weighted"])
def test_a_preference_list_begins_with_the_node_and_goes_on_with_the_next(weight: int) -> None:
    few = Rendezvous({"a": weight, "b": 1, "c": 1, "d": 1})
    for key in SOME:
        order = few.prefer(key, 4)
        assert sorted(order) == ["a", "b", "c", "d"]
        assert few.prefer(key, 2) == order[:2]
        assert few.prefer(key.encode(), 9) == order
        assert few.node(key) == few.node(key.encode()) == order[0]
        assert few.without_node(order[0]).node(key) == order[1]


def test_equal_weights_choose_alike_whatever_they_are() -> None:
    one, many = Rendezvous(named(9)), Rendezvous(dict.fromkeys(named(9), 2.5))
    assert [one.node(key) for key in SOME] == [many.node(key) for key in SOME]


def test_the_order_of_the_nodes_does_not_matter_and_the_seed_does() -> None:
    few = Rendezvous(["b", "a", "c"], seed=1)
    assert few == Rendezvous(["a", "b", "c"], seed=1)
    other = Rendezvous(["a", "b", "c"])
    assert [few.node(key) for key in SOME] != [other.node(key) for key in SOME]


@pytest.mark.parametrize("count", [0, -1, None])
def test_no_copies_are_no_preference(count: int) -> None:
    with pytest.raises(ConfigError, match="Rendezvous: count: expected a whole number from 1"):
        Rendezvous(["a"]).prefer("key", count)


def test_another_hash_is_refused() -> None:
    saved = Rendezvous(["a"]).to_json().replace("xxh3", "md5")
    with pytest.raises(ConfigError, match="Rendezvous: hash: expected 'xxh3', found 'md5'"):
        Rendezvous.from_json(saved)
