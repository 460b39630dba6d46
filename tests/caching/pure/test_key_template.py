"""Keys: what they look like, that no two calls share one, and what is refused when applied."""

from __future__ import annotations

import inspect
import string
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from hashlib import blake2b
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from escala.caching.pure.key_template import KeyTemplate
from escala.caching.pure.key_text import shortened, value_text, values_text
from escala.errors import ConfigError


class Colour(Enum):
    RED = "r:ed"
    BLUE = 2
    ODD = (1, 2)


class Country(StrEnum):
    NL = "nl"


class Level(IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "always the same"


@dataclass
class Order:
    customer_id: Any
    inner: Any = None


def user(id: Any, *, lang: Any = "en") -> None: ...  # noqa: A002


def pair(a: Any, b: Any) -> None: ...


ID = UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ada", "ada"),
        ("", ""),
        ("a:b", "a%3Ab"),
        ("100%", "100%25"),
        ("%3A:", "%253A%3A"),
        ("%none", "%25none"),
        ("é{x}\n", "é{x}\n"),
        (Text("t:b"), "t%3Ab"),
        (7, "7"),
        (-7, "-7"),
        (True, "True"),
        (None, "%none"),
        (1.5, "1.5"),
        (Decimal("1.10"), "1.10"),
        (ID, str(ID)),
        (date(2026, 1, 2), "2026-01-02"),
        (time(1, 2, 3), "01%3A02%3A03"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02 00%3A00%3A00+00%3A00"),
        (Colour.RED, "r%3Aed"),
        (Colour.BLUE, "2"),
        (Country.NL, "nl"),
        (Level.HIGH, "3"),
    ],
    ids=repr,
)
def test_the_text_of_a_value(value: object, text: str) -> None:
    assert value_text(value, "id") == text
    assert KeyTemplate("user:{id}").bind(user)(value) == "user:" + text


@pytest.mark.parametrize(
    "value", [[1], (1,), {}, {1}, b"x", object(), Order(1), Colour.ODD], ids=lambda v: repr(v)[:9]
)
def test_what_has_no_text_of_its_own_is_refused(value: object) -> None:
    found = "tuple" if value is Colour.ODD else type(value).__name__
    with pytest.raises(TypeError) as caught:
        KeyTemplate("user:{id}").bind(user)(value)
    assert str(caught.value) == (
        f"id: expected text, a number, a UUID, an enum or a date in a key; found {found}: "
        "name what tells it from others, as in {id.id}"
    )


def test_a_path_is_named_in_the_refusal() -> None:
    with pytest.raises(TypeError, match=r"^id\.customer_id: expected text.*\{id\.customer_id\.id}"):
        KeyTemplate("o:{id.customer_id}").bind(user)(Order([1]))


def test_attributes_of_arguments_can_be_named() -> None:
    key = KeyTemplate("o:{id.customer_id}:{id.inner.customer_id}").bind(user)
    assert key(Order(7, Order("x"))) == "o:7:x"
    with pytest.raises(AttributeError):
        key(Order(7))


def test_braces_and_quotes_stand_for_themselves() -> None:
    template = KeyTemplate("{{'\"\\n\n\\N{{x}}:{id}:}}")
    assert template.bind(user)(1) == "{'\"\\n\n\\N{x}:1:}"


def test_a_key_may_be_the_same_for_all_calls() -> None:
    assert KeyTemplate("all").bind(user)(7) == "all"
    assert KeyTemplate("").bind(user)(7) == ""


def test_each_argument_may_be_given_as_the_function_takes_it() -> None:
    key = KeyTemplate("{id}:{lang}").bind(user)
    assert key(1) == key(id=1) == key(1, lang="en") == "1:en"
    assert key(lang="nl", id=2) == "2:nl"
    for wrong in ({}, {"id": 1, "more": 2}):
        with pytest.raises(TypeError, match=r"user\(\)"):
            key(**wrong)
    with pytest.raises(TypeError, match="positional"):
        key(1, "nl")


def test_names_that_the_code_uses_may_be_the_functions_own() -> None:
    def odd(type: Any, str: Any, len: Any, int: Any, _escala_text: Any, f: Any = "'") -> None: ...  # noqa: A002

    key = KeyTemplate("{type}:{str}:{len}:{int}:{_escala_text}:{f}").bind(odd)
    assert key("a:", None, 3, True, 1.5) == "a%3A:%none:3:True:1.5:'"


def test_any_number_of_arguments_has_to_be_named() -> None:
    def total(*ids: Any, lang: str = "en") -> None: ...

    def keyed(id: Any, **more: Any) -> None: ...  # noqa: A002

    key = KeyTemplate("sum:{ids}:{lang}").bind(total)
    assert key() == "sum::en"
    assert key(1, "a,b", None, lang="nl") == "sum:,1,a%2Cb,%none:nl"
    with pytest.raises(TypeError, match=r"^ids: expected text"):
        key([1])
    refused: list[Any] = [(total, "sum:{lang}", r"\*ids"), (keyed, "k:{id}", r"\*\*more")]
    for fn, text, stars in refused:
        with pytest.raises(
            ConfigError, match=f"found {stars} of .*, which may hold what the key does not$"
        ):
            KeyTemplate(text).bind(fn)
    with pytest.raises(ConfigError, match="may hold what"):
        KeyTemplate("k:{more}").bind(keyed)
    with pytest.raises(ConfigError, match="may hold what"):
        KeyTemplate("k:{ids.real}").bind(total)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user:{}", "expected an argument such as {id} or {order.id}; found {}"),
        ("user:{0}", "found {0}"),
        ("user:{id[0]}", "found {id[0]}"),
        ("user:{id!r}", "found {id!r}"),
        ("user:{id:>5}", "found {id:>5}"),
        ("user:{id!s:x}", "found {id!s:x}"),
        ("user:{id.}", "found {id.}"),
        ("user:{id.class}", "found {id.class}"),
        ("user:{ id}", "found { id}"),
        ("user:{id.x()}", "found {id.x()}"),
        ("user:{id", "expected '}' before end of string; double a brace to mean itself"),
        ("user:}", "Single '}' encountered in format string; double a brace to mean itself"),
        ("{a}{b}", "expected ':' between {a} and {b}; without it two different calls could have"),
        ("{a}-{b.c}", "expected ':' between {a} and {b.c}"),
        ("x:{a}{b}", "expected ':' between {a} and {b}"),
        ("100%:{a}", "'100%:{a}': expected no '%' beside the arguments, found one"),
        ("{a}:100%", "expected no '%' beside the arguments, found one"),
        (7, "key: expected text such as 'user:{id}', found 7"),
    ],
)
def test_a_template_that_says_nothing_certain_is_refused(text: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        KeyTemplate(text)
    assert message in str(caught.value)
    if text != 7:
        assert str(caught.value).startswith(f"{text!r}: ")


@pytest.mark.parametrize("text", ["{{:{a}", "{a}{{:{b}}}", "{a}::{b}", ":{a}:"])
def test_a_template_with_a_colon_between_is_taken(text: str) -> None:
    assert KeyTemplate(text).bind(pair)(1, 2) == text.format(a=1, b=2)


def test_an_unknown_argument_is_refused_when_applied() -> None:
    with pytest.raises(ConfigError) as caught:
        KeyTemplate("user:{idd}:{who.name}:{id}").bind(user)
    assert str(caught.value) == (
        "'user:{idd}:{who.name}:{id}': expected arguments of user, which takes id, lang; "
        "found idd, who"
    )
    with pytest.raises(ConfigError, match="expected arguments of <lambda>, which takes nothing; f"):
        KeyTemplate("user:{id}").bind(lambda: None)
    with pytest.raises(ConfigError, match=r"^type: .*wrap it in a function$"):
        KeyTemplate("user:{id}").bind(type)


@pytest.mark.parametrize("size", [199, 200, 201, 1_000_000])
def test_a_long_key_is_replaced_by_a_digest(size: int) -> None:
    key = KeyTemplate("{id}").bind(user)
    whole = "é" * size
    assert (key(whole) == whole) is (size <= 200)
    if size > 200:
        digest = blake2b(whole.encode(), digest_size=16).hexdigest()
        assert key(whole) == "é" * 166 + "%#" + digest
        assert len(key(whole)) == 200
        assert key(whole + "!") != key(whole)
    assert shortened("\ud800" * 300)


def test_a_template_can_be_filled_by_hand() -> None:
    template = KeyTemplate("user:{id}:{order.customer_id}:{id}")
    assert template.fill(id="a:b", order=Order(3)) == "user:a%3Ab:3:a%3Ab"
    with pytest.raises(TypeError, match="order"):
        template.fill(id=1)
    assert repr(template) == "KeyTemplate('user:{id}:{order.customer_id}:{id}')"


texts = st.one_of(st.text(st.sampled_from(":%,a1-"), max_size=6), st.text(max_size=4))


@given(st.tuples(texts, texts), st.tuples(texts, texts), st.sampled_from(["{a}:{b}", "{a}a:1{b}"]))
def test_no_two_texts_share_a_key(one: Any, other: Any, text: str) -> None:
    key = KeyTemplate(text).bind(pair)
    assert (key(*one) == key(*other)) is (one == other)


@given(st.tuples(*[st.integers()] * 2), st.tuples(*[st.integers()] * 2))
def test_no_two_numbers_share_a_key(one: Any, other: Any) -> None:
    key = KeyTemplate("{a}:{b}").bind(pair)
    assert (key(*one) == key(*other)) is (one == other)


either = st.one_of(st.none(), st.booleans(), st.integers(-20, 20), texts)


@given(st.tuples(either, either), st.tuples(either, either))
def test_only_the_text_of_a_value_counts(one: Any, other: Any) -> None:
    def spelled(values: Any) -> Any:
        return [None if value is None else str(value) for value in values]

    key = KeyTemplate("{a}:{b}").bind(pair)
    assert (key(*one) == key(*other)) is (spelled(one) == spelled(other))


@given(st.lists(texts, max_size=3), st.lists(texts, max_size=3))
def test_no_two_lists_share_a_text(one: list[str], other: list[str]) -> None:
    assert (values_text(one, "x") == values_text(other, "x")) is (one == other)


KINDS = [
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.KEYWORD_ONLY,
]


@st.composite
def signatures(draw: st.DrawFn) -> inspect.Signature:
    kinds = sorted(draw(st.lists(st.sampled_from(KINDS), max_size=6)))
    assume(kinds.count(inspect.Parameter.VAR_POSITIONAL) < 2)
    optional, parameters = False, []
    for name, kind in zip(string.ascii_lowercase, kinds, strict=False):
        default: Any = inspect.Parameter.empty
        if kind is inspect.Parameter.KEYWORD_ONLY:
            default = draw(st.sampled_from([default, 5]))
        elif kind is not inspect.Parameter.VAR_POSITIONAL:
            optional = optional or draw(st.booleans())
            default = 5 if optional else default
        parameters.append(inspect.Parameter(name, kind, default=default))
    return inspect.Signature(parameters)


@given(signatures())
def test_the_builder_is_called_as_the_function_is(signature: inspect.Signature) -> None:
    def fn() -> None: ...

    fn.__signature__ = signature  # type: ignore[attr-defined]
    text = ":".join(["k", *[f"{{{name}}}" for name in signature.parameters]])
    assert inspect.signature(KeyTemplate(text).bind(fn)) == signature
