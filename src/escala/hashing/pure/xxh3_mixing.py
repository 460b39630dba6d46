"""What every length of XXH3 is mixed with: the primes, the secret, and the ways to stir."""

from __future__ import annotations

MASK = 2**64 - 1
PRIME32_1, PRIME32_2, PRIME32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
PRIME64_1, PRIME64_2, PRIME64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
PRIME64_4, PRIME64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
PRIME_MX1, PRIME_MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25

# The default secret of the specification, 192 bytes.
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)


def word(data: bytes, at: int) -> int:
    """Eight bytes, the lowest first."""
    return int.from_bytes(data[at : at + 8], "little")


def folded(left: int, right: int) -> int:
    """The 128-bit product of two words, its halves laid over each other."""
    product = left * right
    return (product & MASK) ^ (product >> 64)


def avalanche(value: int) -> int:
    """XXH3's last step: each bit that came in reaches every bit that goes out."""
    value ^= value >> 37
    value = value * PRIME_MX1 & MASK
    return value ^ (value >> 32)


def avalanche_short(value: int) -> int:
    """XXH64's last step, which XXH3 uses for up to three bytes."""
    value ^= value >> 33
    value = value * PRIME64_2 & MASK
    value ^= value >> 29
    value = value * PRIME64_3 & MASK
    return value ^ (value >> 32)
