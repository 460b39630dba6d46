from __future__ import annotations

import pytest

from escala.http.pure.asked import Asked, read_request
from escala.http.pure.freshness import lifetime
from escala.http.pure.http_date import format_date
from escala.http.pure.metadata import read_metadata
from escala.http.pure.storability import may_serve_the_authorized, refusal, withheld

NOW = 1_750_000_000.0
OLD = (b"last-modified", format_date(NOW - 1000))
TAG = (b"etag", b'"x"')
COOKIE = (b"set-cookie", b"id=1")
FRESH = b"max-age=60"


def refused(
    *lines: tuple[bytes, bytes],
    control: bytes = FRESH,
    status: int = 200,
    method: str = "GET",
    asked: Asked | None = None,
    usable: bool = True,
) -> str | None:
    meta = read_metadata([(b"cache-control", control), *lines], arrived=NOW)
    life = lifetime(status, meta)
    return refusal(method, asked or Asked(), status, meta, life, usable=usable)


@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 302, 404, 410, 500, 503, 299, 599])
def test_stated_freshness_is_enough_for_any_final_status(status: int) -> None:
    assert refused(status=status) is None


@pytest.mark.parametrize("status", [100, 101, 199, 206, 304])
def test_parts_and_interim_answers_are_not_stored(status: int) -> None:
    assert refused(status=status) == f"the status is {status}"


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_only_get(method: str) -> None:
    assert refused(method=method) == f"the method is {method}"


@pytest.mark.parametrize(
    ("control", "why"),
    [
        (b"no-store, max-age=60", "the answer says no-store"),
        (b"private, max-age=60", "the answer is private"),
        (b'max-age=60, x="', "the answer says no-store"),
    ],
)
def test_what_an_answer_forbids(control: bytes, why: str) -> None:
    assert refused(control=control) == why


def test_what_a_request_forbids() -> None:
    asked = read_request([(b"cache-control", b"no-store")])
    assert refused(asked=asked) == "the request says no-store"


@pytest.mark.parametrize(
    ("status", "why"),
    [
        *((status, None) for status in (200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 403)),
        *(
            (status, None)
            for status in (404, 405, 406, 409, 410, 414, 421, 451, 500, 501, 502, 503)
        ),
        *(
            (status, f"must-understand, and {status} is not understood here")
            for status in (201, 202, 205, 305, 401, 402, 407, 408, 411, 418, 429, 452, 504, 599)
        ),
    ],
)
def test_the_statuses_that_are_understood(status: int, why: str | None) -> None:
    assert refused(control=b"must-understand, max-age=60", status=status) == why


def test_must_understand_outweighs_no_store_where_we_do() -> None:
    assert refused(control=b"must-understand, no-store, max-age=60") is None
    why = refused(control=b"must-understand, no-store, max-age=60", status=299)
    assert why == "must-understand, and 299 is not understood here"
    assert refused(control=b"must-understand, max-age=60", status=299) is not None


@pytest.mark.parametrize("control", [b"public", b"must-revalidate", b"s-maxage=1"])
def test_an_authorized_request_fills_the_cache_only_with_what_is_for_all(control: bytes) -> None:
    asked = read_request([(b"authorization", b"Basic x")])
    why = "the request has Authorization, and the answer is not said to be for all"
    assert refused(asked=asked) == why
    assert refused(asked=asked, control=FRESH + b", " + control) is None
    meta = read_metadata([(b"cache-control", control)], arrived=NOW)
    assert may_serve_the_authorized(meta)


def test_an_answer_that_varies_by_everything_is_useless() -> None:
    assert refused((b"vary", b"*")) == "Vary: * matches no request"
    assert refused((b"vary", b"accept, x")) is None


def test_a_cookie_is_for_one_client_unless_public_and_then_left_out() -> None:
    assert refused(COOKIE) == "the answer sets a cookie, and is not public"
    assert refused(COOKIE, control=b"public, max-age=60") is None
    meta = read_metadata([COOKIE], arrived=NOW)
    assert b"set-cookie" in withheld(meta)


def test_named_fields_are_left_out() -> None:
    meta = read_metadata([(b"cache-control", b'private="x-user"')], arrived=NOW)
    assert withheld(meta) == {b"x-user", b"set-cookie"}
    assert refused(control=b'private="x-user", max-age=60') is None


def test_a_guess_needs_a_status_that_is_cacheable_by_default() -> None:
    assert refused(OLD, control=b"") is None
    why = refused(OLD, control=b"", status=302)
    assert why == "302 is kept only with stated freshness"
    assert refused(OLD, control=b"public", status=302) is None


def test_a_guess_is_not_made_for_a_request_with_a_cookie() -> None:
    asked = read_request([(b"cookie", b"id=1")])
    why = "the request has a Cookie, and the answer states no freshness"
    assert refused(OLD, control=b"", asked=asked) == why
    assert refused(OLD, control=b"public", asked=asked) is None
    assert refused(OLD, control=b"max-age=60", asked=asked) is None
    assert refused(OLD, control=b"no-cache", asked=asked) is None  # asked about each time


def test_what_is_stale_at_once_is_kept_only_if_it_can_be_verified() -> None:
    why = "it is stale at once and cannot be verified"
    assert refused(control=b"max-age=0", usable=False) == why
    assert refused(TAG, control=b"max-age=0", usable=False) is None
    assert refused(OLD, control=b"max-age=0", usable=False) is None
    assert refused(control=b"max-age=0, stale-if-error=60", usable=True) is None
