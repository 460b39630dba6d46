from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from escala.errors import ConfigError
from escala.kernel.environment import overlay, substituted
from escala.kernel.problem import refuse
from escala.kernel.reader import Reader
from escala.kernel.units import Duration
from escala.kernel.yaml_source import parse_yaml


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${HOST}", "shop"),
        ("http://${HOST}:${PORT}/", "http://shop:80/"),
        ("${NONE:-x}", "x"),
        ("${NONE:-}", ""),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY}", ""),
        ("${HOST:-x}", "shop"),
        ("${NONE:-a:-b $c}", "a:-b $c"),
        ("$${HOST}", "${HOST}"),
        ("$$${HOST}", "$${HOST}"),
        ("$HOST", "$HOST"),
        ("{HOST}", "{HOST}"),
        ("${ODD}", "${HOST}"),
    ],
)
def test_substitutes_variables(text: str, expected: str) -> None:
    environ = {"HOST": "shop", "PORT": "80", "EMPTY": "", "ODD": "${HOST}"}
    assert substituted(text, environ) == (expected, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NONE}", "expected the environment variable NONE to be set, found it unset"),
        ("a${", "expected ${NAME} or ${NAME:-default}, found 'a${'"),
        ("${}", "expected ${NAME} or ${NAME:-default}, found '${}'"),
        ("${A B}", "expected ${NAME} or ${NAME:-default}, found '${A B}'"),
        ("${A-b}", "expected ${NAME} or ${NAME:-default}, found '${A-b}'"),
        ("${1A}", "expected ${NAME} or ${NAME:-default}, found '${1A}'"),
    ],
)
def test_says_which_variable_is_missing(text: str, message: str) -> None:
    assert substituted(text, {})[1] == [message]


@given(st.text(alphabet="${}:-AB", max_size=20))
def test_any_text_is_substituted(text: str) -> None:
    result, missing = substituted(text, {"A": "x", "B": "y"})
    assert "${" not in result or "$${" in text or missing


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    shorthand: ClassVar[str] = "url"
    url: str
    weight: int = 1


class Service(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    targets: tuple[Target, ...] = ()
    interval: Duration = Duration("5s")


class File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    listen: str = "here"
    workers: Annotated[int, Meta(ge=1)] = 1
    explain: bool = False
    admin: str | None = "there"
    services: dict[str, Service] = {}
    limits: Service = Service()


def read(text: str, **environ: str) -> File:
    document = parse_yaml(text.encode(), "stack.yaml", environ)
    overlay(document, environ)
    reader = Reader(document)
    file = reader.read(File, document.value)
    refuse([*document.problems, *reader.problems])
    assert isinstance(file, File)
    return file


def refused(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, **environ)
    return list(caught.value.problems)


def test_a_variable_takes_the_type_its_field_has() -> None:
    text = """
listen: ${LISTEN}
workers: "${WORKERS:-3}"
explain: ${EXPLAIN}
admin: ${ADMIN:-}
services: {a: {interval: "${INTERVAL}", targets: ["${TARGET}", {url: x, weight: "${W}"}]}}
"""
    file = read(text, LISTEN="80", EXPLAIN="true", INTERVAL="7", TARGET="t", W="4")
    assert file == File(
        listen="80",
        workers=3,
        explain=True,
        admin=None,
        services={
            "a": Service(interval=Duration(7), targets=(Target(url="t"), Target(url="x", weight=4)))
        },
    )


def test_errors_show_the_name_and_not_the_secret() -> None:
    secret = "hunter2"
    assert refused("workers: ${TOKEN}\nservices: {a: {interval: '${TOKEN}x'}}", TOKEN=secret) == [
        "stack.yaml:1:10: workers: expected an integer >= 1, found '${TOKEN}'",
        (
            "stack.yaml:2:26: services.a.interval: "
            "expected a duration such as '250ms', '2s' or '5m'; found '${TOKEN}x'"
        ),
    ]
    assert refused("limits: ${TOKEN}", TOKEN=secret, ESCALA__limits__interval="1s") == [
        "ESCALA__limits__interval: limits: expected a mapping, found '${TOKEN}'",
        "stack.yaml:1:9: limits: expected a mapping, found '${TOKEN}'",
    ]


def test_an_unset_variable_is_reported_once() -> None:
    assert refused("workers: ${NONE}\nservices: {a: {targets: ['${NADA}']}}") == [
        (
            "stack.yaml:1:10: workers: "
            "expected the environment variable NONE to be set, found it unset"
        ),
        (
            "stack.yaml:2:26: services.a.targets[0]: "
            "expected the environment variable NADA to be set, found it unset"
        ),
    ]


class Span(Struct, frozen=True, kw_only=True):
    low: int = 0
    high: int = 1

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("expected low <= high")


class Spans(Struct, frozen=True, kw_only=True):
    one: Span = Span()
    two: Span = Span()


@pytest.mark.parametrize("text", ["one: {low: '${NONE}'}\ntwo: ${NADA}", "one: {low: *n}\ntwo: *m"])
def test_what_is_missing_is_not_judged(text: str) -> None:
    document = parse_yaml(text.encode(), "stack.yaml", {})
    reader = Reader(document)
    reader.read(Spans, document.value)
    assert len(document.problems) == 2
    assert reader.problems == []


def test_variables_lie_over_the_file() -> None:
    text = "workers: 1\nservices: {shop-Api: {interval: 1s, targets: [a, {url: b}]}, other_one: {}}"
    file = read(
        text,
        ESCALA__WORKERS="4",
        ESCALA__Explain="true",
        escala__listen="80",
        ESCALA__admin="",
        ESCALA__services__SHOP_API__interval="250ms",
        ESCALA__services__shop_api__targets__0="c",
        ESCALA__services__shop_api__targets__1__weight="3",
        **{"ESCALA__services__other-one__interval": "3s"},
        ESCALA__services__new__interval="2s",
        ESCALA__limits__interval="9",
        ESCALA_LOG="ignored",
        ESCALAX__workers="9",
    )
    assert file == File(
        listen="80",
        workers=4,
        explain=True,
        admin=None,
        services={
            "shop-Api": Service(
                interval=Duration(0.25), targets=(Target(url="c"), Target(url="b", weight=3))
            ),
            "other_one": Service(interval=Duration(3)),
            "new": Service(interval=Duration(2)),
        },
        limits=Service(interval=Duration(9)),
    )


def test_variables_alone_make_a_file() -> None:
    assert read("", ESCALA__workers="2") == File(workers=2)
    assert read("limits:\n", ESCALA__limits__interval="2s").limits.interval == 2.0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ESCALA__workers", "three", "workers: expected an integer >= 1, found 'three'"),
        ("ESCALA__workers", "0", "workers: expected an integer >= 1, found '0'"),
        ("ESCALA__workers__x", "1", "workers: expected a mapping, found 2"),
        (
            "ESCALA__worker",
            "1",
            (
                "worker: expected one of the fields admin, explain, limits, listen, services, "
                "workers; found 'worker' (did you mean 'workers'?)"
            ),
        ),
        ("ESCALA__", "1", "expected ESCALA__field__field, found an empty step"),
        ("ESCALA__limits__", "1", "expected ESCALA__field__field, found an empty step"),
        (
            "ESCALA__limits__targets__1",
            "x",
            "limits.targets: expected an index from 0 to 0, found '1'",
        ),
        (
            "ESCALA__limits__targets__00__weight",
            "x",
            "limits.targets: expected an index from 0 to 0, found '00'",
        ),
        (
            "ESCALA__services__a__targets__0",
            "x",
            "services.a.targets: expected a list that is not empty, found '0'",
        ),
        ("ESCALA__limits__targets", "x", "limits.targets: expected a list, found 'x'"),
        ("ESCALA__limits", "x", "limits: expected a mapping, found 'x'"),
    ],
)
def test_errors_name_the_variable(name: str, value: str, message: str) -> None:
    text = "workers: 2\nlimits: {targets: [a]}\nservices: {a: {targets: []}}"
    environ: dict[str, Any] = {name: value}
    assert refused(text, **environ) == [f"{name}: {message}"]


def test_one_field_takes_one_variable() -> None:
    assert refused("", ESCALA__WORKERS="1", ESCALA__workers="2") == [
        "ESCALA__workers: workers: expected one variable, found ESCALA__WORKERS as well"
    ]


def test_a_list_at_the_top_takes_no_variables() -> None:
    assert refused("[a]", ESCALA__workers="1") == [
        "ESCALA__workers: expected an index from 0 to 0, found 'workers'",
        "stack.yaml:1:1: expected a mapping, found a list",
    ]


@given(
    st.dictionaries(st.from_regex(r"ESCALA__[a-z0-9_]{0,20}", fullmatch=True), st.text(max_size=5))
)
def test_any_variables_are_laid_over_or_refused(environ: dict[str, str]) -> None:
    text = b"workers: 2\nlimits: {targets: [a]}\nservices: {a: {targets: []}}"
    document = parse_yaml(text, "stack.yaml", environ)
    overlay(document, environ)
    reader = Reader(document)
    reader.read(File, document.value)
    with suppress(ConfigError):
        refuse([*document.problems, *reader.problems])
