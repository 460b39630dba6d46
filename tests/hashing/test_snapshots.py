"""What holds for every kind of map."""

from __future__ import annotations

import copy
import json
import pickle
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hashing.maps import KEYS, KINDS, named

from escala.errors import ConfigError
from escala.hashing import HashRing, Maglev, Rendezvous, SlotMap
from escala.hashing.snapshot import Snapshot

WEIGHTS = st.dictionaries(
    st.text(min_size=1, max_size=4), st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=8
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(weights=WEIGHTS)
def test_json_brings_back_the_same_places(kind: str, weights: dict[str, float]) -> None:
    weights = {node.removesuffix(":11211") or "a": weight for node, weight in weights.items()}
    made = KINDS[kind](weights)
    again = type(made).from_json(made.to_json())
    assert again == made
    assert hash(again) == hash(made)
    assert again.to_json() == made.to_json()
    assert again.nodes == made.nodes == weights
    assert list(map(again.node, KEYS[:100])) == list(map(made.node, KEYS[:100]))
    assert set(map(made.node, KEYS[:100])) <= set(weights)


@pytest.mark.parametrize("kind", KINDS)
def test_it_can_be_copied_and_sent_to_another_process(kind: str) -> None:
    made = KINDS[kind](named(5))
    for other in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301  our own
        assert type(other) is type(made)
        assert other == made


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_makes_a_new_one_and_leaves_the_old_one(kind: str) -> None:
    made = KINDS[kind](["a", "b"])
    before = made.to_json()
    changed = [made.with_node("c"), made.without_node("a"), made.with_weight("a", 2)]
    assert made.to_json() == before
    assert len({made, *changed}) == 4
    assert [dict(each.nodes) for each in changed] == [
        {"a": 1, "b": 1, "c": 1},
        {"b": 1},
        {"a": 2, "b": 1},
    ]
    with pytest.raises(TypeError):
        made.nodes["c"] = 1
    with pytest.raises(AttributeError):
        made.nodes = {}
    assert repr(changed[0]) == f"{type(made).__name__}(3 nodes)"


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_changes_are_refused(kind: str) -> None:
    made = KINDS[kind](["a", "b"])
    name = type(made).__name__
    for change, text in (
        (lambda: made.with_node("a"), "nodes: 'a' is named twice"),
        (lambda: made.without_node("x"), "nodes: there is no node 'x'"),
        (lambda: made.with_weight("x", 1), "nodes: there is no node 'x'"),
        (lambda: made.with_weight("a", 0), "weight of 'a': expected a number from 0.001 to"),
        (lambda: made.without_node("a").without_node("b"), "'b' is the last node"),
    ):
        with pytest.raises(ConfigError, match=f"{name}: .*{text}"):
            change()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "nul", b"\xff", '{"kind": "other"}', '{"kind": 7}'],
    ids=["empty", "nothing", "list", "cut", "bytes", "kind", "number"],
)
def test_what_is_no_map_is_refused(kind: str, text: str | bytes) -> None:
    made = KINDS[kind](["a"])
    with pytest.raises(ConfigError, match=f"{type(made).__name__}: expected what to_json writes: "):
        type(made).from_json(text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_more_or_less_is_refused(kind: str) -> None:
    made = KINDS[kind](["a"])
    saved = json.loads(made.to_json())
    for field in saved:
        with pytest.raises(ConfigError):
            type(made).from_json(json.dumps({k: v for k, v in saved.items() if k != field}))
    with pytest.raises(ConfigError, match="unknown field"):
        type(made).from_json(json.dumps({**saved, "epoch": 1}))


@pytest.mark.parametrize("kind", KINDS)
def test_the_hash_is_part_of_the_map(kind: str) -> None:
    made = KINDS[kind](["a"])
    saved = json.loads(made.to_json())
    assert saved["hash"] == ("ketama" if kind == "ketama" else "xxh3")
    with pytest.raises(ConfigError, match=r"hash: expected 'xxh3'.*, found 'blake2b'"):
        type(made).from_json(json.dumps({**saved, "hash": "blake2b"}))


def test_kinds_are_not_each_other() -> None:
    made = [make(["a", "b"]) for make in KINDS.values()]
    assert len(set(made)) == len(made)
    for one in made:
        assert one != one.to_json()
        for other in made:
            if type(one) is not type(other):
                with pytest.raises(ConfigError):
                    type(one).from_json(other.to_json())


@pytest.mark.parametrize("made", [HashRing, SlotMap, Maglev, Rendezvous])
def test_the_seed_deals_the_keys_anew(made: type[Snapshot]) -> None:
    maps = [made(["a", "b", "c"], seed=seed) for seed in (0, 1, 2**64 - 1)]  # type: ignore[call-arg]
    places = [list(map(each.node, KEYS[:100])) for each in maps]
    assert places[0] != places[1] != places[2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", [7, None, 1.5, ["a"]], ids=repr)
def test_a_key_is_text_or_bytes(kind: str, key: object) -> None:
    with pytest.raises((TypeError, AttributeError)):
        KINDS[kind](["a", "b"]).node(key)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_share_one(kind: str) -> None:
    made = KINDS[kind](named(5))
    expected = [made.node(key) for key in KEYS[:300]]
    seen: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: seen.append([made.node(key) for key in KEYS[:300]]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [expected] * 4
