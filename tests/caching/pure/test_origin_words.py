"""What an origin is asked, and what its answers say of themselves."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.caching.pure.origin_words import fresh_of, root_of, url_of, url_template
from escala.kernel.wrong_value import WrongValue

EXPECTED = "an http URL with one {key} in its path or query, such as 'https://origin.example/{key}'"


@pytest.mark.parametrize(
    "text",
    [
        "https://o.example/{key}",
        "http://o.example:8080/a/{key}.json",
        "https://o.example/find?id={key}&x=1",
        "http://[::1]:80/{key}",
    ],
)
def test_templates(text: str) -> None:
    assert url_template(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "https://o.example/",
        "https://{key}/",
        "https://{key}.o.example/{key}",
        "https://o.example/{key}/{key}",
        "https://o.example/{key}?again={key}",
        "ftp://o.example/{key}",
        "//o.example/{key}",
        "https:///{key}",
        "https://o.example:http/{key}",
        "https://[o/{key}",
        "https://o.example/ {key}",
        "https://o.example/{key}#there",
        "https://o.example/#{key}",
        "https://ö.example/{key}",
        "https://o.example/\x7f{key}",
        "",
        7,
        None,
    ],
)
def test_what_is_no_template(text: object) -> None:
    with pytest.raises(WrongValue) as caught:
        url_template(text)
    assert EXPECTED in str(caught.value)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(WrongValue, match="no user in it: that is for `headers`") as caught:
        url_template("https://me:secret@o.example/{key}")
    assert "secret" not in str(caught.value)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_key_comes_back_from_its_url_and_stays_in_its_place(key: str) -> None:
    if key in {".", ".."}:
        return
    url = url_of("https://o.example/a/{key}/b?c=d", key)
    parts = urlsplit(url)
    assert (parts.netloc, parts.query, parts.fragment) == ("o.example", "c=d", "")
    before, segment, after = parts.path.rsplit("/", 2)
    assert (before, unquote(segment), after) == ("/a", key, "b")


@pytest.mark.parametrize("key", ["", ".", ".."])
@pytest.mark.parametrize("end", ["", "/x", "?x"])
def test_keys_that_would_lead_elsewhere(key: str, end: str) -> None:
    with pytest.raises(ValueError, match=r"no URL of an origin can hold the key"):
        url_of("https://o.example/a/{key}" + end, key)


def test_dots_are_keys_where_they_are_no_segment() -> None:
    assert url_of("https://o.example/{key}.json", "..") == "https://o.example/...json"
    assert url_of("https://o.example/x{key}", ".") == "https://o.example/x."
    assert url_of("https://o.example/?a/{key}", "..") == "https://o.example/?a/.."
    with pytest.raises(ValueError, match="the key ''"):
        url_of("https://o.example/x{key}", "")


def test_the_root() -> None:
    assert root_of("http://o.example:81/a/{key}?b=c") == "http://o.example:81/"


@pytest.mark.parametrize(
    ("said", "age", "fresh"),
    [
        ([], None, None),
        (["public"], "5", None),
        (["max-age=60"], None, 60),
        (["MAX-AGE=60"], None, 60),
        (["max-age=60"], "59", 1),
        (["max-age=60"], "60", 0),
        (["max-age=60"], "61", 0),
        (["max-age=60"], "soon", 60),
        (["max-age=60"], "-5", 60),
        (['max-age="60"'], None, 60),
        (["public , max-age = 60"], None, 60),
        (["max-age=60, s-maxage=10"], None, 10),
        (["s-maxage=10, max-age=60"], None, 10),
        (["max-age=60", "s-maxage=0"], None, 0),
        (["max-age=60, max-age=20"], None, 20),
        (["max-age=0"], None, 0),
        (["max-age="], None, 0),
        (["max-age"], None, 0),
        (["max-age=-1"], None, 0),
        (["max-age=1.5"], None, 0),
        (["max-age=٣"], None, 0),
        (["max-age=99999999999999999999999999"], None, 2**31),
        (["max-age=2147483648"], None, 2**31),
        (["max-age=2147483647"], None, 2**31 - 1),
        (["max-age=60, no-store"], None, 0),
        (["no-cache"], None, 0),
        (['private="x", max-age=60'], None, 0),
        (["stale-while-revalidate=60"], None, None),
        ([",,"], None, None),
    ],
)
def test_how_long_an_answer_is_fresh(said: list[str], age: str | None, fresh: int | None) -> None:
    assert fresh_of(said, age) == fresh


@given(st.lists(st.text()), st.none() | st.text())
def test_any_text_says_something(said: list[str], age: str | None) -> None:
    fresh = fresh_of(said, age)
    assert fresh is None or 0 <= fresh <= 2**31
