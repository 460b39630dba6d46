"""Weighted rendezvous as a race: each node draws a time for the key, and the first one wins.

The logarithmic method: a time of `-ln(u) / weight`, with u between 0 and 1 from the digest of
key and node (Christian Schindelhauer and Gunnar Schomaker, *Weighted Distributed Hash Tables*,
SPAA 2005). When one node's weight changes, the times of the others stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from itertools import pairwise
from math import log

DRAW_BITS = 52  # what a float holds exactly, with the half
_SCALE = 2.0**-DRAW_BITS
# Logarithms differ by some 1e-16 from one machine's library to another's. Times that are nearer
# to each other than this are compared by arithmetic that is the same everywhere.
_NEAR = 1 + 1e-12
_EXACT = Context(prec=60)


def winner(draws: Sequence[int], weights: Sequence[float]) -> int:
    """The index of the first one; `draws` are numbers of 52 bits. Of two equals, the former."""
    times = _times(draws, weights)
    first = min(times)
    limit = first * _NEAR
    if sum(time <= limit for time in times) == 1:
        return times.index(first)
    near = (index for index, time in enumerate(times) if time <= limit)
    return min(near, key=lambda index: (_exact(draws[index], weights[index]), index))


def ranking(draws: Sequence[int], weights: Sequence[float]) -> list[int]:
    """All indices in the order in which they arrive."""
    times = _times(draws, weights)
    order = sorted(range(len(times)), key=times.__getitem__)
    if any(times[later] <= times[earlier] * _NEAR for earlier, later in pairwise(order)):
        order.sort(key=lambda index: (_exact(draws[index], weights[index]), index))
    return order


def _times(draws: Sequence[int], weights: Sequence[float]) -> list[float]:
    return [
        -log((draw + 0.5) * _SCALE) / weight for draw, weight in zip(draws, weights, strict=True)
    ]


def _exact(draw: int, weight: float) -> Decimal:
    """The time to 60 digits: `decimal` rounds correctly, wherever it runs."""
    odds = _EXACT.divide(Decimal(2 * draw + 1), Decimal(2 ** (DRAW_BITS + 1)))
    return _EXACT.divide(_EXACT.ln(odds), Decimal(-weight))
