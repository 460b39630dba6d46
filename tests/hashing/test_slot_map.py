from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hashing.maps import COUNTS, KEYS, named

from escala.errors import ConfigError
from escala.hashing import SlotMap, SlotMove
from escala.hashing.pure.digest import digest
from escala.hashing.pure.redis_slot import redis_digest


def counts(slots: SlotMap) -> Counter[str]:
    return Counter(map(slots.owner, range(slots.slots)))


@settings(max_examples=40)
@given(COUNTS)
def test_a_node_that_joins_takes_its_share_and_no_other_slot_moves(count: int) -> None:
    old = SlotMap(named(count))
    new = old.with_node("new")
    plan = old.plan(new)
    assert {move.target for move in plan} == {"new"}
    assert len(plan) == len(new.slots_of("new"))
    assert len(plan) - 16_384 // (count + 1) in {0, 1}
    assert max(counts(new).values()) - min(counts(new).values()) <= 1
    before, after = map(old.node, KEYS), map(new.node, KEYS)
    assert {b for a, b in zip(before, after, strict=True) if a != b} <= {"new"}


@settings(max_examples=40)
@given(st.integers(2, 200), st.data())
def test_a_node_that_leaves_moves_its_own_slots_only(count: int, data: st.DataObject) -> None:
    old = SlotMap(named(count))
    gone = data.draw(st.sampled_from(sorted(old.nodes)))
    new = old.without_node(gone)
    plan = old.plan(new)
    assert [move.slot for move in plan] == old.slots_of(gone)
    assert {move.source for move in plan} == {gone}
    assert max(counts(new).values()) - min(counts(new).values()) <= 1


@settings(max_examples=30)
@given(
    st.dictionaries(st.sampled_from(named(40)), st.sampled_from([0.5, 1, 2, 5]), min_size=1),
    st.dictionaries(st.sampled_from(named(40)), st.sampled_from([0.5, 1, 2, 5]), min_size=1),
)
def test_any_change_moves_what_the_new_nodes_lack_and_no_more(
    before: dict[str, float], after: dict[str, float]
) -> None:
    old = SlotMap(before)
    new = old.with_nodes(after)
    had, has = counts(old), counts(new)
    assert len(old.plan(new)) == sum(max(0, has[node] - had[node]) for node in after)
    total = sum(after.values())
    for node, weight in after.items():
        assert abs(has[node] - 16_384 * weight / total) < 1


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from(["join", "leave", "weigh", "pin", "unpin"]), max_size=12), st.data()
)
def test_pins_hold_through_any_history(history: list[str], data: st.DataObject) -> None:
    slots = SlotMap(["a", "b"], slots=64)
    pins: dict[int, str] = {}
    for number, what in enumerate(history):
        node = data.draw(st.sampled_from(sorted(slots.nodes)))
        slot = data.draw(st.integers(0, 63))
        if what == "join":
            slots = slots.with_node(f"n{number}", data.draw(st.sampled_from([0.5, 1, 2])))
        elif what == "weigh":
            slots = slots.with_weight(node, data.draw(st.sampled_from([0.5, 1, 2])))
        elif what == "pin":
            pinned = slots.pin(slot, node)
            assert {move.slot for move in slots.plan(pinned)} <= {slot}
            slots, pins = pinned, {**pins, slot: node}
        elif what == "unpin" and slot in pins:
            assert slots.plan(slots.unpin(slot)) == []
            slots = slots.unpin(slot)
            del pins[slot]
        elif what == "leave" and len(slots.nodes) > 1 and node not in pins.values():
            slots = slots.without_node(node)
        assert slots.pins == pins
        assert all(slots.owner(slot) == node for slot, node in pins.items())
        assert set(counts(slots)) <= set(slots.nodes)
        assert SlotMap.from_json(slots.to_json()) == slots


def test_plan_lists_the_moves_from_both_sides() -> None:
    old = SlotMap(["a", "b"], slots=4)
    new = old.with_node("c")
    assert old.plan(new) == SlotMap.plan(old, new) == [SlotMove(3, "b", "c")]
    assert new.plan(old) == [SlotMove(3, "c", "b")]
    assert old.plan(old) == []


def test_a_key_has_its_slot_whatever_the_nodes() -> None:
    one, many = SlotMap(["a"], seed=5), SlotMap(named(50), seed=5)
    for key in KEYS:
        slot = digest(key.encode(), 5) % 16_384
        assert one.slot(key) == many.slot(key) == many.slot(key.encode()) == slot
        assert many.node(key) == many.node(key.encode()) == many.owner(slot)


def test_redis_mode_has_redis_slots() -> None:
    slots = SlotMap(named(3), hash="redis")
    assert slots.slot("foo") == 12182
    assert slots.slot("{user1000}.following") == slots.slot("{user1000}.followers")
    for key in KEYS:
        assert slots.slot(key) == redis_digest(key.encode()) % 16_384
        assert slots.node(key) == slots.owner(slots.slot(key))


def test_the_order_of_the_nodes_does_not_matter() -> None:
    assert SlotMap(["b", "c", "a"]) == SlotMap(["a", "b", "c"])


def test_a_map_is_what_became_of_it() -> None:
    grown = SlotMap(["a", "b"], slots=12).with_node("c")
    assert grown != SlotMap(["a", "b", "c"], slots=12)
    assert grown.nodes == SlotMap(["a", "b", "c"], slots=12).nodes


def test_pinned_slots_count_as_a_share() -> None:
    slots = SlotMap(["a", "b"], slots=8)
    for slot in range(6):
        slots = slots.pin(slot, "a")
    assert counts(slots.with_node("c")) == {"a": 6, "b": 1, "c": 1}
    assert slots.with_node("c").pins == dict.fromkeys(range(6), "a")


def test_a_node_cannot_leave_what_is_pinned_to_it() -> None:
    slots = SlotMap(["a", "b"], slots=8).pin(1, "b")
    with pytest.raises(ConfigError) as caught:
        slots.without_node("b")
    text = "SlotMap: nodes: slot 1 is pinned to 'b', which is gone; unpin it"
    assert str(caught.value) == text
    assert counts(slots.unpin(1).without_node("b")) == {"a": 8}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda old: old.pin(8, "a"), "slot: expected a whole number from 0 to 7, found 8"),
        (lambda old: old.pin(-1, "a"), "slot: expected a whole number from 0 to 7, found -1"),
        (lambda old: old.pin(1, "x"), "pin: there is no node 'x'"),
        (lambda old: old.unpin(1), "unpin: slot 1 is not pinned"),
        (lambda old: old.owner(9), "slot: expected a whole number from 0 to 7, found 9"),
        (lambda old: old.with_node("a"), "nodes: 'a' is named twice"),
        (lambda old: old.without_node("x"), "nodes: there is no node 'x'"),
        (lambda old: old.with_nodes([]), "nodes: expected at least one node, found none"),
        (
            lambda old: old.with_nodes(map(str, range(9))),
            "nodes: expected at most as many as there are slots, 8, found 9",
        ),
        (
            lambda old: old.plan(SlotMap(["a"], slots=9)),
            "expected a map of the same (slots, hash, seed) (8, 'xxh3', 0), found (9, 'xxh3', 0)",
        ),
        (
            lambda old: old.plan(SlotMap(["a"], slots=8, seed=1)),
            "expected a map of the same (slots, hash, seed) (8, 'xxh3', 0), found (8, 'xxh3', 1)",
        ),
        (
            lambda _: SlotMap(["a"], slots=0),
            "slots: expected a whole number from 1 to 1048576, found 0",
        ),
        (
            lambda _: SlotMap(["a"], hash="ketama"),
            "hash: expected 'xxh3' or 'redis', found 'ketama'",
        ),
        (
            lambda _: SlotMap(["a"], hash="redis", slots=1024),
            "redis has 16384 slots and no seed, found slots=1024, seed=0",
        ),
        (
            lambda _: SlotMap(["a"], hash="redis", seed=1),
            "redis has 16384 slots and no seed, found slots=16384, seed=1",
        ),
        (
            lambda _: SlotMap("abc", slots=1),
            "nodes: expected a list of names, found 'abc'",
        ),
        (
            lambda _: SlotMap(["a", "b"], slots=1),
            "nodes: expected at most as many as there are slots, 1, found 2",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_refused(change: object, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        change(SlotMap(["a", "b"], slots=8))  # type: ignore[operator]
    assert str(caught.value) == f"SlotMap: {text}"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"owners": []}, "owners: expected who has each slot, found none"),
        ({"owners": [[1, "a"]]}, "owners: expected runs in order, found one at 1"),
        ({"owners": [[0, "a"], [0, "b"]]}, "owners: expected runs in order, found one at 0"),
        ({"owners": [[0, "a"], [8, "b"]]}, "owners: expected runs in order, found one at 8"),
        (
            {"owners": [[0, "a"], [6, "b"], [3, "a"]]},
            "owners: expected runs in order, found one at 6",
        ),
        ({"owners": [[0, "x"]]}, "owners: there is no node 'x'"),
        ({"pins": {"8": "a"}}, "pins: slot 8 is not with 'a'"),
        ({"pins": {"-1": "b"}}, "pins: slot -1 is not with 'b'"),
        ({"pins": {"0": "b"}}, "pins: slot 0 is not with 'b'"),
        ({"hash": "blake2b"}, "hash: expected 'xxh3' or 'redis', found 'blake2b'"),
        ({"seed": -1}, "seed: expected a whole number from 0 to 18446744073709551615, found -1"),
        ({"slots": 2**40}, f"slots: expected a whole number from 1 to 1048576, found {2**40}"),
        ({"nodes": {}}, "nodes: expected at least one node, found none"),
    ],
    ids=str,
)
def test_a_map_that_was_tampered_with_is_refused(change: dict[str, object], text: str) -> None:
    saved = json.loads(SlotMap(["a", "b"], slots=8).to_json())
    with pytest.raises(ConfigError) as caught:
        SlotMap.from_json(json.dumps({**saved, **change}))
    assert str(caught.value) == f"SlotMap: {text}"


def test_its_json_names_runs_and_everything_that_decides() -> None:
    slots = SlotMap({"b": 1, "a": 2}, slots=6, seed=7).pin(5, "a")
    assert json.loads(slots.to_json()) == {
        "kind": "slot_map",
        "hash": "xxh3",
        "seed": 7,
        "slots": 6,
        "nodes": {"a": 2.0, "b": 1.0},
        "owners": [[0, "a"], [4, "b"], [5, "a"]],
        "pins": {"5": "a"},
    }
