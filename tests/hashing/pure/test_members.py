from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.errors import ConfigError
from escala.hashing.pure import members as module
from escala.hashing.pure.members import counted, joined, left, members, reweighted, seeded, whole


def refusal(call: object, *args: object) -> str:
    with pytest.raises(ConfigError) as caught:
        call(*args)  # type: ignore[operator]
    return str(caught.value)


def test_a_list_gives_each_the_weight_one() -> None:
    assert members("M", ["b", "a"]) == {"b": 1.0, "a": 1.0}
    assert list(members("M", iter(["b", "a"]))) == ["b", "a"]
    weights = members("M", {"a": 2, "b": 0.5})
    assert weights == {"a": 2.0, "b": 0.5}
    assert all(type(weight) is float for weight in weights.values())


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([], "M: nodes: expected at least one node, found none"),
        ({}, "M: nodes: expected at least one node, found none"),
        ("abc", "M: nodes: expected a list of names, found 'abc'"),
        (b"abc", "M: nodes: expected a list of names, found b'abc'"),
        (None, "M: nodes: expected a list of names, found None"),
        (7, "M: nodes: expected a list of names, found 7"),
        (["a", "a"], "M: nodes: 'a' is named twice"),
        ([""], "M: nodes: expected a name, found ''"),
        (["a", 7], "M: nodes: expected a name, found 7"),
        ([b"a"], "M: nodes: expected a name, found b'a'"),
        (["\ud800"], "M: nodes: expected a name, found '\\ud800'"),
    ],
)
def test_what_are_no_nodes(nodes: object, text: str) -> None:
    assert refusal(members, "M", nodes) == text


@pytest.mark.parametrize(
    "weight", [0, -1, math.nan, math.inf, -math.inf, 0.0009, 1e6 + 1, "2", None]
)
def test_what_is_no_weight(weight: object) -> None:
    text = f"M: weight of 'a': expected a number from 0.001 to 1,000,000, found {weight!r}"
    assert refusal(members, "M", {"a": weight}) == text
    assert refusal(joined, "M", {"b": 1.0}, "a", weight) == text
    assert refusal(reweighted, "M", {"a": 1.0}, "a", weight) == text


@pytest.mark.parametrize("weight", [0.001, 1, 1e6])
def test_the_lightest_and_the_heaviest(weight: float) -> None:
    assert members("M", {"a": weight}) == {"a": weight}


def test_more_nodes_than_anyone_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_NODES", 2)
    assert len(members("M", ["a", "b"])) == 2
    assert (
        refusal(members, "M", ["a", "b", "c"]) == "M: nodes: expected at most 2 nodes, found more"
    )


def test_joining_and_leaving_change_no_one_elses_map() -> None:
    one = {"a": 1.0, "b": 2.0}
    assert joined("M", one, "c", 3) == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert left("M", one, "a") == {"b": 2.0}
    assert reweighted("M", one, "a", 5) == {"a": 5.0, "b": 2.0}
    assert one == {"a": 1.0, "b": 2.0}


def test_what_cannot_join_or_leave() -> None:
    assert refusal(joined, "M", {"a": 1.0}, "a", 1) == "M: nodes: 'a' is named twice"
    assert refusal(left, "M", {"a": 1.0}, "b") == "M: nodes: there is no node 'b'"
    assert refusal(reweighted, "M", {"a": 1.0}, "b", 1) == "M: nodes: there is no node 'b'"
    last = "M: nodes: 'a' is the last node and cannot leave"
    assert refusal(left, "M", {"a": 1.0}, "a") == last


@pytest.mark.parametrize("value", [-1, 4, 1.0, True, "1", None])
def test_what_is_no_count(value: object) -> None:
    text = f"M: count: expected a whole number from 0 to 3, found {value!r}"
    assert refusal(counted, "M", "count", value, 0, 3) == text


def test_counts_and_seeds() -> None:
    assert [counted("M", "count", value, 0, 3) for value in (0, 3)] == [0, 3]
    assert [seeded("M", seed) for seed in (0, 2**64 - 1)] == [0, 2**64 - 1]
    for seed in (-1, 2**64):
        assert "seed: expected a whole number from 0 to 18446744073709551615" in refusal(
            seeded, "M", seed
        )


@given(st.dictionaries(st.text(), st.floats(0.001, 1e6), min_size=1, max_size=8))
def test_whole_numbers_have_exactly_the_same_proportions(weights: dict[str, float]) -> None:
    numbers = whole(weights)
    scale = {Fraction(numbers[node]) / Fraction(weight) for node, weight in weights.items()}
    assert len(scale) == 1
