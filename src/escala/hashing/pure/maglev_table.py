"""The lookup table of Maglev: each node fills free places in an order of its own, in turns.

Daniel E. Eisenbud et al., *Maglev: A Fast and Reliable Software Network Load Balancer*, NSDI
2016, section 3.4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from escala.hashing.pure.digest import digest
from escala.hashing.pure.members import whole


def maglev_table(weights: Mapping[str, float], size: int, seed: int) -> list[str]:
    """Who has each of `size` places, a prime number of them.

    Nodes take turns in the order of their names. The heaviest takes one in each round, one of a
    third of its weight in every third.
    """
    names = sorted(weights)
    shares = whole(weights)
    heaviest = max(shares.values())
    places = [digest(name.encode(), seed) for name in names]
    skips = [place // size % (size - 1) + 1 for place in places]
    places = [place % size for place in places]
    credits_ = [0] * len(names)
    gains = [shares[name] for name in names]
    table = [""] * size
    free = size
    while True:
        for index, name in enumerate(names):
            credits_[index] += gains[index]
            if credits_[index] < heaviest:
                continue
            credits_[index] -= heaviest
            place, skip = places[index], skips[index]
            while table[place]:
                place = (place + skip) % size
            table[place] = name
            places[index] = place
            free -= 1
            if not free:
                return table


def is_prime(number: int) -> bool:
    """Whether a skip of any width goes through all places."""
    return number > 1 and all(number % each for each in range(2, math.isqrt(number) + 1))
