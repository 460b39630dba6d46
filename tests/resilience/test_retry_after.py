"""`Retry-After` in both forms, and what is neither."""

from __future__ import annotations

import math
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.kernel.runtime import wall
from escala.resilience import Retry, retry_after
from escala.testing import VirtualRuntime

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (b"121", 121.0),
        (" 120\t", 120.0),
        ("007", 7.0),
        ("9999999999", 9_999_999_999.0),
        ("10000000000", math.inf),
        ("0" * 500 + "5", 5.0),
        ("9" * 5000, math.inf),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:49:38 GMT", 1.0),
        (b"Sun, 06 Nov 1994 08:51:37 GMT", 120.0),
        ("Sunday, 06-Nov-94 08:51:37 GMT", 120.0),
        ("Sun Nov  6 08:51:37 1994", 120.0),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_both_forms(value: str | bytes, seconds: float) -> None:
    assert retry_after(value, now=NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "soon",
        "-5",
        "+5",
        "1.5",
        "1e3",
        "٣",
        "²",
        "5 seconds",
        "Sun, 99 Xyz 1994 08:49:37 GMT",
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT" + " " * 36 + "x",
        b"\xff\xfe",
    ],
)
def test_what_says_neither(value: str | bytes | None) -> None:
    assert retry_after(value, now=NOW) is None


@given(st.text(max_size=80) | st.binary(max_size=80))
def test_no_field_breaks_it(value: str | bytes) -> None:
    seconds = retry_after(value, now=NOW)
    assert seconds is None or seconds >= 0


@given(st.integers(0, 4_102_444_800), st.floats(0, 4_102_444_800))
def test_a_date_is_compared_with_now(date: int, now: float) -> None:
    assert retry_after(formatdate(date, usegmt=True), now=now) == max(0.0, date - now)


def test_by_default_now_is_the_clock_on_the_wall() -> None:
    seconds = retry_after(formatdate(wall() + 3600, usegmt=True))
    assert seconds is not None
    assert 3590 < seconds <= 3600


def test_as_the_hint_of_a_retry() -> None:
    world, answers = VirtualRuntime(), ["503 Sun, 06 Nov 1994 08:49:44 GMT", "200"]

    def hint(answer: object) -> float | None:
        return retry_after(str(answer)[4:], now=NOW)

    retry = Retry(judge=lambda answer: answer.startswith("503"), hint=hint)

    async def fetch() -> str:
        return answers.pop(0)

    assert world.run(retry.acall(fetch)) == "200"
    assert 7.0 <= world.now() <= 7.1
