from __future__ import annotations

import pytest

from escala.http.pure.admission import Arrival, Terms, admit
from escala.http.pure.asked import Asked, read_request
from escala.http.pure.http_date import format_date
from escala.http.pure.reuse import Use, use
from escala.http.pure.stored_answer import StoredAnswer

NOW = 1_750_000_000.0
Lines = list[tuple[bytes, bytes]]


def stored(
    *lines: tuple[bytes, bytes],
    body: bytes = b"body",
    request: Lines | None = None,
    status: int = 200,
    terms: Terms | None = None,
    delay: float = 0.0,
) -> StoredAnswer:
    headers = list(lines)
    arrival = Arrival(wall=NOW, now=100.0, delay=delay)
    admission = admit("GET", Asked(), status, headers, arrival=arrival, terms=terms or Terms())
    return StoredAnswer(
        b"http://shop/", status, headers, body, asked_with=request or [], admission=admission
    )


def test_what_is_kept_of_the_headers() -> None:
    answer = stored(
        (b"date", format_date(NOW)),
        (b"cache-control", b'public, max-age=60, private="x-user"'),
        (b"set-cookie", b"id=1"),
        (b"x-user", b"1"),
        (b"age", b"5"),
        (b"content-length", b"4"),
        (b"connection", b"x-hop"),
        (b"x-hop", b"1"),
        (b"content-type", b"text/html"),
    )
    assert [name for name, _ in answer.headers] == [b"date", b"cache-control", b"content-type"]
    assert [name for name, _ in answer.headers_304] == [b"date", b"cache-control"]


@pytest.mark.parametrize("date", [[], [(b"date", b"today")]])
def test_an_answer_without_a_date_gets_that_of_its_arrival(date: Lines) -> None:
    answer = stored(*date, (b"cache-control", b"max-age=60"))
    assert [value for name, value in answer.headers if name == b"date"] == [format_date(NOW)]


def test_age_moves_the_windows() -> None:
    answer = stored((b"age", b"20"), (b"cache-control", b"max-age=60"), delay=3.0)
    assert answer.windows.born == 77
    assert answer.windows.fresh == 137


def test_it_matches_the_requests_that_it_was_made_for() -> None:
    answer = stored((b"vary", b"accept-encoding"), request=[(b"accept-encoding", b"gzip, br")])
    assert answer.matches(Asked(), [(b"accept-encoding", b"br,gzip"), (b"x", b"1")])
    assert not answer.matches(Asked(), [(b"accept-encoding", b"gzip")])
    assert not answer.matches(Asked(), [])


def test_whom_it_may_be_given_to() -> None:
    known, authorized = (
        read_request([(b"cookie", b"a=1")]),
        read_request([(b"authorization", b"x")]),
    )
    old = (b"last-modified", format_date(NOW - 1000))
    for lines, for_the_known, for_the_authorized in (
        ([(b"cache-control", b"max-age=60")], True, False),
        ([(b"cache-control", b"s-maxage=60")], True, True),
        ([(b"cache-control", b"max-age=60, must-revalidate")], True, True),
        ([old], False, False),
        ([old, (b"cache-control", b"public")], True, True),
        ([old, (b"cache-control", b"no-cache")], True, False),
    ):
        answer = stored(*lines)
        assert answer.matches(Asked(), [])
        assert answer.matches(known, []) is for_the_known
        assert answer.matches(authorized, []) is for_the_authorized


def test_only_a_success_is_known_already() -> None:
    asked = read_request([(b"if-none-match", b'"x"')])
    for status, known in ((200, True), (203, True), (301, False), (404, False)):
        answer = stored((b"etag", b'"x"'), (b"cache-control", b"max-age=9"), status=status)
        assert answer.known_by(asked, now=NOW) is known


def test_without_last_modified_the_date_counts() -> None:
    answer = stored((b"date", format_date(NOW - 5)))
    for since, known in ((NOW - 5, True), (NOW - 6, False)):
        asked = read_request([(b"if-modified-since", format_date(since))])
        assert answer.known_by(asked, now=NOW) is known


def test_doubt_leaves_only_the_last_resort() -> None:
    answer = stored((b"cache-control", b"max-age=60, stale-while-revalidate=60, stale-if-error=90"))
    answer.pause_until = 1000.0
    answer.doubt()
    assert use(answer.windows, Asked().control, now=101) is Use.NONE
    assert answer.windows.rescue == 250
    assert answer.pause_until < 0


def test_whether_it_can_be_verified() -> None:
    assert stored((b"etag", b'"x"')).verifiable
    assert stored((b"last-modified", format_date(NOW))).verifiable
    assert not stored((b"last-modified", b"today")).verifiable
