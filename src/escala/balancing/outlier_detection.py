"""Leaves out targets whose answers are worse than those of the others, without asking anyone."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from escala.balancing.pure.outliers import Outliers, Rules
from escala.kernel.config import options
from escala.kernel.units import PositiveDuration, PositiveShare
from escala.kernel.writer import differing

Count = Annotated[int, msgspec.Meta(ge=1)]


class OutlierOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `outliers` may say in `stack.yaml`; `{}` takes all defaults."""

    shorthand: ClassVar[str] = "in_a_row"

    in_a_row: Count | None = 5
    """Failed calls in a row that eject a target at once; none looks for no such row."""
    deviations: Annotated[float, msgspec.Meta(gt=0)] | None = 2.0
    """How many standard deviations below the others' mean a success rate ejects; none: never."""
    slower: Annotated[float, msgspec.Meta(gt=1)] | None = None
    """How many times the median a target's mean time ejects; none: never."""
    interval: PositiveDuration = PositiveDuration("10s")
    """Time over which success rates and times are compared."""
    calls: Count = 50
    """Calls to a target in an interval without which it is not compared."""
    ejection: PositiveDuration = PositiveDuration("30s")
    """How long the first ejection lasts; the second twice as long, and so on."""
    longest: PositiveDuration = PositiveDuration("5m")
    """The longest that an ejection lasts."""
    most: PositiveShare = PositiveShare("50%")
    """The share of the targets that may be ejected at a time: one at least, never the last one."""


class OutlierDetection:
    """Passive checks for the targets of an `Upstream`: `OutlierDetection(in_a_row=5)`.

    A health check finds a server that is down; this finds one that is up and answers badly: a
    bad deployment on one machine, a broken disk, a database it cannot reach. It looks at the
    calls themselves, as `release` and `with` blocks tell it: whether they failed, how long they
    took. See `pure.outliers.Outliers` for when a target is ejected and when it comes back.

    - Give each call's outcome to `release(target, ok=False, took=0.2)`; a `with` block does that.
      `took` matters only for `slower`.
    - What is known stays in the process, so that each judges by the calls that it made itself.
    - Where all targets fail alike none stands out; a row of failures ejects up to `most` of them.

    Events: `TargetEjected`. Raises `ConfigError`.
    """

    Options: ClassVar[type[OutlierOptions]] = OutlierOptions

    def __init__(
        self,
        in_a_row: int | None = 5,
        *,
        deviations: float | None = 2.0,
        slower: float | None = None,
        interval: float | str = 10.0,
        calls: int = 50,
        ejection: float | str = 30.0,
        longest: float | str = 300.0,
        most: float | str = 0.5,
    ) -> None:
        given: dict[str, object] = {"in_a_row": in_a_row, "deviations": deviations}
        given |= {"slower": slower, "interval": interval, "calls": calls}
        given |= {"ejection": ejection, "longest": longest, "most": most}
        self.options = options(OutlierOptions, given, where="OutlierDetection")

    def __repr__(self) -> str:
        told = differing(self.options)
        return f"OutlierDetection({', '.join(f'{name}={each!r}' for name, each in told.items())})"

    def machine(self) -> Outliers:
        """A fresh judge of the targets of one upstream."""
        given = self.options
        return Outliers(
            Rules(
                in_a_row=given.in_a_row or 0,
                deviations=given.deviations or 0.0,
                slower=given.slower or 0.0,
                interval=given.interval,
                calls=given.calls,
                ejection=given.ejection,
                longest=given.longest,
                most=given.most,
            )
        )
