"""The blob: its very bytes, and that nothing but a whole blob of its key is ever read as one."""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.caching.pure.blob import Header, Mark, pack, unpack

EPOCH = b"12345678"
HEADER = Header(Mark(EPOCH, 7, 1.5), 60.0, 5.0, 0.25, ("a", "customer:é"), negative=False)
PLAIN = HEADER._replace(tags=())

spans = st.floats(min_value=0.0, allow_nan=False)
headers = st.builds(
    Header,
    mark=st.builds(
        Mark,
        epoch=st.binary(min_size=8, max_size=8),
        clock=st.integers(0, 2**53 - 1),
        now=st.floats(allow_nan=False, allow_infinity=False),
    ),
    fresh=spans,
    stale=spans,
    took=st.floats(min_value=0.0, allow_nan=False, width=32),
    tags=st.lists(st.text(st.characters()), max_size=5).map(tuple),
    negative=st.booleans(),
)
keys = st.text(st.characters())


def signed(key: str, after: bytes, start: bytes = b"Es\x01\x00") -> bytes:
    """A blob whose checksum is right, whatever it holds."""
    return start + struct.pack(">I", zlib.crc32(key.encode() + start + after)) + after


def rest(**other: Any) -> bytes:
    """What follows the checksum, byte by byte."""
    held = {"epoch": EPOCH, "clock": 0, "born": 0.0, "fresh": 0.0, "stale": 0.0, "took": 0.0}
    held |= {"tags": 0} | other
    return struct.pack(">8sQdddfH", *held.values())


@pytest.mark.parametrize(
    ("header", "golden"),
    [
        (
            PLAIN,
            (
                "4573 01 00 85ca33a1 3132333435363738 0000000000000007 3ff8000000000000"
                "404e000000000000 4014000000000000 3e800000 0000"
            ),
        ),
        (
            PLAIN._replace(negative=True),
            (
                "4573 01 01 846f9a17 3132333435363738 0000000000000007 3ff8000000000000"
                "404e000000000000 4014000000000000 3e800000 0000"
            ),
        ),
        (
            HEADER,
            (
                "4573 01 00 0a59e8c8 3132333435363738 0000000000000007 3ff8000000000000"
                "404e000000000000 4014000000000000 3e800000 0002 0001 61 000b"
                " 637573746f6d65723ac3a9"
            ),
        ),
    ],
    ids=["plain", "negative", "tags"],
)
def test_the_bytes_are_these(header: Header, golden: str) -> None:
    blob = bytes.fromhex(golden) + b"payload"
    assert pack("k", header, b"payload").hex(" ") == blob.hex(" ")
    assert unpack("k", blob) == (header, b"payload")


def test_the_checksum_is_over_the_key_and_all_other_bytes() -> None:
    blob = pack("é", HEADER, b"payload")
    covered = "é".encode() + blob[:4] + blob[8:]
    assert struct.unpack(">I", blob[4:8]) == (zlib.crc32(covered),)


@given(keys, headers, st.binary())
def test_what_was_packed_comes_back(key: str, header: Header, payload: bytes) -> None:
    assert unpack(key, pack(key, header, payload)) == (header, payload)


def test_any_text_is_a_key_and_a_tag() -> None:
    header = HEADER._replace(tags=("\ud800", "\0", ""))
    blob = pack("\udfff", header, b"x")
    assert unpack("\udfff", blob) == (header, b"x")
    assert unpack("\ud800", blob) is None


@pytest.mark.parametrize("blob", [pack("k", PLAIN, b"pay"), pack("k", HEADER, b"")], ids=str)
def test_no_changed_byte_is_overlooked(blob: bytes) -> None:
    for at in range(len(blob)):
        for other in set(range(256)) - {blob[at]}:
            assert unpack("k", blob[:at] + bytes([other]) + blob[at + 1 :]) is None
        assert unpack("k", blob[:at]) is None
        assert unpack("k", blob[at + 1 :]) is None
        assert unpack("k", blob[:at] + blob[at + 1 :]) is None
    for at in range(len(blob) + 1):
        for other in range(256):
            assert unpack("k", blob[:at] + bytes([other]) + blob[at:]) is None


@given(keys, keys, headers, st.binary(max_size=20))
def test_a_blob_is_of_its_key_alone(key: str, other: str, header: Header, payload: bytes) -> None:
    assert (unpack(other, pack(key, header, payload)) is not None) == (key == other)


def test_the_key_does_not_run_into_what_follows() -> None:
    blob = pack("ab", PLAIN, b"")
    assert unpack("a", blob[:8] + b"b" + blob[8:]) is None
    assert unpack("a", b"b" + blob) is None


@given(keys, st.binary())
def test_any_bytes_are_nothing(key: str, blob: bytes) -> None:
    assert unpack(key, blob) is None


@given(st.binary(max_size=200), st.integers(0, 4), st.booleans())
def test_any_bytes_with_a_right_checksum_do_not_raise(tail: bytes, tags: int, whole: bool) -> None:
    found = unpack("k", signed("k", rest(tags=tags) + tail if whole else tail))
    if found is not None:
        header, payload = found
        used = sum(2 + len(tag.encode(errors="surrogatepass")) for tag in header.tags)
        assert not whole or (len(header.tags), payload) == (tags, tail[used:])


@pytest.mark.parametrize(
    ("blob", "read"),
    [
        (signed("k", rest()), True),
        (signed("k", rest(), b"Es\x01\x01"), True),
        (signed("k", rest(), b"Es\x01\x02"), False),
        (signed("k", rest(), b"Es\x01\x81"), False),
        (signed("k", rest(), b"Es\x00\x00"), False),
        (signed("k", rest(), b"Es\x02\x00"), False),
        (signed("k", rest(), b"Et\x01\x00"), False),
        (signed("k", rest(), b"es\x01\x00"), False),
        (signed("k", rest()[:-1]), False),
        (signed("k", rest(clock=2**53 - 1)), True),
        (signed("k", rest(clock=2**53)), False),
        (signed("k", rest(born=-1.0)), True),
        (signed("k", rest(born=math.nan)), False),
        (signed("k", rest(born=math.inf)), False),
        (signed("k", rest(born=-math.inf)), False),
        (signed("k", rest(fresh=-0.5)), False),
        (signed("k", rest(fresh=math.nan)), False),
        (signed("k", rest(fresh=math.inf)), True),
        (signed("k", rest(stale=-0.5)), False),
        (signed("k", rest(stale=math.nan)), False),
        (signed("k", rest(took=-0.5)), False),
        (signed("k", rest(took=math.nan)), False),
        (signed("k", rest(tags=1) + b"\0\0"), True),
        (signed("k", rest(tags=1)), False),
        (signed("k", rest(tags=1) + b"\0"), False),
        (signed("k", rest(tags=1) + b"\0\1"), False),
        (signed("k", rest(tags=1) + b"\0\1t"), True),
        (signed("k", rest(tags=2) + b"\0\1t"), False),
        (signed("k", rest(tags=1) + b"\0\1\xff"), False),
        (signed("k", rest(tags=65535)), False),
    ],
    ids=lambda value: None if isinstance(value, bool) else value.hex(),
)
def test_a_right_checksum_is_not_enough(blob: bytes, read: bool) -> None:
    assert (unpack("k", blob) is not None) is read


def test_a_blob_may_be_no_longer_than_its_header() -> None:
    assert unpack("k", pack("k", PLAIN, b"")) == (PLAIN, b"")
    assert len(pack("k", PLAIN, b"")) == 54


@pytest.mark.parametrize(
    "header",
    [
        PLAIN._replace(mark=Mark(b"1234567", 0, 0.0)),
        PLAIN._replace(mark=Mark(b"123456789", 0, 0.0)),
        PLAIN._replace(mark=Mark(EPOCH, -1, 0.0)),
        PLAIN._replace(mark=Mark(EPOCH, 2**53, 0.0)),
        PLAIN._replace(mark=Mark(EPOCH, 0, math.nan)),
        PLAIN._replace(fresh=-1.0),
        PLAIN._replace(stale=math.nan),
        PLAIN._replace(took=-1.0),
    ],
    ids=str,
)
def test_no_header_is_written_that_could_not_be_read(header: Header) -> None:
    with pytest.raises(
        ValueError, match=r"^expected an epoch of 8 bytes and times from zero up; f"
    ):
        pack("k", header, b"")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (
            PLAIN._replace(tags=("t" * 65536, "u")),
            r"found 2 tags, the longest of 65536 char.*0\.25",
        ),
        (PLAIN._replace(tags=("",) * 65536), "found 65536 tags, the longest of 0 characters"),
        (PLAIN._replace(took=1e39), r"found 0 tags, the longest of 0 characters, and 1e\+39 sec"),
    ],
    ids=["long", "many", "slow"],
)
def test_what_has_no_room_is_said(header: Header, found: str) -> None:
    expected = "^expected at most 65535 tags of at most 65535 bytes, and times that a float holds; "
    with pytest.raises(ValueError, match=expected + found):
        pack("k", header, b"")


def test_the_most_tags_and_the_longest_have_room() -> None:
    header = PLAIN._replace(tags=("t" * 65535,) + ("",) * 65534)
    assert unpack("k", pack("k", header, b"end")) == (header, b"end")
