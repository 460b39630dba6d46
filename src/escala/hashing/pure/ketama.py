"""Placement as libmemcached's weighted ketama has it, for fleets that other clients share.

`MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED`: MD5 for points and keys, four points from each digest, 40
digests for a server of average weight, and single-precision arithmetic for the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import md5
from struct import Struct

KETAMA_POINTS = 160  # for a server of average weight
_DEFAULT_PORT = ":11211"
_WORDS = Struct("<4I")
_SINGLE = Struct("<f")


def ketama_digest(key: bytes, seed: int = 0) -> int:  # noqa: ARG001  as every digest is called
    """The first four bytes of the key's MD5, the lowest first."""
    return int.from_bytes(md5(key, usedforsecurity=False).digest()[:4], "little")


def ketama_label(node: str) -> str:
    """What is hashed for a server: memcached's own port is left out."""
    return node.removesuffix(_DEFAULT_PORT)


def ketama_points(node: str, count: int) -> list[int]:
    """Four points from each of `count / 4` digests."""
    label = ketama_label(node)
    return [
        point
        for number in range(count // 4)
        for point in _WORDS.unpack(
            md5(f"{label}-{number}".encode(), usedforsecurity=False).digest()
        )
    ]


def ketama_counts(weights: Mapping[str, float]) -> dict[str, int]:
    """How many points each server has: a multiple of four, and none if its weight is too small."""
    total = _single(sum(weights.values()))
    return {node: _count(weight, total, len(weights)) for node, weight in weights.items()}


def _count(weight: float, total: float, servers: int) -> int:
    share = _single(_single(weight) / total)
    digests = _single(_single(share * KETAMA_POINTS) / 4)
    digests = _single(digests * _single(servers))
    return math.floor(_single(digests + 0.0000000001)) * 4


def _single(value: float) -> float:
    """Rounded to the precision in which libmemcached computes."""
    single: float = _SINGLE.unpack(_SINGLE.pack(value))[0]
    return single
