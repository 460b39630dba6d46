from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal, Self

import pytest
from jsonschema import Draft202012Validator
from msgspec import Meta, Struct

from escala.kernel.field_docs import field_docs
from escala.kernel.problem import Path
from escala.kernel.reader import Composite, Reader
from escala.kernel.schema import any_of, schema
from escala.kernel.units import Duration, PositiveSize, Rate, Share


class Mood(Enum):
    CALM = "calm"
    WILD = "wild"


class Pair(Composite):
    """Two numbers in one text, as in `3x4`."""

    def __init__(self, left: int, right: int) -> None:
        self.left, self.right = left, right

    @classmethod
    def read(cls, reader: Reader, value: object, path: Path) -> Self:
        left, right = str(value).split("x")
        return cls(int(left), int(right))

    def plain(self) -> object:
        return f"{self.left}x{self.right}"

    @classmethod
    def schema(cls, of: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return any_of(of(None), {"type": "string", "pattern": "^[0-9]+x[0-9]+$"})


class Part(Struct, frozen=True, kw_only=True):
    """A part of the whole.

    With more to say about it.
    """

    shorthand: ClassVar[str] = "name"

    name: str
    """What it
    is called."""
    # A comment is no documentation.
    level: Annotated[int, Meta(ge=1, description="How high.")] = 1


class Options(Struct, frozen=True, kw_only=True):
    """All there is."""

    part: Part
    after: Duration = Duration("5s")
    limit: Rate | None = None
    room: PositiveSize = PositiveSize("1MiB")
    share: Share = Share("20%")
    factor: Annotated[float, Meta(gt=0, lt=10)] = 2.0
    count: Annotated[int, Meta(ge=1, le=9)] = 1
    order: Literal["fifo", "lifo"] = "fifo"
    mood: Mood = Mood.CALM
    armed: bool = False
    key: str = "k"
    code: Annotated[str, Meta(pattern="^[a-z]+$", min_length=2, max_length=4)] = "ab"
    names: Annotated[tuple[str, ...], Meta(min_length=1, max_length=2)] = ("a",)
    parts: dict[str, Part] = {}
    tight: Annotated[
        dict[Annotated[str, Meta(pattern="^[a-z]+$")], int], Meta(min_length=1, max_length=2)
    ] = {}
    pair: Pair = Pair(3, 4)
    whatever: Any = None
    two: tuple[int, str] | None = None


SCHEMA = schema(Options, title="test.yaml")
VALIDATOR = Draft202012Validator(SCHEMA)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["title"] == "test.yaml"
    assert list(SCHEMA["$defs"]) == ["Options", "Part", "variable"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("part", "bare"),
        ("part", {"name": "x", "level": 2}),
        ("part", {"name": "x", "level": "${LEVEL}"}),
        ("after", "250ms"),
        ("after", 0),
        ("after", 2.5),
        ("after", "${AFTER:-1s}"),
        ("limit", "100/min"),
        ("limit", "10/30s"),
        ("limit", None),
        ("room", "64MiB"),
        ("room", 1),
        ("share", "20%"),
        ("share", 1),
        ("factor", 9.9),
        ("count", 9),
        ("count", "${COUNT}"),
        ("order", "lifo"),
        ("order", "${ORDER}"),
        ("mood", "wild"),
        ("armed", True),
        ("armed", "${ARMED}"),
        ("key", ""),
        ("code", "abcd"),
        ("names", ["a", "b"]),
        ("parts", {"x y": {"name": "x"}, "z": "bare"}),
        ("tight", {"a": 1}),
        ("pair", "3x4"),
        ("pair", None),
        ("whatever", [{}]),
        ("two", [1, "x"]),
    ],
)
def test_good_values_fit(field: str, value: object) -> None:
    VALIDATOR.validate({"part": {"name": "p"}, field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("part", 3),
        ("part", {}),
        ("part", {"name": "x", "level": 0}),
        ("part", {"name": "x", "levl": 1}),
        ("after", "3 parsecs"),
        ("after", -1),
        ("after", None),
        ("after", "$AFTER"),
        ("after", "${}"),
        ("limit", "100"),
        ("limit", 0),
        ("room", 0),
        ("room", 1.5),
        ("share", 1.1),
        ("share", "20"),
        ("factor", 0),
        ("factor", 10),
        ("count", 10),
        ("count", 1.5),
        ("count", "3"),
        ("order", "random"),
        ("mood", "odd"),
        ("armed", "yes"),
        ("key", 3),
        ("code", "a"),
        ("code", "abcde"),
        ("code", "AB"),
        ("names", []),
        ("names", ["a", "b", "c"]),
        ("names", "a"),
        ("parts", {"x": {"name": 1}}),
        ("tight", {}),
        ("tight", {"A": 1}),
        ("tight", {"a": 1, "b": 1, "c": 1}),
        ("pair", "3"),
        ("extra", 1),
    ],
)
def test_bad_values_do_not_fit(field: str, value: object) -> None:
    assert not VALIDATOR.is_valid({"part": {"name": "p"}, field: value})


def test_required_fields_are_required() -> None:
    assert not VALIDATOR.is_valid({})


def test_defaults_are_spelled_as_people_write_them() -> None:
    fields = SCHEMA["$defs"]["Options"]["properties"]
    defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
    assert defaults == {
        "after": "5s", "room": "1MiB", "share": "20%", "factor": 2.0, "count": 1, "order": "fifo",
        "mood": "calm", "armed": False, "key": "k", "code": "ab", "names": ["a"], "pair": "3x4",
    }  # fmt: skip


def test_text_that_is_free_needs_no_variable() -> None:
    fields = SCHEMA["$defs"]["Options"]["properties"]
    assert fields["key"] == {"type": "string", "default": "k"}
    assert fields["whatever"] == {}


def test_the_schema_is_the_same_every_time() -> None:
    again = schema(Options, title="test.yaml")
    assert json.dumps(again) == json.dumps(SCHEMA)
    assert list(SCHEMA["$defs"]["Part"]["anyOf"][1]) == ["description", "type"]


def test_docstrings_become_descriptions() -> None:
    part = SCHEMA["$defs"]["Part"]
    assert part["description"] == "A part of the whole."
    whole, bare = part["anyOf"]
    assert whole["properties"]["name"] == {"description": "What it is called.", "type": "string"}
    assert whole["properties"]["level"]["description"] == "How high."
    assert bare == {"description": "What it is called.", "type": "string"}
    assert SCHEMA["$defs"]["Options"]["description"] == "All there is."


def test_two_structs_of_one_name_are_two_definitions() -> None:
    first = type("Options", (Struct,), {"__annotations__": {"a": int}, "__module__": "one"})
    second = type("Options", (Struct,), {"__annotations__": {"a": str}, "__module__": "two"})
    both = type("Both", (Struct,), {"__annotations__": {"x": first, "y": second}})
    definitions = schema(both, title="t")["$defs"]
    assert definitions["Options"]["properties"]["a"]["anyOf"][0] == {"type": "integer"}
    assert definitions["two.Options"]["properties"]["a"] == {"type": "string"}


def test_a_struct_without_source_has_no_field_docs() -> None:
    made = type("Made", (Struct,), {"__annotations__": {"a": int}})
    assert field_docs(made) == {}


def test_choices_are_written_flat_and_once() -> None:
    text, number = {"type": "string"}, {"type": "number"}
    assert any_of(text, text) == text
    assert any_of(any_of(text, number), {"type": "null"}, number) == {
        "anyOf": [text, number, {"type": "null"}]
    }
