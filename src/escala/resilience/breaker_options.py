"""What a circuit breaker can be told, in code and in `stack.yaml`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from escala.kernel.units import PositiveDuration, PositiveShare
from escala.resilience.breaker_window import BreakerWindow
from escala.resilience.failure_status import FailureStatus
from escala.resilience.pure.breaker import BreakerRules
from escala.resilience.pure.breaker_table import BreakerMode


class BreakerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to open, for how long, and how to find out that things are well again."""

    failure_rate: PositiveShare | None = PositiveShare("50%")
    """The share of failed calls that opens it; none if empty."""
    window: BreakerWindow = BreakerWindow("10s")
    """How far back calls are counted: a time, or a number of calls such as "100 calls"."""
    minimum_calls: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 20
    """So many calls must be in the window before a rate means anything."""
    consecutive: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] | None = None
    """So many failures in a row open it whatever the rate; never if unset."""
    slow: PositiveDuration | None = None
    """A call that takes as long is slow; none is if unset."""
    slow_rate: PositiveShare = PositiveShare("50%")
    """The share of slow calls that opens it."""
    cooldown: PositiveDuration = PositiveDuration(5.0)
    """How long it refuses every call before it probes."""
    cooldown_cap: PositiveDuration | None = None
    """The cooldown doubles up to this while the probes fail; it does not grow if unset."""
    probes: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    """How many calls pass then, all of which must succeed."""
    probe_lease: PositiveDuration = PositiveDuration(30.0)
    """How long it waits for probes that do not come back."""
    statuses: tuple[FailureStatus, ...] = ()
    """Which HTTP and gRPC statuses are failures, such as `500..504`; only these, if given."""
    key: str | None = None
    """Which calls share a breaker, such as "host"; all of them if unset."""
    max_keys: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    """For how many keys there is a breaker."""
    mode: BreakerMode = "enforce"
    """`shadow` never refuses, `disabled` does not count either, `forced_open` refuses all."""

    store: str | None = None
    """Where processes share it, such as "redis://localhost"; each has its own if unset."""
    refresh: PositiveDuration = PositiveDuration("250ms")
    """How often a process looks there at what the others have found."""

    def __post_init__(self) -> None:
        if self.failure_rate is None and self.consecutive is None and self.slow is None:
            raise ValueError("expected failure_rate, consecutive or slow, found nothing to open it")
        if self.cooldown_cap is not None and self.cooldown_cap < self.cooldown:
            raise ValueError(
                f"expected a cooldown_cap of at least the cooldown, {self.cooldown.text}, "
                f"found {self.cooldown_cap.text}"
            )

    def rules(self) -> BreakerRules:
        """The machine's part of it."""
        calls = self.window.calls
        return BreakerRules(
            failure_rate=self.failure_rate,
            slow_rate=None if self.slow is None else self.slow_rate,
            consecutive=self.consecutive,
            window=self.window.seconds or 0.0,
            window_calls=calls,
            # A window of fewer calls than that would never be full enough.
            minimum_calls=self.minimum_calls if calls is None else min(self.minimum_calls, calls),
            cooldown=self.cooldown,
            cooldown_cap=self.cooldown_cap,
            probes=self.probes,
            probe_lease=self.probe_lease,
        )
