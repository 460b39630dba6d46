from __future__ import annotations

import pytest

from escala.http.pure.vary import vary_names, vary_values


def test_names_are_a_sorted_set() -> None:
    assert vary_names(None) == ()
    assert vary_names(b"") == ()
    assert vary_names(b"User-Agent, accept , Accept") == (b"accept", b"user-agent")


def test_a_star_anywhere_matches_nothing() -> None:
    assert vary_names(b"*") is None
    assert vary_names(b"accept, *") is None


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        (b"accept-encoding", b"gzip, br", b"br,gzip"),
        (b"accept-encoding", b"GZIP;q=0.5", b"gzip; q=0.5"),
        (b"accept-language", b"en-US,  de;q=0.5", b"EN-us,de;q=0.5"),
        (b"accept", b"text/html, */*", b"text/html,*/*"),
    ],
)
def test_what_means_the_same_is_the_same(name: bytes, one: bytes, other: bytes) -> None:
    assert vary_values((name,), [(name, one)]) == vary_values((name,), [(name, other)])


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        (b"accept-language", b"en, de", b"de, en"),
        (b"accept", b'text/html;x="a b"', b'text/html;x="ab"'),
        (b"x-tenant", b"A", b"a"),
        (b"x-tenant", b"a,b", b"a, b"),
        (b"accept-encoding", b"gzip", b"gzip;q=0"),
    ],
)
def test_what_may_mean_something_else_is_not(name: bytes, one: bytes, other: bytes) -> None:
    assert vary_values((name,), [(name, one)]) != vary_values((name,), [(name, other)])


def test_a_missing_field_is_not_an_empty_one() -> None:
    assert vary_values((b"accept-encoding",), []) == (None,)
    assert vary_values((b"accept-encoding",), [(b"accept-encoding", b"")]) == (b"",)


def test_several_lines_are_one_list() -> None:
    lines = [(b"accept-encoding", b"gzip"), (b"accept-encoding", b"br")]
    assert vary_values((b"accept-encoding",), lines) == (b"br,gzip",)


@pytest.mark.parametrize("name", [b"X-Forwarded-For", b"x-forwarded-proto", b"Forwarded"])
def test_what_we_write_ourselves_cannot_be_compared(name: bytes) -> None:
    assert vary_names(b"accept, " + name) is None
