"""Tells which keys and which shards have more calls than the others."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Annotated

import msgspec

from escala.databases.pure.hot_counts import HotCounts
from escala.kernel.at_fork import begin_anew, free
from escala.kernel.config import options
from escala.kernel.events import Event, publish
from escala.kernel.runtime import colours
from escala.kernel.units import PositiveDuration, PositiveShare

_Capacity = Annotated[int, msgspec.Meta(ge=8, le=100_000)]
_Factor = Annotated[float, msgspec.Meta(gt=1.0)]
_Count = Annotated[int, msgspec.Meta(ge=1)]


class KeyHot(Event, frozen=True, kw_only=True):
    """A key has at least this share of all calls of late: pin it to a shard that has room."""

    key: Hashable
    shard: str
    share: float


class ShardHot(Event, frozen=True, kw_only=True):
    """A shard has this share of all calls of late: move some of its slots."""

    shard: str
    share: float


class _Options(msgspec.Struct, frozen=True):
    share: PositiveShare
    imbalance: _Factor
    half_life: PositiveDuration
    capacity: _Capacity
    least: _Count


class HotKeys:
    """Reach for it to learn which tenant fills a shard before it is full.

    >>> hot = HotKeys(share=0.2)
    >>> for number in range(1000):
    ...     hot.hit("acme" if number % 2 else f"tenant-{number}", f"s{number % 3}")
    >>> [(key, round(share, 1)) for key, share in hot.keys(1)]
    [('acme', 0.5)]

    `hit` is told each call's key and shard. `KeyHot` is published when a key comes to have more
    than `share` of the calls (10 % by default), and `ShardHot` when a shard has more than
    `imbalance` times its fair share (1.5); once, until the key has cooled to half of that, and the
    shard half way down to a fair share. Calls count half after each `half_life` (10 s), and
    nothing is published before some `least` of them (100).

    It takes one or two microseconds and memory for `capacity` keys (1,000): each key with more
    than 1/1000 of the calls is among them, and shares are never overstated. Threads and tasks may
    share it. Raises `ConfigError` for options that make no sense.
    """

    def __init__(
        self,
        *,
        share: float | str = 0.1,
        imbalance: float = 1.5,
        half_life: float | str = "10s",
        capacity: int = 1000,
        least: int = 100,
        name: str = "hot_keys",
    ) -> None:
        given = {
            "share": share,
            "imbalance": imbalance,
            "half_life": half_life,
            "capacity": capacity,
            "least": least,
        }
        self._options, self.name = options(_Options, given, where="HotKeys"), name
        self._lock = threading.RLock()
        self._counts = self._begun()
        begin_anew(self, HotKeys._forked)

    def hit(self, key: Hashable, shard: str) -> None:
        """Count one call."""
        now = colours.thread.now()
        with self._lock:
            turned = self._counts.add(key, shard, now)
        for each in turned:
            publish(self._event(each.key, each.shard, each.share, now))

    def keys(self, most: int = 10) -> list[tuple[Hashable, float]]:
        """The keys with most calls of late, and the share that each has at least."""
        with self._lock:
            return self._counts.shares(most)

    def shards(self) -> dict[str, float]:
        """The share of each shard, the largest first."""
        with self._lock:
            return self._counts.shard_shares()

    def _event(self, key: Hashable | None, shard: str, share: float, now: float) -> Event:
        if key is None:
            return ShardHot(name=self.name, at=now, shard=shard, share=share)
        return KeyHot(name=self.name, at=now, key=key, shard=shard, share=share)

    def _begun(self) -> HotCounts:
        chosen = self._options
        return HotCounts(
            capacity=chosen.capacity,
            half_life=chosen.half_life,
            share=chosen.share,
            imbalance=chosen.imbalance,
            least=chosen.least,
        )

    def _forked(self) -> None:
        free(self._lock)
        self._counts = self._begun()
