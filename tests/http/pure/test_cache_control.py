from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.http.pure.cache_control import FOREVER, CacheControl, parse_cache_control


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", CacheControl()),
        (b"max-age=60", CacheControl(max_age=60)),
        (b"MAX-AGE=60, Public", CacheControl(max_age=60, public=True)),
        (b'max-age="60"', CacheControl(max_age=60)),
        (b"max-age=0060", CacheControl(max_age=60)),
        (b" max-age=60 ,, no-store ,", CacheControl(max_age=60, no_store=True)),
        (b"s-maxage=5,max-age=60", CacheControl(s_maxage=5, max_age=60)),
        (b"no-cache", CacheControl(no_cache=True)),
        (b"private", CacheControl(private=True)),
        (b"must-revalidate", CacheControl(must_revalidate=True)),
        (b"proxy-revalidate", CacheControl(proxy_revalidate=True)),
        (b"must-understand, no-store", CacheControl(must_understand=True, no_store=True)),
        (b"only-if-cached", CacheControl(only_if_cached=True)),
        (b"min-fresh=10", CacheControl(min_fresh=10)),
        (b"min-fresh=0", CacheControl(min_fresh=0)),
        (b"max-stale=10", CacheControl(max_stale=10)),
        (b"max-stale", CacheControl(max_stale=math.inf)),
        (
            b"max-age=1, stale-while-revalidate=2, stale-if-error=3",
            CacheControl(max_age=1, stale_while_revalidate=2, stale_if_error=3),
        ),
    ],
)
def test_directives_are_read(value: bytes, expected: CacheControl) -> None:
    assert parse_cache_control(value) == expected


@pytest.mark.parametrize("value", [b"immutable", b"no-transform", b"x=max-age=60", b'x="no-store"'])
def test_unknown_directives_are_ignored_with_all_that_they_hold(value: bytes) -> None:
    assert parse_cache_control(value) == CacheControl()


@pytest.mark.parametrize(
    "argument",
    [b"=-1", b"=1.5", b"=", b"", b"=60s", b"=+60", b"=abc", b"= 60 0", b"='60'", b"=\xb2"],
)
def test_a_number_that_is_none_makes_the_answer_stale(argument: bytes) -> None:
    assert parse_cache_control(b"max-age" + argument).max_age == 0
    assert parse_cache_control(b"s-maxage" + argument).s_maxage == 0
    assert parse_cache_control(b"stale-if-error" + argument).stale_if_error == 0


def test_spaces_around_the_equals_sign_are_no_directive_of_the_grammar() -> None:
    assert parse_cache_control(b"max-age = 60").max_age == 0


@pytest.mark.parametrize("digits", [b"2147483648", b"2147483649", b"9" * 30, b"9" * 5000])
def test_an_overflowing_number_is_for_ever(digits: bytes) -> None:
    assert parse_cache_control(b"max-age=" + digits).max_age == FOREVER


def test_of_duplicates_the_most_restrictive_counts() -> None:
    assert parse_cache_control(b"max-age=60, max-age=10").max_age == 10
    assert parse_cache_control(b"max-age=10, max-age=60").max_age == 10
    assert parse_cache_control(b"max-age=10, max-age=x").max_age == 0
    assert parse_cache_control(b"max-stale=10, max-stale").max_stale == 10
    assert parse_cache_control(b"min-fresh=10, min-fresh=20").min_fresh == 20
    assert parse_cache_control(b"min-fresh=20, min-fresh=10").min_fresh == 20
    assert parse_cache_control(b"min-fresh=x").min_fresh == FOREVER
    assert parse_cache_control(b"max-stale=x").max_stale == 0


def test_named_fields_are_withheld_and_the_rest_is_not_private() -> None:
    control = parse_cache_control(b'private="Set-Cookie, X-User", no-cache="x-other", max-age=5')
    assert control.withheld == {b"set-cookie", b"x-user", b"x-other"}
    assert not control.private
    assert not control.no_cache
    assert control.max_age == 5
    assert parse_cache_control(b"private=x-user").withheld == {b"x-user"}


@pytest.mark.parametrize(
    "value", [b"private, private=x", b'private=""', b"private=", b"private=a b"]
)
def test_private_without_readable_names_means_all_of_it(value: bytes) -> None:
    assert parse_cache_control(value).private


def test_a_comma_in_quotes_separates_nothing() -> None:
    assert parse_cache_control(b'x="a, no-store, b", max-age=1') == CacheControl(max_age=1)
    assert parse_cache_control(rb'x="a\", no-store", max-age=1') == CacheControl(max_age=1)


@pytest.mark.parametrize("value", [b'max-age=60, x="no-store', b'"', b'max-age="60', b'a="b", "'])
def test_a_quote_that_never_ends_may_hide_anything(value: bytes) -> None:
    assert parse_cache_control(value).no_store


@given(st.binary(max_size=60))
def test_nothing_raises(value: bytes) -> None:
    parse_cache_control(value)


@given(st.lists(st.sampled_from([b"max-age=9", b"no-store", b"public", b"private", b"x=1"])))
def test_the_order_does_not_matter(parts: list[bytes]) -> None:
    assert parse_cache_control(b", ".join(parts)) == parse_cache_control(b", ".join(parts[::-1]))


def test_a_hostile_value_costs_one_pass() -> None:
    # With backtracking, each of these would take longer than the universe has existed.
    for value in (b'"' + b"\\" * 60_000, b'="' * 30_000, b'a"' * 30_000 + b'"', b"," * 60_000):
        parse_cache_control(value)
