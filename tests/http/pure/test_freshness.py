from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.http.pure.freshness import (
    CACHEABLE_BY_DEFAULT,
    Lifetime,
    initial_age,
    lifetime,
    windows,
)
from escala.http.pure.http_date import format_date
from escala.http.pure.metadata import Metadata, read_metadata

NOW = 1_750_000_000.0
DATE = (b"date", format_date(NOW))
OLD = (b"last-modified", format_date(NOW - 1000))


def meta(*lines: tuple[bytes, bytes], control: bytes = b"") -> Metadata:
    return read_metadata([*lines, (b"cache-control", control)], arrived=NOW)


@pytest.mark.parametrize(
    ("control", "expires", "expected"),
    [
        (b"s-maxage=1, max-age=2", NOW + 3, 1),
        (b"max-age=2", NOW + 3, 2),
        (b"public", NOW + 3, 3),
        (b"max-age=0", NOW + 3, 0),
        (b"s-maxage=0, max-age=2", NOW + 3, 0),
        (b"", NOW - 3, 0),
    ],
)
def test_the_order_of_statements(control: bytes, expires: float, expected: float) -> None:
    answer = meta(DATE, OLD, (b"expires", format_date(expires)), control=control)
    assert lifetime(200, answer) == Lifetime(expected)


def test_expires_counts_from_the_answers_own_date() -> None:
    answer = meta((b"date", format_date(NOW - 60)), (b"expires", format_date(NOW + 60)))
    assert lifetime(200, answer) == Lifetime(120)
    assert lifetime(200, meta((b"expires", format_date(NOW + 60)))) == Lifetime(60)


def test_a_guess_is_a_tenth_of_the_time_unchanged_and_at_most_an_hour() -> None:
    assert lifetime(200, meta(DATE, OLD)) == Lifetime(100.0, guessed=True)
    ancient = meta(DATE, (b"last-modified", format_date(NOW - 10**7)))
    assert lifetime(200, ancient) == Lifetime(3600.0, guessed=True)
    future = meta(DATE, (b"last-modified", format_date(NOW + 1000)))
    assert lifetime(200, future) == Lifetime(0.0, guessed=True)
    assert lifetime(200, meta(DATE)) == Lifetime(0.0, guessed=True)


@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
def test_statuses_about_which_one_may_guess(status: int) -> None:
    assert lifetime(status, meta(DATE, OLD)).seconds == 100
    assert lifetime(status, meta(DATE), unstated=7).seconds == 7


@pytest.mark.parametrize("status", [201, 202, 302, 303, 307, 400, 401, 403, 429, 500, 502, 503])
def test_statuses_about_which_one_may_not(status: int) -> None:
    assert status not in CACHEABLE_BY_DEFAULT
    assert lifetime(status, meta(DATE, OLD), unstated=7) == Lifetime(0.0, guessed=True)
    assert lifetime(status, meta(DATE, OLD, control=b"public")).seconds == 100
    assert lifetime(status, meta(DATE, control=b"max-age=5")) == Lifetime(5)


def test_the_owners_word_replaces_the_guess_but_no_statement() -> None:
    assert lifetime(200, meta(DATE, OLD), unstated=7) == Lifetime(7, guessed=True)
    assert lifetime(200, meta(DATE, OLD), unstated=0) == Lifetime(0, guessed=True)
    assert lifetime(200, meta(DATE, control=b"max-age=5"), unstated=7) == Lifetime(5)
    assert lifetime(200, meta(DATE, (b"expires", b"0")), unstated=7) == Lifetime(0)


@pytest.mark.parametrize(
    ("date", "age", "delay", "expected"),
    [
        (NOW, None, 0.0, 0.0),
        (NOW, b"30", 0.0, 30.0),
        (NOW, b"30", 2.0, 32.0),  # it may have aged on the way
        (NOW, None, 2.0, 0.0),  # the origin thought for two seconds: that is no age
        (NOW - 60, b"30", 0.0, 60.0),  # a cache before us that writes no Age
        (NOW - 60, b"90", 1.0, 91.0),
        (NOW - 10, None, 0.0, 0.0),  # clocks differ
        (NOW - 11, None, 0.0, 11.0),
        (NOW + 500, None, 0.0, 0.0),
        (NOW + 500, b"3", 0.0, 3.0),
        (None, None, 5.0, 0.0),
    ],
)
def test_the_age_at_arrival(
    date: float | None, age: bytes | None, delay: float, expected: float
) -> None:
    lines = [] if date is None else [(b"date", format_date(date))]
    lines += [] if age is None else [(b"age", age)]
    answer = read_metadata(lines, arrived=NOW)
    assert initial_age(answer, arrived=NOW, delay=delay) == expected


def spans(control: bytes, **owner: float) -> tuple[float, float, float, bool]:
    answer = meta(DATE, control=control)
    found = windows(answer, lifetime(200, answer), born=100.0, **owner)
    assert found.born == 100
    return found.fresh, found.stale, found.rescue, found.yields


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        (b"max-age=10", (110, 110, 110, True)),
        (
            b"max-age=10, stale-while-revalidate=5, stale-if-error=50",
            (110, 115, 160, True),
        ),
        (
            b"max-age=10, must-revalidate, stale-while-revalidate=5, stale-if-error=50",
            (110, 110, 110, False),
        ),
        (b"max-age=10, proxy-revalidate, stale-if-error=50", (110, 110, 110, False)),
        (b"s-maxage=10", (110, 110, 110, False)),
        (b"s-maxage=10, stale-while-revalidate=5", (110, 115, 110, False)),
        (b"s-maxage=10, stale-if-error=50", (110, 110, 160, False)),
        (b"max-age=10, no-cache, stale-if-error=50", (-math.inf, -math.inf, -math.inf, False)),
    ],
)
def test_the_windows(control: bytes, expected: tuple[float, float, float, bool]) -> None:
    assert spans(control) == expected


def test_what_the_owner_allows_where_the_answer_does_not_say() -> None:
    owner = {"stale_while_revalidate": 7.0, "stale_if_error": 70.0}
    assert spans(b"max-age=10", **owner) == (110, 117, 180, True)
    assert spans(b"max-age=10, stale-while-revalidate=0, stale-if-error=1", **owner) == (
        110,
        110,
        111,
        True,
    )
    assert spans(b"max-age=10, must-revalidate", **owner) == (110, 110, 110, False)
    assert spans(b"s-maxage=10", **owner) == (110, 110, 110, False)


seconds = st.integers(0, 10**6)


@given(seconds, seconds, st.floats(0, 100), st.booleans())
def test_more_age_never_means_more_freshness(
    one: int, more: int, delay: float, dated: bool
) -> None:
    """Whatever adds to an answer's age ends its windows no later."""

    def ends(age: int) -> list[float]:
        lines = [(b"age", b"%d" % age), (b"cache-control", b"max-age=600, stale-if-error=60")]
        lines += [(b"date", format_date(NOW - age))] if dated else []
        answer = read_metadata(lines, arrived=NOW)
        born = 1000.0 - initial_age(answer, arrived=NOW, delay=delay)
        found = windows(answer, lifetime(200, answer), born=born)
        return [found.born, found.fresh, found.stale, found.rescue]

    assert all(less <= full for less, full in zip(ends(one + more), ends(one), strict=True))


@given(seconds, seconds)
def test_a_longer_statement_never_means_less_freshness(one: int, more: int) -> None:
    for directive in (b"max-age=%d", b"s-maxage=%d"):
        short, long = (spans(directive % value)[0] for value in (one, one + more))
        assert short <= long
