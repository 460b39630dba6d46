"""Send calls for the same key to the same target, so that what it has cached is of use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar

import msgspec

from escala.balancing.balancer import Balancer
from escala.balancing.pure.choice import Member
from escala.balancing.pure.consistent_hash import ConsistentHashChoice
from escala.errors import ConfigError
from escala.hashing import HashRing
from escala.hashing.hash_ring import MOST_POINTS
from escala.kernel.config import options


class ConsistentHashOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `consistent_hash` may say in `stack.yaml`."""

    load_factor: Annotated[float, msgspec.Meta(gt=1.0, le=1000.0)] = 1.25
    """How many times its share of the calls in flight a target may have."""
    vnodes: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 128
    """Points on the ring of a target of weight 1."""


class ConsistentHash(Balancer):
    """A ring of the targets with bounded load: `upstream.pick(key="user:7")`.

    Every process picks the same target for the same key, and when a target goes only its keys go
    elsewhere: each to the next one on the ring, and back when the target is back. A key that is
    in great demand would be too much for its target, so calls that would give it more than
    `load_factor` times its share of all calls in flight go to the next one as well. A lower factor
    (more than 1) is more even, a higher one keeps more calls at their key's target.

    With few calls in flight the bound counts by whole calls: of one call at a time, none is sent
    away. Each process sees its own calls only. A call without a key goes to a random place.

    `vnodes` are the points of a target of weight 1: with 128 of them the fullest of ten targets
    has some 15 % more keys than its share, and the bound evens out its calls. Raises `ConfigError`.

    Vahab Mirrokni, Mikkel Thorup and Morteza Zadimoghaddam, *Consistent Hashing with Bounded
    Loads*, SODA 2018.
    """

    kind: ClassVar[str] = "consistent_hash"
    Options: ClassVar[type[ConsistentHashOptions]] = ConsistentHashOptions

    def __init__(self, *, load_factor: float = 1.25, vnodes: int = 128) -> None:
        given = {"load_factor": load_factor, "vnodes": vnodes}
        self.options = options(ConsistentHashOptions, given, where="ConsistentHash")
        # Of the targets before, since most of their points are on the next ring too.
        self._ring: HashRing | None = None

    def check(self, weights: Sequence[int]) -> None:
        """Refuse more points than a ring may have."""
        points = self.options.vnodes * sum(weights)
        if points > MOST_POINTS:
            raise ConfigError(
                f"ConsistentHash: expected vnodes times weights to be at most {MOST_POINTS:,} "
                f"points, found {points:,}"
            )

    def over(self, members: Sequence[Member], draw: Callable[[], float]) -> ConsistentHashChoice:
        """A choice that goes on from the calls already in flight."""
        weights = {
            each.name: float(each.weight if each.share is None else each.share) for each in members
        }
        last = self._ring
        if last is None:
            self._ring = ring = HashRing(weights, vnodes=self.options.vnodes)
        elif last.nodes == weights:
            ring = last
        else:
            self._ring = ring = last.with_nodes(weights)
        return ConsistentHashChoice(members, ring, self.options.load_factor, draw)
