"""XXH3 of more than 240 bytes: eight lanes, fed stripe by stripe."""

from __future__ import annotations

from struct import Struct

from escala.hashing.pure.xxh3_mixing import (
    MASK,
    PRIME32_1,
    PRIME32_2,
    PRIME32_3,
    PRIME64_1,
    PRIME64_2,
    PRIME64_3,
    PRIME64_4,
    PRIME64_5,
    SECRET,
    avalanche,
    folded,
    word,
)

_STRIPE = 64
_STRIPES = 16  # in a block, after which the lanes are scrambled
_LAST = len(SECRET) - _STRIPE  # where the scrambler's part of the secret begins
_WORDS = Struct("<8Q")
_MASK32 = 2**32 - 1


def long(data: bytes, seed: int) -> int:
    """The digest of more than 240 bytes."""
    secret = _secret(seed) if seed else SECRET
    lanes = [
        *(PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3),
        *(PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1),
    ]
    # The last stripe is read from the end, so it may overlap with the one before.
    for number in range((len(data) - 1) // _STRIPE):
        place = number % _STRIPES
        if number and not place:
            _scramble(lanes, secret)
        _feed(lanes, data, number * _STRIPE, secret, place * 8)
    if (len(data) - 1) // _STRIPE % _STRIPES == 0:
        _scramble(lanes, secret)
    _feed(lanes, data, len(data) - _STRIPE, secret, _LAST - 7)
    total = len(data) * PRIME64_1
    for at in range(0, 8, 2):
        left = lanes[at] ^ word(secret, 11 + 8 * at)
        total += folded(left, lanes[at + 1] ^ word(secret, 19 + 8 * at))
    return avalanche(total & MASK)


def _secret(seed: int) -> bytes:
    """The secret of a seed."""
    pairs = range(0, len(SECRET), 16)
    return b"".join(
        (word(SECRET, at) + seed & MASK).to_bytes(8, "little")
        + (word(SECRET, at + 8) - seed & MASK).to_bytes(8, "little")
        for at in pairs
    )


def _feed(lanes: list[int], data: bytes, at: int, secret: bytes, secret_at: int) -> None:
    values = _WORDS.unpack_from(data, at)
    keys = _WORDS.unpack_from(secret, secret_at)
    for lane, (value, key) in enumerate(zip(values, keys, strict=True)):
        stirred = value ^ key
        lanes[lane ^ 1] = lanes[lane ^ 1] + value & MASK
        lanes[lane] = lanes[lane] + (stirred & _MASK32) * (stirred >> 32) & MASK


def _scramble(lanes: list[int], secret: bytes) -> None:
    for lane, key in enumerate(_WORDS.unpack_from(secret, _LAST)):
        value = lanes[lane]
        lanes[lane] = (value ^ value >> 47 ^ key) * PRIME32_1 & MASK
