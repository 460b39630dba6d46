"""What counts as a change, and where it is said to be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from msgspec import Struct

from escala.caching.pure.change import Change, change


class Pair(NamedTuple):
    a: Any
    b: Any


class Box(Struct):
    one: Any
    two: Any = 0


@dataclass
class Bag:
    one: Any
    two: Any = 0


class Number(int):
    pass


NAN = float("nan")
OTHER = "it comes back as another value"
ZONE = "it comes back in another time zone: give it in UTC"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
THERE = NOON.astimezone(timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (1, 1), (None, None), ("a", "a"), (3, 3.0), (NAN, float("nan")), ([NAN], [float("nan")]),
        ([1, [2]], [1, [2]]), ((1, 2), (1, 2)), (Pair(1, 2), Pair(1, 2)), ({1, 2}, {2, 1}),
        ({"a": 1, "b": [2]}, {"a": 1, "b": [2]}), (Box(1), Box(1)), (Bag([1]), Bag([1])),
        (NOON, datetime(2026, 1, 2, 12, tzinfo=timezone(timedelta(0)))), (NOON.time(), time(12)),
        (Decimal("1.0"), Decimal("1.00")), ([3], [3.0]), (Box(3), Box(3.0)),
        ({(1, "a")}, {(1, "a")}), (frozenset({1}), frozenset({1})),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_the_same_is_the_same(value: Any, back: Any) -> None:
    assert change(value, back) is None


@pytest.mark.parametrize(
    ("value", "back", "where", "how"),
    [
        (1, 2, "", OTHER),
        (1, True, "", "int comes back as bool"),
        (True, 1, "", "bool comes back as int"),
        (True, 1.0, "", "bool comes back as float"),
        (3.0, 3, "", "float comes back as int"),
        (3, 4.0, "", "int comes back as float"),
        (2**53 + 1, float(2**53), "", "int comes back as float"),
        (Number(1), 1, "", "Number comes back as int"),
        (NAN, 1.0, "", OTHER),
        (1.0, NAN, "", OTHER),
        ((1,), [1], "", "tuple comes back as list"),
        (Pair(1, 2), (1, 2), "", "Pair comes back as tuple"),
        (Pair(1, 2), Pair(1, 3), "[1]", OTHER),
        ([1, 2], [1], "", OTHER),
        ([1], [1, 2], "", OTHER),
        ([1, 2], [1, 3], "[1]", OTHER),
        ([1, [2, (3,)]], [1, [2, [3]]], "[1][1]", "tuple comes back as list"),
        ([1], [True], "[0]", "int comes back as bool"),
        ([[1]], [[True]], "[0][0]", "int comes back as bool"),
        (Box(1), Box(True), ".one", "int comes back as bool"),
        (Box([1]), Box([True]), ".one[0]", "int comes back as bool"),
        ({"a": 1}, {}, "", OTHER),
        ({}, {"a": 1}, "", OTHER),
        ({"a": 1}, {"b": 1}, " key 'a'", OTHER),
        ({1: 1}, {True: 1}, " key 1", "int comes back as bool"),
        ({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}}, "['b']['c']", OTHER),
        ({"x" * 99: 1}, {"x" * 99: 2}, "['" + "x" * 39 + "]", OTHER),
        ({(1,): 1}, {(True,): 1}, " key (1,)[0]", "int comes back as bool"),
        ({1}, {2}, "", OTHER),
        ({1}, {1, 2}, "", OTHER),
        ({1}, {True}, " item 1", "int comes back as bool"),
        ({(1, 2)}, {(True, 2)}, " item (1, 2)[0]", "int comes back as bool"),
        (Box(1, 2), Box(1, 3), ".two", OTHER),
        (Box(1, [5]), Box(1, [6]), ".two[0]", OTHER),
        (Box(Bag(1)), Box(Bag(2)), ".one.one", OTHER),
        (Box(1), Bag(1), "", "Box comes back as Bag"),
        (NOON, THERE, "", ZONE),
        (NOON, NOON.replace(hour=13), "", OTHER),
        (time(12, tzinfo=UTC), time(13, tzinfo=THERE.tzinfo), "", ZONE),
        (NOON.replace(tzinfo=None), NOON, "", OTHER),
        (Decimal(1), Decimal(2), "", OTHER),
        ([0, "a", Box(1)], [0, "a", Box(2)], "[2].one", OTHER),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_change_is_found_where_it_is(value: Any, back: Any, where: str, how: str) -> None:
    assert change(value, back) == Change(where, how)


def test_parts_are_what_the_class_says() -> None:
    class Attribute(NamedTuple):
        name: str

    class Attrs:
        __attrs_attrs__ = (Attribute("one"),)

        def __init__(self, one: Any) -> None:
            self.one, self.aside = one, object()

    assert change(Attrs(1), Attrs(1)) is None
    assert change(Attrs(1), Attrs(2)) == Change(".one", OTHER)
    bag = Bag(1)
    bag.aside = 5  # type: ignore[attr-defined]
    assert change(bag, Bag(1)) is None
