from __future__ import annotations

import math
from enum import Enum
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from escala.errors import ConfigError
from escala.kernel.config import options
from escala.kernel.units import Duration, PositiveDuration, Rate, Share


class Mood(Enum):
    CALM = "calm"
    WILD = "wild"


class Inner(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    level: int = 1


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    attempts: Annotated[int, Meta(ge=1)] = 3
    budget: Share = Share("20%")
    after: PositiveDuration | None = None
    limit: Rate = Rate("1/s")
    factor: Annotated[float, Meta(gt=0, le=10)] = 2.0
    size: Annotated[int, Meta(ge=1, le=64)] = 8
    below: Annotated[int, Meta(lt=5)] = 1
    order: Literal["fifo", "lifo"] = "fifo"
    only: Literal["one"] = "one"
    mood: Mood = Mood.CALM
    armed: bool = True
    key: str = "key"
    label: Annotated[str, Meta(min_length=1)] = "x"
    code: Annotated[str, Meta(pattern="^[a-z]+$")] = "x"
    brief: Annotated[str, Meta(max_length=3)] = "x"
    names: Annotated[tuple[str, ...], Meta(max_length=2)] = ()
    pair: tuple[int, int] = (1, 2)
    tags: frozenset[str] = frozenset()
    waits: list[Duration] = []
    sizes: Annotated[dict[str, int], Meta(max_length=2)] = {}
    some: Annotated[tuple[int, ...], Meta(min_length=1)] = (1,)
    few: Annotated[tuple[int, ...], Meta(min_length=1, max_length=2)] = (1,)
    inner: Inner | None = None
    inners: dict[str, Inner] = {}
    either: int | str = 1
    least: Annotated[Annotated[int, Meta(ge=5)] | None, Meta(description="d")] = None


def test_reads_plain_values_and_units() -> None:
    read = options(
        Options,
        {
            "attempts": 5,
            "after": "250ms",
            "limit": "100/min",
            "budget": 0.5,
            "names": ["a", "b"],
            "waits": ["1s", 2],
            "inner": {"name": "n"},
            "mood": "wild",
            "least": 5,
        },
        where="Retry",
    )
    assert read == Options(
        attempts=5,
        after=PositiveDuration(0.25),
        limit=Rate("100/min"),
        budget=Share(0.5),
        names=("a", "b"),
        waits=[Duration(1), Duration(2)],
        inner=Inner(name="n"),
        mood=Mood.WILD,
        least=5,
    )
    assert type(read.after) is PositiveDuration


def test_takes_what_was_read_before() -> None:
    first = options(Options, {"after": "5s", "limit": "1/s"}, where="Retry")
    again = options(
        Options, {"after": first.after, "limit": first.limit, "budget": Share(0.1)}, where="Retry"
    )
    assert (again.after, again.limit, again.budget) == (5.0, Rate("1/s"), 0.1)


def test_defaults_need_no_values() -> None:
    assert options(Options, {}, where="Retry") == Options()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("attempts", 0, "attempts: expected an integer >= 1, found 0"),
        ("attempts", "three", "attempts: expected an integer >= 1, found 'three'"),
        ("attempts", 1.5, "attempts: expected an integer >= 1, found 1.5"),
        ("attempts", True, "attempts: expected an integer >= 1, found true"),
        ("attempts", None, "attempts: expected an integer >= 1, found nothing"),
        ("attempts", [], "attempts: expected an integer >= 1, found an empty list"),
        ("size", 65, "size: expected an integer from 1 to 64, found 65"),
        ("below", 5, "below: expected an integer < 5, found 5"),
        ("factor", 0, "factor: expected a number > 0 and <= 10, found 0"),
        ("factor", math.nan, "factor: expected a number > 0 and <= 10, found nan"),
        ("factor", math.inf, "factor: expected a number > 0 and <= 10, found inf"),
        ("order", "random", "order: expected one of 'fifo', 'lifo'; found 'random'"),
        ("only", "two", "only: expected 'one', found 'two'"),
        ("mood", "odd", "mood: expected one of 'calm', 'wild'; found 'odd'"),
        ("armed", "yes", "armed: expected true or false, found 'yes'"),
        ("armed", 1, "armed: expected true or false, found 1"),
        ("key", 3, "key: expected text, found 3"),
        ("label", "", "label: expected text that is not empty, found ''"),
        ("code", "A", "code: expected text that matches ^[a-z]+$, found 'A'"),
        ("brief", "long", "brief: expected text of 0 to 3 characters, found 'long'"),
        ("budget", 20, "budget: expected a share from 0 to 1 such as '20%' or 0.2, found 20"),
        (
            "after",
            "3 days",
            "after: expected a duration above zero such as '250ms', '2s' or '5m'; found '3 days'",
        ),
        (
            "after",
            math.nan,
            "after: expected a duration above zero such as '250ms', '2s' or '5m'; found nan",
        ),
        ("limit", "1", "limit: expected a rate such as '100/min', '200/s' or '10/30s'; found '1'"),
        ("names", "ab", "names: expected a list, found 'ab'"),
        ("names", ["a", "b", "c"], "names: expected at most 2 items, found 3"),
        ("names", ["a", 1], "names[1]: expected text, found 1"),
        ("some", [], "some: expected at least 1 item, found 0"),
        ("few", [1, 2, 3], "few: expected 1 to 2 items, found 3"),
        ("pair", [1, 2, 3], "pair: expected a list, found a list"),
        ("tags", 1, "tags: expected a list, found 1"),
        (
            "waits",
            [1, "x"],
            "waits[1]: expected a duration such as '250ms', '2s' or '5m'; found 'x'",
        ),
        ("sizes", {"a": 1, "b": "x"}, "sizes.b: expected an integer, found 'x'"),
        ("sizes", {"a b": "x"}, "sizes['a b']: expected an integer, found 'x'"),
        ("sizes", {1: 1}, "sizes[1]: expected text, found 1"),
        ("sizes", {"a": 1, "b": 2, "c": 3}, "sizes: expected at most 2 items, found 3"),
        ("sizes", [], "sizes: expected a mapping, found an empty list"),
        ("inner", 3, "inner: expected a mapping, found 3"),
        ("inner", {"level": 1}, "inner: expected the field 'name', found none"),
        ("inner", {"name": "x", "level": "y"}, "inner.level: expected an integer, found 'y'"),
        ("inners", {"a": {"name": 1}}, "inners.a.name: expected text, found 1"),
        ("either", None, "either: expected an integer or text, found nothing"),
        ("least", 4, "least: expected an integer >= 5, found 4"),
        (
            "atempts",
            1,
            "atempts: expected one of the fields "
            + ", ".join(sorted(Options.__struct_fields__))
            + "; found 'atempts' (did you mean 'attempts'?)",
        ),
    ],
)
def test_says_what_was_expected_and_found(field: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options(Options, {field: value}, where="Retry")
    assert str(caught.value) == f"Retry: {message}"
    assert caught.value.problems == (f"Retry: {message}",)


def test_no_hint_where_nothing_is_near() -> None:
    with pytest.raises(ConfigError, match=r"found 'colour'$"):
        options(Inner, {"name": "x", "colour": "red"}, where="Retry")


def test_reports_everything_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        options(
            Options, {"attempts": 0, "armed": 3, "inner": {"leve": 1}, "key": "fine"}, where="R"
        )
    assert caught.value.problems == (
        "R: attempts: expected an integer >= 1, found 0",
        "R: armed: expected true or false, found 3",
        (
            "R: inner.leve: expected one of the fields level, name; "
            "found 'leve' (did you mean 'level'?)"
        ),
        "R: inner: expected the field 'name', found none",
    )
    assert str(caught.value) == "\n".join(caught.value.problems)


def test_what_was_read_before_is_no_problem_beside_one() -> None:
    with pytest.raises(ConfigError) as caught:
        options(Options, {"inner": Inner(name="x"), "attempts": 0}, where="R")
    assert caught.value.problems == ("R: attempts: expected an integer >= 1, found 0",)


def test_a_flood_of_problems_is_cut() -> None:
    with pytest.raises(ConfigError) as caught:
        options(Options, {"waits": ["x"] * 150}, where="R")
    assert len(caught.value.problems) == 101
    assert caught.value.problems[-1] == "and 50 more"


class Window(Struct, frozen=True, kw_only=True):
    low: int = 0
    high: int = 10

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"expected low <= high, found {self.low} > {self.high}")


class Holder(Struct, frozen=True, kw_only=True):
    window: Window = Window()
    other: int = 0


def test_rules_between_fields_are_reported_where_they_belong() -> None:
    with pytest.raises(ConfigError) as caught:
        options(Holder, {"window": {"low": 11}, "other": "x"}, where="Holder")
    assert caught.value.problems == (
        "Holder: window: expected low <= high, found 11 > 10",
        "Holder: other: expected an integer, found 'x'",
    )


def test_rules_between_fields_are_not_asked_about_broken_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        options(Window, {"low": 11, "high": "x"}, where="Window")
    assert caught.value.problems == ("Window: high: expected an integer, found 'x'",)


def test_a_password_in_a_url_is_not_shown() -> None:
    password = "s3cr3t"
    with pytest.raises(ConfigError) as caught:
        options(Options, {"attempts": f"redis://user:{password}@host/0"}, where="Retry")
    assert password not in str(caught.value)
    assert "found 'redis://***@host/0'" in str(caught.value)


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(ConfigError) as caught:
        options(Options, {"attempts": "x" * 500}, where="Retry")
    assert str(caught.value).endswith("found '" + "x" * 56 + "...")


class Foreign(Struct, frozen=True):
    clock: msgspec.Raw | None = None
    odd: complex | None = None


def test_a_type_of_no_spelling_takes_its_own_objects_only() -> None:
    assert options(Foreign, {"odd": 1j}, where="F").odd == 1j
    with pytest.raises(ConfigError) as caught:
        options(Foreign, {"odd": "1j"}, where="F")
    assert str(caught.value) == "F: odd: expected complex, found '1j'"


class Named(Struct, frozen=True):
    name: Annotated[str, Meta(pattern="^[a-z]+$", extra={"expected": "a short name"})] = "x"


def test_a_type_may_say_what_it_expects() -> None:
    with pytest.raises(ConfigError) as caught:
        options(Named, {"name": "X"}, where="Named")
    assert str(caught.value) == "Named: name: expected a short name, found 'X'"
