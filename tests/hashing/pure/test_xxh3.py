from __future__ import annotations

import random

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from escala.hashing.pure import digest as digests
from escala.hashing.pure.xxh3 import xxh3

SEEDS = (0, 1, 2**32 - 1, 2**32, 0x9E3779B185EBCA87, 2**63, 2**64 - 1)
BYTES = random.Random(7).randbytes(4000)


def test_every_length_to_two_thousand_is_as_in_the_package() -> None:
    for length in range(2001):
        data = BYTES[length : 2 * length]
        for seed in (0, SEEDS[length % len(SEEDS)]):
            assert xxh3(data, seed) == xxhash.xxh3_64_intdigest(data, seed), (length, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "length",
    [0, 1, 3, 4, 8, 9, 16, 17, 32, 33, 64, 65, 96, 97, 128, 129, 240, 241, 1024, 1025, 2048],
)
def test_the_edges_of_each_class_with_every_seed(length: int, seed: int) -> None:
    for filler in (b"\x00", b"\xff", b"a"):
        data = filler * length
        assert xxh3(data, seed) == xxhash.xxh3_64_intdigest(data, seed)


@given(st.binary(max_size=400), st.integers(0, 2**64 - 1))
def test_any_bytes_and_any_seed(data: bytes, seed: int) -> None:
    assert xxh3(data, seed) == xxhash.xxh3_64_intdigest(data, seed)


# The first is the specification's.
@pytest.mark.parametrize(
    ("data", "seed", "digest"),
    [
        (b"", 0, 0x2D06800538D394C2),
        (b"user:7", 0, 0x0067B227F59EE6B4),
        (b"user:7", 42, 0x7E0AA351050B33C2),
        (bytes(range(100)), 7, 0xF99B79905A88DC51),
        (bytes(range(200)), 7, 0x68DECBFB306EBDF2),
        (bytes(range(256)) * 5, 7, 0xC7F683F9F97CC6E6),
    ],
    ids=["empty", "short", "seeded", "100", "200", "long"],
)
def test_values_that_never_change(data: bytes, seed: int, digest: int) -> None:
    assert xxh3(data, seed) == digest
    assert digests.digest(data, seed) == digest


def test_the_seed_may_be_left_out() -> None:
    assert xxh3(b"key") == xxh3(b"key", 0) != xxh3(b"key", 1)


@pytest.mark.parametrize("key", ["text", 7, None], ids=repr)
def test_what_is_no_bytes_is_refused_by_both(key: object) -> None:
    for function in (xxh3, xxhash.xxh3_64_intdigest):
        with pytest.raises(TypeError):
            function(key, 0)  # type: ignore[arg-type]


def test_any_buffer_is_bytes() -> None:
    assert xxh3(memoryview(b"key")) == xxh3(bytearray(b"key")) == xxh3(b"key")  # type: ignore[arg-type]
