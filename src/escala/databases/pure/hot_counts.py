"""Which keys and shards have more than their share of the calls of late."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import NamedTuple

from escala.databases.pure.space_saving import SpaceSaving

_LARGEST = 60.0  # half-lives after which the weights are made small again


class Turned(NamedTuple):
    """A key or shard that has become hot: the share of the calls that it has at least."""

    key: Hashable | None
    shard: str
    share: float


class HotCounts:
    """A call counts half as much after each half-life.

    That is done by counting the later ones more: a call at a time t has the weight 2^(t/half-life),
    and all of them are scaled down before they become too large. So a call costs O(1) and nothing
    has to be done while time passes.

    Graham Cormode, Vladislav Shkapenyuk, Divesh Srivastava and Bojian Xu, *Forward Decay*, ICDE
    2009.
    """

    def __init__(
        self, *, capacity: int, half_life: float, share: float, imbalance: float, least: float
    ) -> None:
        self._half_life, self._share, self._imbalance = half_life, share, imbalance
        self._least = least
        self.keys, self.shards = SpaceSaving(capacity), dict[str, float]()
        self._hot: dict[tuple[Hashable | None, str], None] = {}
        self._since: float | None = None
        self._looked = -math.inf

    def add(self, key: Hashable, shard: str, now: float) -> list[Turned]:
        """Count a call; what has become hot by it."""
        weight = self._weight(now)
        sure = self.keys.add(key, weight)
        self.shards[shard] = on_shard = self.shards.get(shard, 0.0) + weight
        total = self.keys.total
        if now - self._looked >= self._half_life / 4:
            self._looked = now
            self._hot = {each: None for each in self._hot if self._still(*each)}
        if total < self._least * weight:
            return []
        turned = []
        if sure > self._share * total and self._turns(key, ""):
            turned.append(Turned(key, shard, sure / total))
        if on_shard * len(self.shards) > self._imbalance * total and self._turns(None, shard):
            turned.append(Turned(None, shard, on_shard / total))
        return turned

    def shares(self, most: int) -> list[tuple[Hashable, float]]:
        """The keys with most calls, and the share that they have at least."""
        total = self.keys.total or 1.0
        return [(each.key, each.sure / total) for each in self.keys.top(most)]

    def shard_shares(self) -> dict[str, float]:
        """The share of each shard, the largest first."""
        total = self.keys.total or 1.0
        ordered = sorted(self.shards.items(), key=lambda item: -item[1])
        return {shard: found / total for shard, found in ordered}

    def _turns(self, key: Hashable | None, shard: str) -> bool:
        """Whether it was not hot before."""
        if (key, shard) in self._hot:
            return False
        self._hot[key, shard] = None
        return True

    def _still(self, key: Hashable | None, shard: str) -> bool:
        """A key cools at half of its share, a shard half way down to a fair one."""
        total = self.keys.total
        if key is None:
            found = self.shards[shard] * len(self.shards)
            return found > (1 + self._imbalance) / 2 * total
        return self.keys.sure(key) > self._share / 2 * total

    def _weight(self, now: float) -> float:
        since = self._since
        if since is None:
            since = self._since = now
        passed = (now - since) / self._half_life
        if passed > _LARGEST:
            factor = math.exp2(-min(passed, 1000.0))
            self.keys.scale(factor)
            self.shards = {shard: found * factor for shard, found in self.shards.items()}
            self._since, passed = now, 0.0
        return math.exp2(passed)
