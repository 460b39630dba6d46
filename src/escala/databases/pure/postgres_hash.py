"""PostgreSQL's own hashes of a key, so that a router and a server agree on its slot.

What `hashtextextended(key, 0)`, `hashint8extended(key, 0)` and `uuid_hash_extended(key, 0)` give
on a little-endian server, as a number without a sign. PostgreSQL keeps these stable, since its
hash partitions stand on them.

Bob Jenkins, lookup3.c, 2006, in the form of PostgreSQL's src/common/hashfn.c.
"""

from __future__ import annotations

_WORD = 0xFFFF_FFFF
_BEGIN = 0x9E37_79B9 + 3_923_095
_BLOCK = 12


def hash_bytes(data: bytes) -> int:
    """The hash of text (as UTF-8) and of a UUID (its 16 bytes)."""
    a = b = c = (_BEGIN + len(data)) & _WORD
    at = 0
    for at in range(_BLOCK, len(data) + 1, _BLOCK):
        block = int.from_bytes(data[at - _BLOCK : at], "little")
        a, b, c = _mixed(
            a + (block & _WORD) & _WORD,
            b + (block >> 32 & _WORD) & _WORD,
            c + (block >> 64) & _WORD,
        )
    rest = int.from_bytes(data[at:], "little")
    # The lowest byte of c has the length in it, so the bytes of the last word begin above it.
    return _final(
        a + (rest & _WORD) & _WORD, b + (rest >> 32 & _WORD) & _WORD, c + (rest >> 64 << 8) & _WORD
    )


def hash_int8(value: int) -> int:
    """The hash of a whole number of 64 bits; of 16 and 32 bits it is the same."""
    high = value >> 32
    low = (value ^ (high if value >= 0 else ~high)) & _WORD
    begin = (_BEGIN + 4) & _WORD
    return _final(begin + low & _WORD, begin, begin)


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    a = (a - c & _WORD) ^ (c << 4 & _WORD | c >> 28)
    c = c + b & _WORD
    b = (b - a & _WORD) ^ (a << 6 & _WORD | a >> 26)
    a = a + c & _WORD
    c = (c - b & _WORD) ^ (b << 8 & _WORD | b >> 24)
    b = b + a & _WORD
    a = (a - c & _WORD) ^ (c << 16 & _WORD | c >> 16)
    c = c + b & _WORD
    b = (b - a & _WORD) ^ (a << 19 & _WORD | a >> 13)
    a = a + c & _WORD
    c = (c - b & _WORD) ^ (b << 4 & _WORD | b >> 28)
    b = b + a & _WORD
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    c = (c ^ b) - (b << 14 & _WORD | b >> 18) & _WORD
    a = (a ^ c) - (c << 11 & _WORD | c >> 21) & _WORD
    b = (b ^ a) - (a << 25 & _WORD | a >> 7) & _WORD
    c = (c ^ b) - (b << 16 & _WORD | b >> 16) & _WORD
    a = (a ^ c) - (c << 4 & _WORD | c >> 28) & _WORD
    b = (b ^ a) - (a << 14 & _WORD | a >> 18) & _WORD
    c = (c ^ b) - (b << 24 & _WORD | b >> 8) & _WORD
    return b << 32 | c
