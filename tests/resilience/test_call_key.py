"""The keys of calls: which there are, how long ones are kept, and how they are written down."""

from __future__ import annotations

import itertools
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

import pytest

from escala.kernel.context import Request, serving
from escala.resilience.call_key import call_key, key_text, short


class Colour(StrEnum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Pair(NamedTuple):
    left: str
    right: int


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("ann", "ann"),
        ("", ""),
        (b"\x00\xff", "bytes:00ff"),
        (7, "int:7"),
        (-7, "int:-7"),
        (("a", 1), "tuple:'a','int:1'"),
        (("a,b",), "tuple:'a,b'"),
        ((), "tuple:"),
        (("a", ("b", b"c")), "tuple:'a',\"tuple:'b','bytes:63'\""),
        ("int:7", "text:int:7"),
        ("text:a", "text:text:a"),
    ],
)
def test_keys_as_text(key: Any, text: str) -> None:
    assert short(key, "mine") == key
    assert key_text(key) == text


def test_keys_that_differ_are_written_differently() -> None:
    parts = ["", "a", "'", "','", "int:1", 1, b"a", "bytes:61", "tuple:", "text:a", "a\\"]
    keys: list[Any] = [*parts, (), *itertools.product(parts, repeat=1)]
    keys += itertools.product([*parts, ("a",)], repeat=2)
    assert len({key_text(short(key, "mine")) for key in keys}) == len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("key", "same"),
    [(True, 1), (Colour.RED, "red"), (Number.ONE, 1), (Pair("a", 1), ("a", 1)), ((True,), (1,))],
)
def test_keys_that_are_equal_are_written_alike(key: Any, same: Any) -> None:
    assert short(key, "mine") == short(same, "mine")
    assert key_text(short(key, "mine")) == key_text(short(same, "mine"))


@pytest.mark.parametrize(
    ("longest", "longer"),
    [
        ("x" * 64, "x" * 65),
        (b"x" * 64, b"x" * 65),
        (2**256 - 1, 2**256),
        (-(2**256) + 1, -(2**256)),
        (("x" * 64,) * 8, ("x",) * 9),
    ],
    ids=["text", "bytes", "number", "negative", "tuple"],
)
def test_a_long_one_is_kept_as_a_digest(longest: Any, longer: Any) -> None:
    assert short(longest, "mine") == longest
    digest = short(longer, "mine")
    assert digest != longer
    assert str(digest).removeprefix("b'").startswith("sha256:")
    for key in (longest, longer):
        assert len(key_text(short(key, "mine"))) <= 71


def test_what_clients_choose_is_bounded_in_a_tuple_too() -> None:
    huge = ("x" * 1_000_000, b"y" * 1_000_000, 10**5000, ("z" * 65,))
    assert len(repr(short(huge, "mine"))) < 400
    assert short(huge, "mine") != short((*huge[:3], ("z" * 66,)), "mine")
    many = tuple("/a" * 500)
    assert len(str(short(many, "mine"))) == 71


def test_a_digest_is_of_one_kind_of_key() -> None:
    number, parts = 2**300, ("a" * 60, "b")
    text = key_text(short(parts, "mine"))
    same: list[Any] = [
        number,
        hex(number),
        hex(number).encode(),
        parts,
        "tuple:'" + "a" * 60 + "','b'",
    ]
    assert text.startswith("sha256:")
    assert len({key_text(short(key, "mine")) for key in same}) == len(same)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (None, 'NoneType: use "" for calls without one'),
        (2.5, "float: make it text, with str(key)"),
        (frozenset("a"), "frozenset: make it text, with str(key)"),
        (("a", (1, None)), 'NoneType: use "" for calls without one'),
        ([], "list: make it text, with str(key)"),
    ],
)
def test_anything_else_is_no_key(key: Any, found: str) -> None:
    expected = "mine: expected a key of text, bytes, a whole number or a tuple of those; found "
    with pytest.raises(TypeError) as caught:
        short(key, "mine")
    assert str(caught.value) == expected + found
    if key is not None:
        with pytest.raises(TypeError) as caught:
            call_key(lambda _: key, "mine")
        assert str(caught.value) == expected + found


def test_calls_without_a_value_have_the_empty_key() -> None:
    assert call_key("tenant") == ""
    assert call_key(lambda request: request and request.tenant) == ""
    with serving(Request(tenant="ann")):
        assert call_key("tenant") == "ann"
        assert call_key("key") == ""
        assert call_key(lambda request: request and request.tenant) == "ann"
    with serving(Request(tenant="x" * 65)):
        assert call_key("tenant") == call_key(lambda _: "x" * 65) == short("x" * 65, "mine")
