"""What the tests of all maps share."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from escala.hashing import HashRing, Maglev, Rendezvous, SlotMap

KEYS = [f"user:{number}" for number in range(1500)]

KINDS: dict[str, Callable[..., Any]] = {
    "slots": SlotMap,
    "ring": lambda nodes: HashRing(nodes, vnodes=64),
    "ketama": lambda nodes: HashRing(nodes, hash="ketama"),
    "maglev": lambda nodes: Maglev(nodes, size=1009),
    "rendezvous": Rendezvous,
}


def named(count: int) -> list[str]:
    """So many names, in no order that a name shows."""
    names = [f"10.0.{number % 7}.{number}:6379" for number in range(count)]
    random.Random(count).shuffle(names)
    return names


# One to two hundred, the small numbers as often as the large ones.
COUNTS = st.one_of(st.integers(1, 8), st.integers(1, 200))
