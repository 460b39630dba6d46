from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.databases.pure.token import Position, position, signed

SECRET, WHERE = b"sixteen bytes at least", Position(2**63 + 5, 3, 2**40)
POSITIONS = st.builds(
    Position, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
)


@given(POSITIONS, st.binary(min_size=1))
def test_what_was_signed_comes_back(where: Position, secret: bytes) -> None:
    text = signed(where, secret)
    assert position(text, secret) == where
    assert len(text) == 50
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_the_form_is_what_other_processes_expect() -> None:
    text = signed(Position(7, 1, 4096), SECRET)
    assert text == signed(Position(7, 1, 4096), SECRET)
    body = base64.urlsafe_b64decode(text + "==")[:21]
    assert body == b"\x01" + (7).to_bytes(8) + (1).to_bytes(4) + (4096).to_bytes(8)


def test_another_secret_has_not_signed_it() -> None:
    assert position(signed(WHERE, SECRET), b"some other secret bytes") is None


@given(st.integers(0, 49), st.sampled_from("AZaz09-_"))
def test_a_changed_character_is_noticed(place: int, character: str) -> None:
    text = signed(WHERE, SECRET)
    changed = text[:place] + character + text[place + 1 :]
    found = position(changed, SECRET)
    # The last character holds two bits that are none of the signature's.
    assert found is None or changed == text or (place == 49 and found == WHERE)


@pytest.mark.parametrize(
    "text",
    ["", "A", "A" * 49, "A" * 50, "A" * 51, "é" * 50, "!" * 50, " " * 50, "A" * 10_000],
    ids=["empty", "one", "short", "right", "long", "accents", "marks", "spaces", "huge"],
)
def test_any_other_text_is_no_token(text: str) -> None:
    assert position(text, SECRET) is None


def test_a_later_version_is_not_understood() -> None:
    import hashlib
    import hmac

    body = b"\x02" + bytes(20)
    whole = body + hmac.digest(SECRET, body, hashlib.sha256)[:16]
    assert position(base64.urlsafe_b64encode(whole).decode().rstrip("="), SECRET) is None
