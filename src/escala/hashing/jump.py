"""Jump hash: keys in numbered buckets, of which only the last may come or go."""

from __future__ import annotations

from escala.hashing.pure.digest import digest
from escala.hashing.pure.jump import jumped
from escala.hashing.pure.members import counted, seeded
from escala.hashing.snapshot import Key

_MOST_BUCKETS = 2**31


def jump_hash(key: Key | int, buckets: int, *, seed: int = 0) -> int:
    """Reach for it where buckets have numbers and only grow: even shares, and no memory at all.

    >>> jump_hash("user:7", 8), jump_hash("user:7", 9)
    (2, 2)
    >>> jump_hash("user:9", 8), jump_hash("user:9", 9)
    (4, 8)

    The bucket of a key, from 0 to `buckets` - 1. From n to n + 1 buckets one key in n + 1 moves,
    each of them into the new bucket. Text and bytes are hashed with XXH3 under `seed`; a whole
    number from 0 to 2**64 - 1 is taken as it is. O(log buckets).

    Raises `ConfigError` for less than one bucket or more than 2**31, and for a number or seed of
    more than 64 bits.

    John Lamping and Eric Veach, *A Fast, Minimal Memory, Consistent Hash Algorithm*, 2014.
    """
    counted("jump_hash", "buckets", buckets, 1, _MOST_BUCKETS)
    if isinstance(key, int):
        return jumped(counted("jump_hash", "key", key, 0, 2**64 - 1), buckets)
    seeded("jump_hash", seed)
    return jumped(digest(key.encode() if isinstance(key, str) else key, seed), buckets)
