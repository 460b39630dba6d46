"""Send calls where answers come soonest: for targets that are not equally fast, or not always."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import msgspec

from escala.balancing.balancer import Balancer
from escala.balancing.pure.choice import Member
from escala.balancing.pure.peak_ewma import PeakEwmaChoice
from escala.kernel.config import options
from escala.kernel.units import PositiveDuration


class PeakEwmaOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `peak_ewma` may say in `stack.yaml`."""

    shorthand: ClassVar[str] = "decay"

    decay: PositiveDuration = PositiveDuration("10s")
    """How long a slow answer is remembered: after so much time it counts 37 %."""


class PeakEwma(Balancer):
    """Of two random targets the one whose latency times its calls is lower: `PeakEwma()`.

    The latency of a target is estimated by an average that jumps up to each slower answer at once
    and comes down by `decay` (seconds, or text such as "10s"; 10 s by default). So one pause of a
    target is enough to keep calls away from it, before they queue up there, and it is tried again
    when the estimate has come down. A target of weight 2 takes twice the calls for the same cost.

    Two at random and not the best of all, since an estimate is as old as the last answer: with
    every caller at the target that was best a moment ago it is the worst now. And so each pick is
    O(log n), though the estimates change with time.

    The latency has to be told: `with upstream.pick()` does, and `release(target, took=0.2)`.
    Where calls are of very different sorts (a ping, a report) their latency says little about the
    target, and `LeastConnections` or `PowerOfTwoChoices` are better. Raises `ConfigError`.

    Twitter's Finagle, `Balancers.p2cPeakEwma`; Steve Jenson, *Beyond Round Robin: Load Balancing
    for Latency*, Buoyant, 2016.
    """

    kind: ClassVar[str] = "peak_ewma"
    Options: ClassVar[type[PeakEwmaOptions]] = PeakEwmaOptions

    def __init__(self, *, decay: float | str = 10.0) -> None:
        self.options = options(PeakEwmaOptions, {"decay": decay}, where="PeakEwma")

    def over(self, members: Sequence[Member], draw: Callable[[], float]) -> PeakEwmaChoice:
        """A choice that goes on from the calls in flight and what was known of the latencies."""
        return PeakEwmaChoice(members, self.options.decay, draw)
