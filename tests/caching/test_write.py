"""How the journal keeps a write: whatever bytes it holds, a write or a clear error."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.caching.write import read_record, record_of
from escala.errors import StoreUnavailable


@given(st.text(), st.binary(), st.booleans(), st.booleans())
def test_what_is_kept_is_read(key: str, payload: bytes, deleted: bool, sealed: bool) -> None:
    record = record_of(key, payload, deleted=deleted, sealed=sealed)
    assert read_record(record) == (key, payload, deleted, sealed)


@given(st.binary())
def test_any_bytes_are_a_write_or_an_error_that_says_what_to_do(record: bytes) -> None:
    with contextlib.suppress(StoreUnavailable):
        key, payload, deleted, sealed = read_record(record)
        assert record_of(key, payload, deleted=deleted, sealed=sealed) == record


@pytest.mark.parametrize(
    "record",
    [b"", bytes(4), b"\x00\x00\x00\x00\x01", b"\x04\x00\x00\x00\x00", b"\x00\x00\x00\x00\x01\xff"],
)
def test_what_is_no_write(record: bytes) -> None:
    with pytest.raises(StoreUnavailable, match="a record that is no write"):
        read_record(record)


def test_the_form_does_not_change() -> None:
    record = record_of("ä", b"v", deleted=True, sealed=True)
    assert record == b"\x03\x00\x00\x00\x02\xc3\xa4v"
    assert record_of("", b"", deleted=False, sealed=True)[0] == 2
    assert record_of("", b"", deleted=True, sealed=False)[0] == 1
