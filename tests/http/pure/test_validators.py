from __future__ import annotations

import pytest

from escala.http.pure.asked import read_request
from escala.http.pure.http_date import format_date
from escala.http.pure.validators import (
    confirms,
    contradicts,
    headers_of_304,
    question,
    refreshed,
    still_valid,
    weak_match,
)

NOW = 1_750_000_000.0


@pytest.mark.parametrize(
    ("ours", "theirs", "weak"),
    [
        (b'W/"1"', b'W/"1"', True),
        (b'W/"1"', b'W/"2"', False),
        (b'W/"1"', b'"1"', True),
        (b'"1"', b'"1"', True),
        (b'"1"', b'"2"', False),
    ],
)
def test_the_table_of_rfc_9110_section_8_8_3_2(ours: bytes, theirs: bytes, weak: bool) -> None:
    assert weak_match(ours, theirs) is weak


@pytest.mark.parametrize(
    ("tags", "valid"),
    [
        (b'"a"', True),
        (b'W/"a"', True),
        (b'"b", "a"', True),
        (b'"b","a"', True),
        (b'"b"', False),
        (b"*", True),
        (b" * ", True),
        (b"a", False),
        (b"", False),
        (b'"x,"a"', False),  # the first tag ends at its second quote, and a" is none
        (b'"A"', False),
    ],
)
def test_if_none_match(tags: bytes, valid: bool) -> None:
    asked = read_request([(b"if-none-match", tags)])
    assert still_valid(asked, etag=b'"a"', modified=NOW, now=NOW) is valid


def test_a_comma_belongs_to_its_tag() -> None:
    asked = read_request([(b"if-none-match", b'"x,y", "z"')])
    assert still_valid(asked, etag=b'"x,y"', modified=NOW, now=NOW)
    assert not still_valid(asked, etag=b'"x"', modified=NOW, now=NOW)


def test_an_answer_without_a_tag_matches_only_the_star() -> None:
    for tags, valid in ((b'"a"', False), (b"*", True)):
        asked = read_request([(b"if-none-match", tags)])
        assert still_valid(asked, etag=None, modified=NOW, now=NOW) is valid


@pytest.mark.parametrize(
    ("since", "valid"),
    [(NOW, True), (NOW + 5, True), (NOW - 1, False)],
)
def test_if_modified_since(since: float, valid: bool) -> None:
    asked = read_request([(b"if-modified-since", format_date(since))])
    assert still_valid(asked, etag=b'"a"', modified=NOW, now=NOW) is valid


def test_a_date_that_is_none_is_no_condition() -> None:
    asked = read_request([(b"if-modified-since", b"yesterday")])
    assert not still_valid(asked, etag=None, modified=NOW, now=NOW)
    assert not still_valid(read_request([]), etag=None, modified=NOW, now=NOW)


def test_a_tag_outweighs_a_date() -> None:
    asked = read_request([(b"if-none-match", b'"b"'), (b"if-modified-since", format_date(NOW + 5))])
    assert not still_valid(asked, etag=b'"a"', modified=NOW, now=NOW)


def test_our_question_replaces_the_clients() -> None:
    headers = [(b"if-none-match", b'"c"'), (b"accept", b"*/*"), (b"if-modified-since", b"x")]
    assert question(headers) == [(b"accept", b"*/*")]
    assert question(headers, etag=b'"a"', last_modified=b"d") == [
        (b"accept", b"*/*"),
        (b"if-none-match", b'"a"'),
        (b"if-modified-since", b"d"),
    ]
    assert question(headers, last_modified=b"d")[1:] == [(b"if-modified-since", b"d")]
    assert len(headers) == 3


@pytest.mark.parametrize(
    ("etag", "answered", "right"),
    [
        (b'"a"', b'"a"', True),
        (b'"a"', b'W/"a"', True),
        (b'W/"a"', b'"a"', True),
        (b'"a"', b'"b"', False),
        (b'"a"', None, True),
        (None, None, True),
        (None, b'"b"', False),
        (None, b'W/"b"', True),
    ],
)
def test_which_304_speaks_of_our_answer(
    etag: bytes | None, answered: bytes | None, right: bool
) -> None:
    assert confirms(etag, answered) is right


def test_a_304_renews_the_headers_but_not_those_of_the_body() -> None:
    stored = [
        (b"content-type", b"text/html"),
        (b"etag", b'"a"'),
        (b"cache-control", b"max-age=1"),
        (b"x-old", b"1"),
        (b"x-two", b"a"),
        (b"x-two", b"b"),
    ]
    news = [
        (b"cache-control", b"max-age=9"),
        (b"content-type", b"text/plain"),
        (b"content-length", b"0"),
        (b"etag", b'W/"a"'),
        (b"x-two", b"c"),
        (b"x-new", b"2"),
        (b"age", b"5"),
        (b"connection", b"x-hop"),
        (b"x-hop", b"1"),
    ]
    assert refreshed(stored, news) == [
        (b"content-type", b"text/html"),
        (b"etag", b'"a"'),
        (b"x-old", b"1"),
        (b"cache-control", b"max-age=9"),
        (b"x-two", b"c"),
        (b"x-new", b"2"),
    ]


def test_what_a_304_of_ours_says() -> None:
    kept = [(b"etag", b'"a"'), (b"vary", b"x"), (b"date", b"d"), (b"cache-control", b"max-age=1")]
    assert headers_of_304([(b"content-type", b"t"), *kept, (b"x-a", b"1")]) == kept


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ([(b"etag", b'"a"')], False),
        ([(b"etag", b'"b"')], True),
        ([], False),
        ([(b"last-modified", b"later")], True),
        ([(b"etag", b'"a"'), (b"last-modified", b"then")], False),
    ],
)
def test_a_head_can_show_that_the_stored_answer_is_outdated(
    told: list[tuple[bytes, bytes]], wrong: bool
) -> None:
    stored = [(b"etag", b'"a"'), (b"last-modified", b"then")]
    assert contradicts(stored, told) is wrong
