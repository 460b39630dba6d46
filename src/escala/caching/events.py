"""What caches tell of themselves."""

from __future__ import annotations

from typing import Literal

from escala.kernel.events import Event


class CacheServed(Event, frozen=True, kw_only=True):
    """A caller got a value: from `l1`, `l2`, a `load`, or `stale` (then `why`, and its `age`)."""

    key: str
    source: str
    age: float
    why: str = ""


class CacheMissed(Event, frozen=True, kw_only=True):
    """A caller asked for a key that has no value, and gave no way to load one."""

    key: str


class CacheLoaded(Event, frozen=True, kw_only=True):
    """A value was loaded in `took` seconds, and `kept` unless something changed meanwhile."""

    key: str
    took: float
    kept: bool


class CacheLoadFailed(Event, frozen=True, kw_only=True):
    """The source failed; `rescued` if a stale value stood in."""

    key: str
    cause: str
    rescued: bool


class CacheInvalidated(Event, frozen=True, kw_only=True):
    """A key, a tag, a namespace or all were deleted, or expired if `soft`.

    `remote`: by another process. `everywhere` is False when the second level has yet to hear of it.
    """

    kind: Literal["key", "tag", "all"]
    what: str
    soft: bool
    remote: bool = False
    everywhere: bool = True


class CacheUndecodable(Event, frozen=True, kw_only=True):
    """What the second level held for a key was no value of it, and counts as a miss."""

    key: str
    cause: str


class CacheStoreChanged(Event, frozen=True, kw_only=True):
    """The second level is `away`, and the first does without it; or it is back."""

    away: bool
    reason: str


class CacheHearingChanged(Event, frozen=True, kw_only=True):
    """Invalidations by other processes are `heard` again, or may be missed from here on."""

    heard: bool


class WriteFlushed(Event, frozen=True, kw_only=True):
    """The source took a batch of `count` writes in `took` seconds."""

    count: int
    took: float


class WriteFailed(Event, frozen=True, kw_only=True):
    """The source did not take a batch of `count` writes, which are tried again."""

    count: int
    cause: str


class WriteParked(Event, frozen=True, kw_only=True):
    """The source takes other writes, but not this one, so it waits for `retry_parked`."""

    key: str
    sequence: int


class WriteShed(Event, frozen=True, kw_only=True):
    """A write was refused, since the queue or the journal's disk is full."""

    key: str
    reason: str


class WriteBehindStopped(Event, frozen=True, kw_only=True):
    """Another process has taken over the journal, and with it all that was pending here."""

    reason: str
