"""The house's hash of a key, XXH3 of 64 bits: from the package xxhash, or in Python.

Both give the same values, so a process that lacks the package is slower and routes alike. A
package that gives others (the first drafts of XXH3 did) is not used.
"""

from __future__ import annotations

from collections.abc import Callable

from escala.hashing.pure.xxh3 import xxh3

Digest = Callable[[bytes, int], int]

_SAMPLES = tuple(bytes(length) for length in (0, 3, 8, 16, 100, 200, 300))


def agrees(other: Digest) -> bool:
    """Whether it gives what the specification asks for, in each class of length."""
    return all(other(sample, 2**64 - 59) == xxh3(sample, 2**64 - 59) for sample in _SAMPLES)


def fastest() -> Digest:
    """The package's function if it is there and right, or else ours."""
    try:
        from xxhash import xxh3_64_intdigest
    except ImportError:
        return xxh3
    return xxh3_64_intdigest if agrees(xxh3_64_intdigest) else xxh3


digest: Digest = fastest()
