"""The plain options of an upstream; `stack.yaml` has them beside what stands in mappings."""

from __future__ import annotations

import msgspec

from escala.balancing.panic import Panic
from escala.kernel.units import PositiveDuration


class UpstreamOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an `Upstream` checks of its own arguments."""

    panic: Panic = Panic(False)  # noqa: FBT003  as it is written
    """Below which healthy share all targets are picked; true: only when none is healthy."""
    zone: str = ""
    """Where this process runs, so that calls stay near it."""
    slow_start: PositiveDuration | None = None
    """How long a target that came, or came back, has less than its weight."""
