"""The jump of a key from bucket to bucket as there are more of them.

John Lamping and Eric Veach, *A Fast, Minimal Memory, Consistent Hash Algorithm*, 2014.
"""

from __future__ import annotations

_MASK = 2**64 - 1


def jumped(key: int, buckets: int) -> int:
    """The bucket of a key of 64 bits among `buckets`, from 0."""
    bucket, following = -1, 0
    while following < buckets:
        bucket = following
        key = key * 2862933555777941757 + 1 & _MASK
        following = int((bucket + 1) * (2147483648.0 / ((key >> 33) + 1)))
    return bucket
