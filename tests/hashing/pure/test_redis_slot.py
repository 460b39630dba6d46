from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.hashing.pure.redis_slot import REDIS_SLOTS, redis_digest


def crc16(data: bytes) -> int:
    """As the Redis Cluster specification words it: XMODEM, polynomial 1021, from 0."""
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ (0x1021 if value & 0x8000 else 0)) & 0xFFFF
    return value


def test_the_specifications_check_value() -> None:
    assert redis_digest(b"123456789") == 0x31C3


@pytest.mark.parametrize(
    ("key", "slot"),
    [(b"foo", 12182), (b"bar", 5061), (b"hello", 866), (b"somekey", 11058), (b"", 0)],
)
def test_slots_that_redis_cluster_gives(key: bytes, slot: int) -> None:
    assert redis_digest(key) % REDIS_SLOTS == slot


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"{user1000}.following", b"user1000"),
        (b"{user1000}.followers", b"user1000"),
        (b"foo{}{bar}", b"foo{}{bar}"),
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"foo}bar{zap", b"foo}bar{zap"),
        (b"}{a}", b"a"),
        (b"foo{bar", b"foo{bar"),
        (b"{a}", b"a"),
        (b"{}", b"{}"),
    ],
)
def test_hash_tags_of_the_specification(key: bytes, hashed: bytes) -> None:
    assert redis_digest(key) == crc16(hashed)


@given(st.binary(max_size=60).filter(lambda data: b"{" not in data))
def test_any_key_without_a_tag_is_hashed_whole(key: bytes) -> None:
    assert redis_digest(key) == crc16(key)
    assert redis_digest(b"x{" + key.replace(b"}", b"") + b"!}y") == crc16(
        key.replace(b"}", b"") + b"!"
    )
