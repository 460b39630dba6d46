from __future__ import annotations

import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.http.pure.http_date import format_date, parse_date

NOV_1994 = 784111777.0  # the moment that RFC 9110, 5.6.7 writes in all three formats
IN_2025 = 1_750_000_000.0


@pytest.mark.parametrize(
    "text",
    [
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov  6 08:49:37 1994",
    ],
)
def test_the_three_formats_of_the_standard(text: bytes) -> None:
    assert parse_date(text, now=IN_2025) == NOV_1994


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"0",
        b"-1",
        b"Sun, 06 Nov 1994 08:49:37 UTC",
        b"Sun, 06 Nov 1994 08:49:37 +0000",
        b"Sun, 06 Nov 1994 08:49:37",
        b"sun, 06 nov 1994 08:49:37 gmt",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"Sun, 31 Feb 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nov 1994 08:60:37 GMT",
        b"Sun, 06 Nov 1994 08:49:61 GMT",
        b"Sun, 06 Nov 0000 08:49:37 GMT",
        b" Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT\n",
        b"Sun Nov 6 08:49:37 1994",
        b"1994-11-06T08:49:37Z",
        b"Sun, 0\xb2 Nov 1994 08:49:37 GMT",
    ],
)
def test_anything_else_is_no_date(text: bytes) -> None:
    assert parse_date(text, now=IN_2025) is None


def test_a_leap_second_is_the_second_before() -> None:
    leap = parse_date(b"Sat, 31 Dec 2016 23:59:60 GMT", now=IN_2025)
    assert leap == parse_date(b"Sat, 31 Dec 2016 23:59:59 GMT", now=IN_2025)


@pytest.mark.parametrize(
    ("digits", "year"), [(b"25", 2025), (b"75", 2075), (b"76", 1976), (b"99", 1999)]
)
def test_two_digits_more_than_fifty_years_ahead_are_the_past(digits: bytes, year: int) -> None:
    long = parse_date(b"Monday, 01-Jan-" + digits + b" 00:00:00 GMT", now=IN_2025)
    assert long == parse_date(b"Mon, 01 Jan %d 00:00:00 GMT" % year, now=IN_2025)


@given(st.integers(0, 4_000_000_000))
def test_what_we_write_is_what_everyone_writes_and_we_read(moment: int) -> None:
    assert format_date(moment).decode() == email.utils.formatdate(moment, usegmt=True)
    assert parse_date(format_date(moment + 0.9), now=IN_2025) == moment


@given(st.binary(max_size=40))
def test_nothing_raises(text: bytes) -> None:
    parse_date(text, now=IN_2025)
