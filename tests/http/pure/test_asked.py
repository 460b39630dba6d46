from __future__ import annotations

import pytest

from escala.http.pure.asked import NOTHING_ASKED, read_request


def test_a_plain_request_costs_no_object() -> None:
    assert read_request([]) is NOTHING_ASKED
    assert read_request([(b"accept", b"*/*"), (b"if-range", b"x")]) is NOTHING_ASKED
    assert NOTHING_ASKED.joins
    assert not NOTHING_ASKED.conditional


@pytest.mark.parametrize("name", [b"range", b"if-match", b"if-unmodified-since"])
def test_what_only_the_origin_may_answer(name: bytes) -> None:
    assert read_request([(name, b"x")]).origin_only


def test_conditions() -> None:
    asked = read_request([(b"if-none-match", b'"a"'), (b"if-none-match", b'"b"')])
    assert asked.if_none_match == b'"a", "b"'
    assert asked.conditional
    assert read_request([(b"if-modified-since", b"x")]).conditional
    assert not read_request([(b"cookie", b"x")]).conditional


@pytest.mark.parametrize(
    ("name", "value", "joins"),
    [
        (b"authorization", b"x", False),
        (b"cache-control", b"no-store", False),
        (b"cache-control", b"no-cache", False),
        (b"cache-control", b"max-age=0", False),
        (b"cache-control", b"max-age=1", True),
        (b"cache-control", b"min-fresh=1", True),
        (b"cookie", b"a=1", True),
    ],
)
def test_who_shares_a_load(name: bytes, value: bytes, joins: bool) -> None:
    assert read_request([(name, value)]).joins is joins


def test_all_lines_of_cache_control_count() -> None:
    asked = read_request([(b"cache-control", b"max-age=5"), (b"cache-control", b"no-cache")])
    assert (asked.control.max_age, asked.control.no_cache) == (5, True)
    assert asked.cookie is asked.authorization is asked.origin_only is False
