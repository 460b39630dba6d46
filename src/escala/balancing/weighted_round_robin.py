"""Spread calls by weight in the very order in which nginx does, for a change without surprises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from escala.balancing.balancer import Balancer
from escala.balancing.pure.choice import Member
from escala.balancing.pure.weighted_round_robin import WeightedRoundRobinChoice


class WeightedRoundRobin(Balancer):
    """Smooth weighted round robin: weights 5, 1, 1 give the order a a b a c a a, as in nginx.

    Each whole round holds each target exactly `weight` times, as with `RoundRobin`. Between the
    two it is the order that differs: here the turns of a heavy target lie symmetrically in the
    round, and with some weights one comes more than a turn early or late, which `RoundRobin` never
    lets happen. Where nothing has to be as under nginx, that is the better one, and faster.

    Maxim Dounin, "Upstream: smooth weighted round-robin balancing", a change of nginx, 2012.
    """

    kind: ClassVar[str] = "weighted_round_robin"

    def over(
        self, members: Sequence[Member], draw: Callable[[], float]
    ) -> WeightedRoundRobinChoice:
        """A round that begins with the heaviest target."""
        del draw
        return WeightedRoundRobinChoice([member.weight for member in members])
