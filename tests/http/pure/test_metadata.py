from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.http.pure.cache_control import NOTHING_SAID
from escala.http.pure.http_date import format_date
from escala.http.pure.metadata import read_metadata

NOW = 1_750_000_000.0


def test_an_answer_that_says_nothing() -> None:
    meta = read_metadata([(b"content-type", b"text/html")], arrived=NOW)
    assert meta.control is NOTHING_SAID
    assert (meta.date, meta.dated, meta.age, meta.expires, meta.vary) == (
        NOW,
        False,
        None,
        None,
        (),
    )
    assert (meta.etag, meta.last_modified, meta.last_modified_line) == (None, None, None)
    assert not meta.sets_cookie


def test_all_fields() -> None:
    meta = read_metadata(
        [
            (b"cache-control", b"max-age=5"),
            (b"cache-control", b"no-store"),
            (b"date", format_date(NOW - 1)),
            (b"expires", format_date(NOW + 9)),
            (b"last-modified", format_date(NOW - 100)),
            (b"etag", b'"x"'),
            (b"vary", b"accept"),
            (b"vary", b"x-a"),
            (b"age", b"3"),
            (b"set-cookie", b"a=1"),
        ],
        arrived=NOW,
    )
    assert (meta.control.max_age, meta.control.no_store) == (5, True)
    assert (meta.date, meta.dated, meta.expires) == (NOW - 1, True, NOW + 9)
    assert (meta.last_modified, meta.last_modified_line) == (NOW - 100, format_date(NOW - 100))
    assert (meta.etag, meta.vary, meta.age) == (b'"x"', (b"accept", b"x-a"), 3)
    assert meta.sets_cookie


def test_an_expiry_that_is_no_date_has_passed() -> None:
    for value in (b"0", b"-1", b"", b"never"):
        assert read_metadata([(b"expires", value)], arrived=NOW).expires == -math.inf


def test_of_two_expiries_the_earlier_counts() -> None:
    early, late = (b"expires", format_date(NOW + 1)), (b"expires", format_date(NOW + 9))
    for lines in ([early, late], [late, early]):
        assert read_metadata(lines, arrived=NOW).expires == NOW + 1
    assert read_metadata([late, (b"expires", b"0")], arrived=NOW).expires == -math.inf


@pytest.mark.parametrize(
    ("value", "age"),
    [(b"7", 7), (b"7, 9", 7), (b"-7", None), (b"7.5", None), (b"", None), (b"9" * 30, 2**31)],
)
def test_age_is_a_number_or_nothing(value: bytes, age: int | None) -> None:
    assert read_metadata([(b"age", value)], arrived=NOW).age == age


def test_the_first_age_line_counts() -> None:
    assert read_metadata([(b"age", b"7"), (b"age", b"9")], arrived=NOW).age == 7


def test_a_date_that_cannot_be_read_is_the_moment_of_arrival() -> None:
    meta = read_metadata([(b"date", b"today"), (b"last-modified", b"today")], arrived=NOW)
    assert (meta.date, meta.dated) == (NOW, False)
    assert (meta.last_modified, meta.last_modified_line) == (None, None)


NAMES = [b"cache-control", b"vary", b"etag", b"age", b"date", b"expires", b"last-modified"]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=20))))
def test_nothing_raises(lines: list[tuple[bytes, bytes]]) -> None:
    read_metadata(lines, arrived=NOW)
