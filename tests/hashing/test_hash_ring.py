from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hashing.maps import COUNTS, KEYS, named

from escala.errors import ConfigError
from escala.hashing import HashRing
from escala.hashing.pure.digest import digest

WEIGHTS = st.sampled_from([0.25, 1.0, 1.5, 3.0])


@settings(max_examples=40)
@given(COUNTS, WEIGHTS, st.integers(0, 3))
def test_a_node_that_joins_or_leaves_moves_its_own_keys_only(
    count: int, weight: float, seed: int
) -> None:
    ring = HashRing(named(count), vnodes=32, seed=seed)
    more = ring.with_node("new", weight)
    before, after = map(ring.node, KEYS), map(more.node, KEYS)
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) <= {"new"}
    assert moved or weight < 1  # a small share may be none of so few keys
    assert more.without_node("new") == ring
    assert list(map(more.without_node("new").node, KEYS)) == list(map(ring.node, KEYS))


@settings(max_examples=40)
@given(COUNTS, WEIGHTS, st.data())
def test_a_weight_that_changes_moves_keys_to_or_from_that_node_only(
    count: int, weight: float, data: st.DataObject
) -> None:
    nodes = named(count)
    node = data.draw(st.sampled_from(nodes))
    ring = HashRing(nodes, vnodes=32)
    for key, other in zip(KEYS, map(ring.with_weight(node, weight).node, KEYS), strict=True):
        if (old := ring.node(key)) != other:
            assert (other if weight > 1 else old) == node


def laid(ring: HashRing) -> tuple[object, ...]:
    return ring._points, ring._owners, ring._cells, ring._shift, ring._limits


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([0, 1, 2])), max_size=10),
    st.sampled_from(["xxh3", "ketama"]),
)
def test_a_ring_with_any_history_is_the_ring_of_its_nodes(
    history: list[tuple[str, int]], hash_: str
) -> None:
    ring = HashRing(["z"], hash=hash_)
    for node, weight in history:
        if node not in ring.nodes:
            ring = ring.with_node(node, weight or 1)
        elif weight:
            ring = ring.with_weight(node, weight)
        else:
            ring = ring.without_node(node)
        assert laid(ring) == laid(HashRing(ring.nodes, hash=hash_))


@settings(max_examples=20)
@given(st.permutations(named(9)))
def test_the_order_of_the_nodes_does_not_matter(nodes: list[str]) -> None:
    ring = HashRing(nodes, vnodes=16)
    assert ring == HashRing(sorted(nodes), vnodes=16)
    assert ring._owners == HashRing(sorted(nodes), vnodes=16)._owners


def test_a_key_belongs_to_the_next_point_and_the_last_arc_to_the_first() -> None:
    ring = HashRing(["a", "b"], vnodes=3)
    points = {digest(b"%s#%d" % (name, at), 0): name for name in (b"a", b"b") for at in range(3)}
    ascending = sorted(points)
    for key in KEYS:
        at = digest(key.encode(), 0)
        following = [point for point in ascending if point >= at] or ascending
        assert ring.node(key) == ring.node(key.encode()) == points[following[0]].decode()
    assert any(digest(key.encode(), 0) > ascending[-1] for key in KEYS)


def test_a_key_at_a_point_is_that_nodes() -> None:
    ring = HashRing(["a", "b"], vnodes=8)
    for name in ("a", "b"):
        for number in range(8):
            assert ring.node(f"{name}#{number}") == name


def test_five_hundred_points_spread_keys_evenly() -> None:
    for count, most in ((10, 1.20), (100, 1.30)):
        ring = HashRing(named(count))
        keys = Counter(ring.node(f"key:{number}") for number in range(100_000))
        assert max(keys.values()) < most * 100_000 / count


def test_weights_are_shares() -> None:
    ring = HashRing({"a": 1, "b": 1, "c": 2})
    keys = Counter(ring.node(f"key:{number}") for number in range(50_000))
    assert 0.45 < keys["c"] / 50_000 < 0.55


def test_a_light_node_has_a_point_all_the_same() -> None:
    ring = HashRing({"a": 1, "b": 0.001}, vnodes=16)
    assert Counter(ring._owners[:-1]) == {"a": 16, "b": 1}


def test_vnodes_are_512_unless_told() -> None:
    assert len(HashRing(["a"])._points) == 512 + 1
    assert len(HashRing({"a": 2.5}, vnodes=10)._points) == 25 + 1


@settings(max_examples=40)
@given(COUNTS, st.integers(1, 250), st.integers(0, 5), st.sampled_from(KEYS))
def test_a_preference_list_has_distinct_zones(
    count: int, copies: int, zones: int, key: str
) -> None:
    nodes = named(count)
    placed = {node: f"zone-{at % zones}" for at, node in enumerate(nodes)} if zones else None
    ring = HashRing(nodes, vnodes=8, zones=placed)
    chosen = ring.prefer(key, copies)
    assert chosen[0] == ring.node(key)
    assert len(chosen) == len(set(chosen)) == min(copies, count)
    if placed:
        different = len(set(placed.values()))
        first = chosen[:different]
        assert len({placed[node] for node in first}) == len(first)


def test_a_preference_list_is_the_walk_around_the_ring() -> None:
    ring = HashRing(["a", "b", "c", "d"], vnodes=4)
    for key in KEYS[:200]:
        at = bisect_left(ring._points, digest(key.encode(), 0))
        met = [ring._owners[(at + step) % 16] for step in range(16)]
        assert ring.prefer(key, 4) == list(dict.fromkeys(met))


def test_a_node_that_leaves_gives_its_keys_to_their_next_preference() -> None:
    ring = HashRing(named(6), vnodes=32)
    for key in KEYS[:300]:
        first, second = ring.prefer(key, 2)
        assert ring.without_node(first).node(key) == second


@settings(max_examples=60)
@given(
    COUNTS,
    st.sampled_from([1.001, 1.05, 1.1, 1.15, 1.25, 2.0, 3.5]),
    st.lists(st.integers(0, 30), min_size=1, max_size=400),
    st.lists(st.sampled_from([1, 2, 0.5, 3]), min_size=1, max_size=4),
)
def test_no_load_is_ever_above_its_factor(
    count: int, factor: float, keys: list[int], weights: list[float]
) -> None:
    nodes = named(count)
    given_ = {node: weights[at % len(weights)] for at, node in enumerate(nodes)}
    ring = HashRing(given_, vnodes=4, load_factor=factor)
    total = sum(map(Fraction, given_.values()))
    loads: Counter[str] = Counter()
    for placed, key in enumerate(keys, 1):  # few keys, so that some would be very full
        loads[ring.place(f"key:{key}", loads)] += 1
        for node, load in loads.items():
            assert load <= math.ceil(Fraction(factor) * placed * Fraction(given_[node]) / total)


def test_a_key_stays_with_its_node_while_that_has_room() -> None:
    ring = HashRing(["a", "b", "c"], load_factor=1.5)
    key = next(key for key in KEYS if ring.prefer(key, 3) == ["b", "a", "c"])
    assert ring.place(key, {}) == "b"
    assert ring.place(key, {"a": 1, "b": 1, "c": 1}) == "b"  # of 4 each may have 2
    assert ring.place(key, {"b": 1}) == "a"  # of 2 each may have 1
    assert ring.place(key, {"b": 1, "a": 1}) == "b"  # of 3 each may have 1.5: one, and one more
    assert ring.place(key, {"b": 0.7, "a": 0, "c": 0}) == "b"  # of 1.7 each may have 0.85
    assert ring.place(key, {"b": 1, "gone": 90}) == "a"  # what others have does not count
    tight = HashRing(["a", "b", "c"], load_factor=1.1)
    assert tight.place(key, {"b": 2, "a": 2}) == "c"


def test_loads_that_are_no_numbers_change_nothing() -> None:
    ring = HashRing(["a", "b", "c"])
    for strange in (math.nan, math.inf):
        loads = dict.fromkeys("abc", strange)
        assert [ring.place(key, loads) for key in KEYS[:50]] == [ring.node(k) for k in KEYS[:50]]


def test_zones_come_and_go_with_their_nodes() -> None:
    ring = HashRing(["a", "b"], zones={"a": "east"})
    more = ring.with_node("c", 2, zone="west")
    assert more.zones == {"a": "east", "c": "west"}
    assert more.nodes == {"a": 1, "b": 1, "c": 2}
    assert more.without_node("c").zones == ring.zones == {"a": "east"}
    assert more.without_node("a").zones == {"c": "west"}
    assert more.with_weight("a", 3).zones == more.zones
    assert ring.with_node("c").zones == ring.zones


def test_a_change_keeps_all_else() -> None:
    ring = HashRing(["a", "b"], vnodes=7, seed=3, load_factor=2, zones={"b": "z"})
    again = ring.with_node("c").without_node("c")
    assert again.to_json() == ring.to_json()
    ketama = HashRing(["a", "b"], hash="ketama")
    assert ketama.with_node("c").without_node("c").to_json() == ketama.to_json()


def test_ketama_moves_others_keys_when_a_weight_changes_as_libmemcached_does() -> None:
    ring = HashRing(named(10), hash="ketama")
    heavier = ring.with_weight(named(10)[0], 2)
    moved = [key for key in KEYS if ring.node(key) != heavier.node(key)]
    elsewhere = [key for key in moved if heavier.node(key) != named(10)[0]]
    assert len(elsewhere) > 0.1 * len(moved)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"vnodes": 0}, "vnodes: expected a whole number from 1 to 65536, found 0"),
        ({"vnodes": 65_537}, "vnodes: expected a whole number from 1 to 65536, found 65537"),
        ({"vnodes": 1.5}, "vnodes: expected a whole number from 1 to 65536, found 1.5"),
        ({"seed": -1}, "seed: expected a whole number from 0 to 18446744073709551615, found -1"),
        ({"hash": "md5"}, "hash: expected 'xxh3' or 'ketama', found 'md5'"),
        ({"load_factor": 1}, "load_factor: expected a number above 1, up to 1000, found 1"),
        (
            {"load_factor": math.nan},
            "load_factor: expected a number above 1, up to 1000, found nan",
        ),
        ({"load_factor": 1001}, "load_factor: expected a number above 1, up to 1000, found 1001"),
        ({"load_factor": "2"}, "load_factor: expected a number above 1, up to 1000, found '2'"),
        ({"zones": {"x": "z"}}, "zones: there is no node 'x'"),
        ({"zones": {"a": ""}}, "zones: expected a name for 'a', found ''"),
        ({"zones": {"a": 1}}, "zones: expected a name for 'a', found 1"),
        (
            {"hash": "ketama", "vnodes": 160},
            "ketama has 160 points for a node and no seed, found vnodes=160, seed=0",
        ),
        (
            {"hash": "ketama", "seed": 1},
            "ketama has 160 points for a node and no seed, found vnodes=None, seed=1",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_makes_no_ring(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        HashRing(["a", "b"], **options)  # type: ignore[arg-type]
    assert str(caught.value) == f"HashRing: {text}"


@pytest.mark.parametrize(
    ("nodes", "options", "text"),
    [
        ({"a": 1000, "b": 1}, {"vnodes": 8000}, "at most 8,000,000 points, found 8,008,000"),
        ({"a": 1.5}, {"hash": "ketama"}, "weight of 'a': expected a whole number for ketama"),
        (["a", "a:11211"], {"hash": "ketama"}, "'a' and 'a:11211' are one server for ketama"),
        ([], {}, "nodes: expected at least one node, found none"),
        (["a", "a"], {}, "nodes: 'a' is named twice"),
    ],
    ids=["points", "fraction", "port", "empty", "twice"],
)
def test_what_nodes_make_no_ring(nodes: object, options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        HashRing(nodes, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, -1, 1.5])
def test_no_copies_are_no_preference(count: int) -> None:
    with pytest.raises(ConfigError, match="HashRing: count: expected a whole number from 1"):
        HashRing(["a"]).prefer("key", count)


@given(COUNTS, st.text())
def test_a_walk_meets_each_node_once_and_begins_at_the_key_s_own(count: int, key: str) -> None:
    ring = HashRing(named(count), vnodes=8)
    met = list(ring.walk(key))
    assert sorted(met) == sorted(ring.nodes)
    assert met[0] == ring.node(key)


def test_a_walk_goes_only_as_far_as_it_is_asked_to() -> None:
    ring = HashRing(["a", "b", "c"], vnodes=2)
    ring._owners = _Watched(ring._owners)
    walk = ring.walk("key")
    next(walk)
    assert ring._owners.read == 1


class _Watched(list[str]):
    read = 0

    def __getitem__(self, index: Any) -> Any:
        self.read += 1
        return super().__getitem__(index)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.3, 1.0, 2.0]), min_size=1),
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.3, 1.0, 2.0]), min_size=1),
)
def test_the_ring_of_other_nodes_is_as_if_made_anew(
    before: dict[str, float], after: dict[str, float]
) -> None:
    ring = HashRing(before, vnodes=8, seed=3).with_nodes(after)
    anew = HashRing(after, vnodes=8, seed=3)
    assert ring == anew
    assert (ring._points, ring._owners) == (anew._points, anew._owners)


def test_the_ring_of_other_nodes_keeps_all_else_and_is_checked() -> None:
    ring = HashRing(["a", "b"], vnodes=8, zones={"a": "x", "b": "y"}, load_factor=2.0)
    other = ring.with_nodes(["b", "c"])
    assert dict(other.zones) == {"b": "y"}
    assert other == HashRing(["b", "c"], vnodes=8, zones={"b": "y"}, load_factor=2.0)
    with pytest.raises(ConfigError, match="HashRing: nodes: 'c' is named twice"):
        ring.with_nodes(["c", "c"])
