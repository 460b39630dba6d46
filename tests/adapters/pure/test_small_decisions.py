"""Retry-After, the timeout header, failed statuses and problem documents, at their boundaries."""

from __future__ import annotations

import json

import pytest

from escala.adapters.pure.failed_status import failed_status
from escala.adapters.pure.problem_document import problem
from escala.adapters.pure.timeout_field import TIMEOUT_FIELD, read, written


@pytest.mark.parametrize(
    ("left", "expected"),
    [(1.0, "1000"), (0.0019, "1"), (0.002, "2"), (0.0, "1"), (-5.0, "1"), (1e300, str(10**12))],
)
def test_a_written_timeout_is_rounded_down(left: float, expected: str) -> None:
    assert written(left) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("250", 0.25),
        ("0", 0.0),
        ("", None),
        ("-1", None),
        ("1e3", None),
        ("1" * 15, 1e9),
        ("1" * 16, None),
        ("\u0663", None),
        (" 1", None),
    ],
)
def test_a_timeout_that_is_read(value: str | None, expected: float | None) -> None:
    assert read(value) == expected


def test_the_header_has_a_name_that_is_public() -> None:
    assert TIMEOUT_FIELD == "X-Request-Timeout-Ms"


def test_failed_statuses() -> None:
    failing = {status for status in range(100, 700) if failed_status(status)}
    assert failing == {429, *range(500, 600)} - {501, 505}


def test_a_problem_says_who_refused_and_why() -> None:
    assert json.loads(problem(503, "bulkhead: all 3 slots are taken")) == {
        "title": "Service Unavailable",
        "status": 503,
        "detail": "bulkhead: all 3 slots are taken",
    }


def test_a_quota_has_a_problem_type_of_its_own() -> None:
    assert json.loads(problem(429, "used up", violated=["daily"])) == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "detail": "used up",
        "violated-policies": ["daily"],
    }
