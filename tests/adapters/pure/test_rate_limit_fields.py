"""What a limit looks like in `RateLimit-Policy`, `RateLimit` and `X-RateLimit-*`."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.adapters.pure.rate_limit_fields import RateLimitFields, quota, retry_after
from escala.limiting.decision import Decision
from escala.limiting.plan import Limit


def limit(count: float, period: float, text: str = "") -> Limit:
    return Limit(
        text=text or f"{count:g}/{period:g}s",
        count=count,
        period=period,
        burst=max(1, int(count)),
        rate=count / period,
    )


def decided(*, allowed: bool = True, left: int = 42, reset: float = 13.0, wait: float = 0.0,
            place: int = 0, each: tuple[tuple[int, float], ...] = ()) -> Decision:  # fmt: skip
    return Decision(
        allowed=allowed, limit=100, remaining=left, reset_after=reset, retry_after=wait,
        decided_by=place, each=each,
    )  # fmt: skip


def test_one_limit() -> None:
    fields = RateLimitFields("default", [limit(100, 60)])
    assert fields.policy == '"default";q=100;w=60'
    assert fields.standing(decided()) == '"default";r=42;t=13'
    assert fields.older(decided()) == []


def test_seconds_are_rounded_up() -> None:
    fields = RateLimitFields("default", [limit(100, 60)])
    assert fields.standing(decided(reset=12.001)) == '"default";r=42;t=13'
    assert fields.standing(decided(reset=0.0)) == '"default";r=42;t=0'


def test_a_refusal_counts_to_the_next_call_that_passes() -> None:
    fields = RateLimitFields("default", [limit(100, 60)], older=True)
    refused = decided(allowed=False, left=0, reset=60.0, wait=0.6)
    assert fields.standing(refused) == '"default";r=0;t=1'
    assert fields.older(refused)[2] == ("X-RateLimit-Reset", "1")


def test_several_limits_have_an_item_each() -> None:
    fields = RateLimitFields("api", [limit(10, 1, "10/s"), limit(1000, 3600, "1000/h")])
    assert fields.policy == '"api:10/s";q=10;w=1, "api:1000/h";q=1000;w=3600'
    assert fields.names == ("api:10/s", "api:1000/h")
    each = ((0, 1.0), (990, 36.0))
    refused = decided(allowed=False, wait=7.5, place=1, each=each)
    assert fields.standing(refused) == '"api:10/s";r=0;t=1, "api:1000/h";r=990;t=8'
    allowed = decided(place=1, each=each)
    assert fields.standing(allowed) == '"api:10/s";r=0;t=1, "api:1000/h";r=990;t=36'


def test_the_older_fields() -> None:
    fields = RateLimitFields("default", [limit(100, 60)], older=True)
    assert fields.older(decided(reset=12.2)) == [
        ("X-RateLimit-Limit", "100"),
        ("X-RateLimit-Remaining", "42"),
        ("X-RateLimit-Reset", "13"),
    ]


@pytest.mark.parametrize(
    ("count", "period", "expected"),
    [
        (100, 60, (100, 60)),
        (1, 1, (1, 1)),
        (10, 0.2, (50, 1)),
        (0.5, 1, (1, 2)),
        (3, 1.5, (4, 2)),
        (0.1, 60, (1, 600)),
        (1, 0.75, (1, 1)),
    ],
)
def test_quotas_in_whole_seconds(count: float, period: float, expected: tuple[int, int]) -> None:
    assert quota(limit(count, period)) == expected


@given(st.floats(0.001, 1e9), st.floats(1e-6, 1e6))
def test_a_quota_never_says_more_than_the_limit_allows(count: float, period: float) -> None:
    many, window = quota(limit(count, period))
    assert many >= 1
    assert window >= 1
    assert many <= count / period * window * (1 + 1e-9)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("tea shop", '"tea shop"'), ('a"b\\c', '"a\\"b\\\\c"'), ("café\n~", '"caf??~"')],
)
def test_names_are_structured_field_strings(name: str, expected: str) -> None:
    assert RateLimitFields(name, [limit(1, 1)]).policy == f"{expected};q=1;w=1"


@given(st.text(), st.integers(-5, 10**18), st.floats(0, 1e300))
def test_every_field_is_well_formed(name: str, left: int, reset: float) -> None:
    fields = RateLimitFields(name, [limit(1, 1)])
    item = r'"(?:[ !#-\[\]-~]|\\["\\])*";%s=\d{1,15};%s=\d{1,15}'
    assert re.fullmatch(item % ("q", "w"), fields.policy)
    assert re.fullmatch(item % ("r", "t"), fields.standing(decided(left=left, reset=reset)))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (90.0, "90"), (1e30, "9" * 15)],
)
def test_retry_after_is_never_too_early(seconds: float, expected: str) -> None:
    assert retry_after(seconds) == expected
