"""Values of every kind that a codec carries, each with the annotation that it comes back by."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar
from uuid import UUID

from msgspec import Meta, Struct

T = TypeVar("T")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Country(StrEnum):
    NL = "nl"


class Level(IntEnum):
    HIGH = 3


class Line(Struct):
    name: str
    price: Decimal
    when: datetime | None = None


class Empty(Struct):
    pass


class Page(Struct, Generic[T]):
    items: list[T]


class Dog(Struct, tag=True):
    barks: bool = True


class Cat(Struct, tag=True):
    lives: int = 9


class Point(NamedTuple):
    x: int
    y: float


class Movie(TypedDict):
    title: str
    cast: list[str]


@dataclass
class Order:
    id: int
    lines: list[Line] = field(default_factory=list)
    colours: set[Colour] = field(default_factory=set)
    seen: tuple[int, str] = (0, "")


@dataclass
class LateOrder(Order):
    late: int = 5


@dataclass(slots=True, frozen=True)
class Place:
    lat: float
    lon: float


@dataclass(eq=False)
class Uncompared:
    id: int


@dataclass
class Loose:
    anything: Any


@dataclass
class Picky:
    """Reading one may fail in any way."""

    id: int

    def __post_init__(self) -> None:
        if self.id < 0:
            raise KeyError(self.id)


NOON = datetime(2026, 1, 2, 12, 0, 0, 5, tzinfo=UTC)
ID = UUID("12345678-1234-5678-1234-567812345678")
AHEAD = timezone(timedelta(hours=2))

PLAIN: dict[str, Any] = {
    "none": None,
    "true": True,
    "int": -7,
    "large": 2**63,
    "float": 1.5,
    "text": "é\n",
    "empty": "",
    "list": [1, [2.0, None], "x"],
    "dict": {"a": [1], "b": {"c": False}},
}
"""What comes back without an annotation too."""

TYPED: dict[str, tuple[Any, Any]] = {
    "struct": (Line("a", Decimal("1.10"), NOON), Line),
    "empty struct": (Empty(), Empty),
    "generic": (Page([Line("a", Decimal(1))]), Page[Line]),
    "union": ([Dog(), Cat(3)], list[Dog | Cat]),
    "named tuple": (Point(1, 2.5), Point),
    "typed dict": ({"title": "t", "cast": ["a"]}, Movie),
    "dataclass": (Order(1, [Line("a", Decimal(2))], {Colour.RED}, (4, "x")), Order),
    "frozen": ({Place(1.0, 2.0)}, set[Place]),
    "no eq": (Uncompared(3), Uncompared),
    "loose": (Loose([1, {"a": "b"}]), Loose),
    "datetime": (NOON, datetime),
    "naive": (NOON.replace(tzinfo=None), datetime),
    "date": (date(2026, 1, 2), date),
    "time": (time(1, 2, 3, 4), time),
    "timedelta": (timedelta(days=-3, microseconds=7), timedelta),
    "uuid": (ID, UUID),
    "decimal": (Decimal("1.100"), Decimal),
    "enum": (Colour.RED, Colour),
    "str enum": ([Country.NL], list[Country]),
    "int enum": ({"a": Level.HIGH}, dict[str, Level]),
    "literal": ("a", Literal["a", "b"]),
    "set": ({1, 2}, set[int]),
    "frozen set": (frozenset({"a"}), frozenset[str]),
    "tuple": ((1, 2, 3), tuple[int, ...]),
    "pair": ((1, "a"), tuple[int, str]),
    "optional": (None, Line | None),
    "of optional": ([None, Empty()], list[Empty | None]),
    "keys": ({ID: 1}, dict[UUID, int]),
    "numbers as keys": ({1: Empty()}, dict[int, Empty]),
    "bytes": (b"\x00\xff", bytes),
    "whole float": (3, float),
    "limited": (3, Annotated[int, Meta(ge=0)]),
    "any": ([1, "a"], Any),
    "object": ({"a": 1}, object),
    "list": ([1], list),
}

CHANGED: dict[str, tuple[Any, Any, str]] = {
    "tuple": ((1, 2), None, "tuple comes back as list"),
    "set": ({1}, None, "set comes back as list"),
    "inner tuple": ({"a": [(1,)]}, None, "in value['a'][0], tuple comes back as list"),
    "struct": (Line("a", Decimal(1)), None, "Line comes back as dict"),
    "dataclass": (Order(1), None, "Order comes back as dict"),
    "uuid": (ID, None, "UUID comes back as str"),
    "decimal": ([Decimal(1)], None, "in value[0], Decimal comes back as str"),
    "naive": (NOON.replace(tzinfo=None), None, "datetime comes back as str"),
    "enum": (Country.NL, None, "Country comes back as str"),
    "int enum": ({"a": Level.HIGH}, Any, "in value['a'], Level comes back as int"),
    "counter": (Counter("aa"), None, "Counter comes back as dict"),
    "ordered": (OrderedDict(a=1), dict[str, int], "OrderedDict comes back as dict"),
    "default": (defaultdict(int, a=1), dict, "defaultdict comes back as dict"),
    "frozen set": (frozenset({1}), set[int], "frozenset comes back as set"),
    "subclass": (LateOrder(1), Order, "LateOrder comes back as Order"),
    "in any": (Loose(Place(1.0, 2.0)), Loose, "in value.anything, Place comes back as dict"),
    "in a set": ({Country.NL}, set[str], "in value item <Country.NL: 'nl'>, Country comes back"),
    "as a key": ({Country.NL: 1}, dict[str, int], "in value key <Country.NL: 'nl'>, Country c"),
    "bytearray": (bytearray(b"x"), bytes, "bytearray comes back as bytes"),
}
"""What would come back as something else, with its annotation and what is said of it."""

REFUSED: dict[str, tuple[Any, Any, str]] = {
    "object": (object(), None, "Encoding objects of type object is unsupported"),
    "wrong": ("a", int, "Expected `int`, got `str`"),
    "true for 1": (True, int, "Expected `int`, got `bool`"),
    "a bound": (-1, Annotated[int, Meta(ge=0)], "Expected `int` >= 0"),
    "int of 65 bits for a float": (2**53 + 1, float, "int comes back as float"),
    "two structs": (Line("a", Decimal(1)), Line | Empty, "all Struct types must be tagged"),
    "surrogate": ("\ud800", str, "surrogates not allowed"),
    "picky": (Picky(5), dict[str, str], "Expected `str`, got `int`"),
}
