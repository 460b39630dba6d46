"""Spread calls evenly over targets that are alike, or in exact proportion to their weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from escala.balancing.balancer import Balancer
from escala.balancing.pure.choice import Member
from escala.balancing.pure.round_robin import RoundRobinChoice


class RoundRobin(Balancer):
    """Each target in turn, `weight` times a round: for calls that cost about the same.

    After any number of picks each target is less than one turn away from its exact share, and
    the turns of a heavy target are spread over the round. A slow target still gets its share:
    where that matters, `LeastConnections` is the better choice.
    """

    kind: ClassVar[str] = "round_robin"

    def over(self, members: Sequence[Member], draw: Callable[[], float]) -> RoundRobinChoice:
        """A round that begins with the first target."""
        del draw
        return RoundRobinChoice([member.weight for member in members])
