"""Send each call to the less loaded of two targets at random: nearly the best, and never a herd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from escala.balancing.balancer import Balancer
from escala.balancing.pure.choice import Member
from escala.balancing.pure.power_of_two import PowerOfTwoChoice


class PowerOfTwoChoices(Balancer):
    """Of two random targets the one with fewer calls in flight for its weight: for many callers.

    Where many processes balance over the same targets, each sees its own calls only. If each took
    the least loaded target they would all take the same ones, again and again; two at random keep
    them apart, and cost little: when n calls are thrown at n targets the fullest gets some
    ln ln n / ln 2 of them, against ln n / ln ln n with one at random. Targets are drawn by weight.

    As with `LeastConnections`, a target that fails at once looks idle and draws calls, though
    never more than the share 2/n of them: leave it to a health check or outlier detection.

    Michael Mitzenmacher, *The Power of Two Choices in Randomized Load Balancing*, IEEE
    Transactions on Parallel and Distributed Systems 12 (10), 2001.
    """

    kind: ClassVar[str] = "p2c"

    def over(self, members: Sequence[Member], draw: Callable[[], float]) -> PowerOfTwoChoice:
        """A choice that goes on from the calls already in flight."""
        return PowerOfTwoChoice(members, draw)
