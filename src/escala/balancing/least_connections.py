"""Send each call to the target that has the least to do, so that a slow one gets fewer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from escala.balancing.balancer import Balancer
from escala.balancing.pure.choice import Member
from escala.balancing.pure.least_connections import LeastConnectionsChoice


class LeastConnections(Balancer):
    """The target with the fewest calls in flight for its weight: for calls of uneven cost.

    Exact: no other target has fewer at the moment of the pick. Equals take turns, by weight.
    Each process knows its own calls only, so several workers share a slow target's load as well
    as they can see it. A target that fails at once looks idle and draws calls: a health check
    or a circuit breaker has to take it out.
    """

    kind: ClassVar[str] = "least_connections"

    def over(self, members: Sequence[Member], draw: Callable[[], float]) -> LeastConnectionsChoice:
        """A choice that goes on from the calls already in flight."""
        del draw
        weights = [member.weight for member in members]
        return LeastConnectionsChoice(weights, [member.in_flight for member in members])
