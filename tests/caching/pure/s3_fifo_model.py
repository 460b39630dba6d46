"""S3-FIFO once more, slow and plain: lists that are searched, and no short cuts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from escala.caching.pure.ghost import Ghost

TURNS = 10_000


@dataclass
class Kept:
    """What the model knows of an entry."""

    weight: int
    ends: float
    visits: int = 0


@dataclass
class SlowS3Fifo:
    """The same decisions; a removed key stays in its list with nothing in `kept`."""

    max_entries: int
    max_weight: int
    kept: dict[int, Kept] = field(default_factory=dict)
    small: list[tuple[int, int]] = field(default_factory=list)  # key, weight when it came
    main: list[int] = field(default_factory=list)
    ghost: Ghost = field(default_factory=lambda: Ghost(0))
    evictions: int = 0

    @property
    def weight(self) -> int:
        return sum(kept.weight for kept in self.kept.values())

    def places(self) -> Iterator[int]:
        yield from (key for key, _ in self.small)
        yield from self.main

    def hit(self, key: int) -> bool:
        if key not in self.kept:
            return False
        self.kept[key].visits = min(3, self.kept[key].visits + 1)
        return True

    def put(self, key: int, weight: int, ends: float, now: float) -> bool:
        if weight > max(1, self.max_weight // 8):
            self.remove(key)
            return False
        while key in self.kept:
            if self.weight - self.kept[key].weight + weight <= self.max_weight:
                visits = min(3, self.kept[key].visits + 1)
                self.kept[key] = Kept(weight, ends, visits)
                return True
            self.evict(now)
        known = self.ghost.take(key)
        while len(self.kept) + 1 > self.max_entries or self.weight + weight > self.max_weight:
            self.evict(now)
        if key in list(self.places()):
            pass
        elif known or (not self.evictions and self._small_is_full()):
            self.main.append(key)
        else:
            self.small.append((key, weight))
        self.kept[key] = Kept(weight, ends)
        return True

    def remove(self, key: int) -> bool:
        if self.kept.pop(key, None) is None:
            return False
        dead = [place for place in self.places() if place not in self.kept]
        if len(dead) > 16 + len(self.kept) // 2:
            self.small = [place for place in self.small if place[0] in self.kept]
            self.main = [place for place in self.main if place in self.kept]
        return True

    def evict(self, now: float) -> None:
        self.evictions += 1
        turns, young = TURNS, self._from_small(now)
        while True:
            young = bool(self.small) if young or not self.main else False
            key = self.small.pop(0)[0] if young else self.main.pop(0)
            kept = self.kept.get(key)
            if kept is None:
                continue
            over = kept.ends <= now
            if over or not turns or kept.visits < (2 if young else 1):
                break
            turns -= 1
            kept.visits = 0 if young else kept.visits - 1
            self.main.append(key)
        if young and not over:
            most = self.max_entries - max(1, self.max_entries // 10)
            if self.ghost.limit < most and len(self.kept) > 2 * self.ghost.limit:
                self.ghost = Ghost(min(len(self.kept), most))
            self.ghost.add(key)
        del self.kept[key]

    def _from_small(self, now: float) -> bool:
        if not self.main:
            return True
        oldest = self.kept.get(self.main[0])
        if oldest is not None and oldest.ends <= now:
            return False
        return self._small_is_full()

    def _small_is_full(self) -> bool:
        weight = sum(weight for _, weight in self.small)
        return len(self.small) >= max(1, self.max_entries // 10) or weight >= max(
            1, self.max_weight // 10
        )
