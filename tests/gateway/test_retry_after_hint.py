"""What a target's `Retry-After` tells the policies of a route."""

from __future__ import annotations

import pytest

from escala.gateway.gateway import _hint
from escala.http.message import Response


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"7", 7.0), (b"Sun, 06 Nov 1994 08:49:37 GMT", 0.0), (b"soon", None)],
)
def test_both_forms_are_read(value: bytes, seconds: float | None) -> None:
    assert _hint(Response(503, [(b"retry-after", value)], b"")) == seconds


def test_a_date_to_come_is_so_many_seconds_away() -> None:
    hint = _hint(Response(503, [(b"retry-after", b"Fri, 01 Jan 2100 00:00:00 GMT")], b""))
    assert hint is not None
    assert hint > 1e9


def test_without_the_field_and_without_an_answer_there_is_no_hint() -> None:
    assert _hint(Response(503, [], b"")) is None
    assert _hint(ConnectionError()) is None
