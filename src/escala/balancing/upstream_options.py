"""The plain options of an upstream; `stack.yaml` has them beside what stands in mappings."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from escala.balancing.panic import Panic
from escala.errors import ConfigError
from escala.kernel.units import PositiveDuration
from escala.kernel.wrong_value import shown

T = TypeVar("T")


class UpstreamOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an `Upstream` checks of its own arguments."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    """What events, errors and metrics call it."""
    panic: Panic = Panic(False)  # noqa: FBT003  as it is written
    """Below which healthy share all targets are picked; true: only when none is healthy."""
    zone: str = ""
    """Where this process runs, so that calls stay near it."""
    slow_start: PositiveDuration | None = None
    """How long a target that came, or came back, has less than its weight."""


def part(value: T, kind: type[object], field: str, *, of: str) -> T:
    """A part of the upstream `of`; `ConfigError` for what is of another kind."""
    if value is None or isinstance(value, kind):
        return value
    raise ConfigError(
        f"upstream {of}: {field}: expected {kind.__name__}(...), found {shown(value)}"
    )
