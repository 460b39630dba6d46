"""What commits over several shards tell of themselves."""

from __future__ import annotations

from typing import Literal

from escala.kernel.events import Event


class LeftInDoubt(Event, frozen=True, kw_only=True):
    """A shard has not been told what was decided about `gid`; the sweeper will."""

    shard: str
    gid: str
    outcome: Literal["commit", "abort", "unknown"]


class DoubtSettled(Event, frozen=True, kw_only=True):
    """The sweeper told a shard what was decided about `gid`."""

    shard: str
    gid: str
    outcome: Literal["commit", "abort"]


class SweepFailed(Event, frozen=True, kw_only=True):
    """The sweeper could not do its work at this shard; it tries again."""

    shard: str
    cause: str
