"""Which writes are sent next, and when."""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from typing import Generic, TypeVar

from escala.caching.pure.write_place import Place, State

W = TypeVar("W")


class WriteOrder(Generic[W]):
    """Places in the order in which they came, and suspects, which go alone when their time comes.

    A clock that has gone back holds nothing up for longer than it would have taken anyway:
    `longest` is the longest wait there is.
    """

    def __init__(self, *, flush: float, max_batch: int, max_bytes: int, longest: float) -> None:
        self._flush, self._max_batch, self._max_bytes = flush, max_batch, max_bytes
        self._longest = max(longest, flush)
        self.ready: OrderedDict[str, Place[W]] = OrderedDict()
        self.ready_bytes = 0
        self.suspects: list[tuple[float, int, Place[W]]] = []
        self._turn = 0
        self._was_alone = False  # the last batch: a suspect
        self.limit = max_batch
        self.pause = -math.inf

    def due(self, now: float, *, hurry: bool) -> float:
        """When there is something to send; with `hurry` all that is ready is due."""
        at = self._ready_at(now, hurry=hurry)
        if self.suspects:
            at = min(at, self._not_far(self.suspects[0][0], now))
        return max(at, self._not_far(self.pause, now))

    def _ready_at(self, now: float, *, hurry: bool) -> float:
        if not self.ready:
            return math.inf
        front = next(iter(self.ready.values()))
        born = front.entries[0].born
        if (
            hurry
            or front.hurried
            or len(self.ready) >= self._max_batch
            or self.ready_bytes >= self._max_bytes
            or born > now
        ):
            return -math.inf
        return born + self._flush

    def _not_far(self, at: float, now: float) -> float:
        return at if at <= now + self._longest else -math.inf

    def take(self, now: float, *, hurry: bool) -> list[Place[W]]:
        """A suspect or some others: they take turns, so that neither keeps the other away."""
        alone = bool(self.suspects) and self._not_far(self.suspects[0][0], now) <= now
        self._was_alone = alone and not (
            self._was_alone and self._ready_at(now, hurry=hurry) <= now
        )
        if self._was_alone:
            return [heapq.heappop(self.suspects)[2]]
        taken: list[Place[W]] = []
        size = 0
        while self.ready and len(taken) < self.limit:
            place = next(iter(self.ready.values()))
            size += len(place.entries[0].payload)
            if taken and size > self._max_bytes:
                break
            del self.ready[place.key]
            self.ready_bytes -= len(place.entries[0].payload)
            taken.append(place)
        return taken

    def add(self, place: Place[W], *, first: bool = False) -> None:
        """Its first write is ready."""
        place.state = State.READY
        self.ready[place.key] = place
        self.ready_bytes += len(place.entries[0].payload)
        if first or place.hurried:
            self.ready.move_to_end(place.key, last=False)

    def hurry(self, place: Place[W]) -> None:
        """It is next, and due."""
        place.hurried = True
        if place.state is State.READY:
            self.ready.move_to_end(place.key, last=False)

    def suspect(self, place: Place[W], retry_at: float) -> None:
        """Its first write is to go alone."""
        place.state, place.retry_at = State.SUSPECT, retry_at
        self._turn += 1
        heapq.heappush(self.suspects, (retry_at, self._turn, place))
