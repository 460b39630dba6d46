"""What a write-behind goes by."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, TypedDict

import msgspec

from escala.kernel.units import Duration, PositiveDuration, PositiveSize

OnFull: TypeAlias = Literal["block", "shed", "write_through"]
Durability: TypeAlias = Literal["journal", "memory"]


class WriteOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When writes are sent, how many may wait, and what becomes of the others."""

    flush: PositiveDuration = PositiveDuration("200ms")
    """The longest that a write waits before it is sent."""
    max_batch: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 500
    """How many writes are sent at once."""
    max_bytes: PositiveSize = PositiveSize("4MiB")
    """How large the encoded values are that are sent at once; one alone may be larger."""
    max_pending: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 100_000
    """How many keys may be pending."""
    on_full: OnFull = "block"
    """What becomes of a write above that, or when the disk is full."""
    durability: Durability = "journal"
    """When a write is acknowledged: on the disk, or in memory."""
    park_after: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 5
    """After how many failures a write is parked that the source does not take."""
    backoff: PositiveDuration = PositiveDuration("100ms")
    """The wait after the first failure of a single write."""
    max_backoff: PositiveDuration = PositiveDuration("10s")
    """The longest wait after a failure."""
    drain: Duration = Duration("10s")
    """How long the end waits for the source."""


class WriteHow(TypedDict, total=False):
    """How `Cache.write_behind` writes; the same as in `WriteBehind`."""

    journal: str
    flush: float | str
    max_batch: int
    max_bytes: int | str
    max_pending: int
    on_full: OnFull
    durability: Durability
    park_after: int
    backoff: float | str
    max_backoff: float | str
    drain: float | str
    name: str
