"""The target with the fewest calls in flight for its weight, exactly."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import TypeAlias

from escala.balancing.pure.choice import Choice

_Place: TypeAlias = tuple[int, int, int]  # (calls in flight by weight, turn, index)

_FINE = 1 << 20  # turns are 1/weight apart, to a millionth


class LeastConnectionsChoice(Choice):
    """Always a target whose `in_flight / weight` is the least; equals take turns.

    Turns among equals are start-time fair (Goyal, Vin and Cheng, "Start-time fair queueing",
    1996): a pick moves the target's turn back by 1/weight, so an idle upstream is shared by
    weight, and a target that was busy for long comes back with one turn in hand and no more.

    A heap holds the place of each target, and for a while some that it has left: these are
    dropped when they come up, or all at once when they outnumber the targets. So a pick and a
    release are O(log n), amortised, in the C of `heapq`. (For fewer than about 20 targets a plain
    scan would save at most 0.4 us of the two together: not worth a second way to be right.)
    """

    __slots__ = ("_heap", "_in_flight", "_most", "_now", "_places", "_scale", "_weights")

    def __init__(self, weights: Sequence[int], in_flight: Sequence[int]) -> None:
        self._weights = tuple(weights)
        self._in_flight = list(in_flight)
        # Different shares a/v and b/w are at least 1/(v*w) apart: at this scale they differ as
        # integers too, so that rounding never decides.
        self._scale = max(weights) ** 2 * _FINE
        self._now = 0  # the turn of the last target picked
        self._places = [self._place(index, 0) for index in range(len(weights))]
        self._heap = sorted(self._places)
        self._most = 4 * len(weights) + 16

    def pick(self, now: float, skip: Collection[int] = (), key: str | bytes | None = None) -> int:
        """The least loaded target, which has one call more from now on."""
        del now, key
        heap, places = self._heap, self._places
        while heap[0] is not places[heap[0][2]]:
            heappop(heap)
        if heap[0][2] in skip:
            return self._search(skip)
        index = heap[0][2]
        heapreplace(heap, self._taken(index))
        return index

    def release(self, index: int, now: float, took: float | None = None) -> None:
        """One call fewer for this target."""
        del now, took
        self._in_flight[index] -= 1
        place = self._places[index] = self._place(index, self._places[index][1])
        heappush(self._heap, place)
        if len(self._heap) > self._most:
            self._heap = self._places.copy()
            heapify(self._heap)

    def _search(self, skip: Collection[int]) -> int:
        """The least loaded target outside `skip`; when all are in it, the least loaded."""
        heap, places = self._heap, self._places
        passed: list[_Place] = []
        while heap:
            place = heappop(heap)
            if place is places[place[2]]:
                passed.append(place)
                if place[2] not in skip:
                    break
        index = passed[0 if passed[-1][2] in skip else -1][2]
        for place in passed:
            if place[2] != index:
                heappush(heap, place)
        heappush(heap, self._taken(index))
        return index

    def _taken(self, index: int) -> _Place:
        """Count one call more; the place this puts the target in, at the end of its equals."""
        turn = self._now = max(self._now, self._places[index][1])
        self._in_flight[index] += 1
        place = self._place(index, turn + self._scale // self._weights[index])
        self._places[index] = place
        return place

    def _place(self, index: int, turn: int) -> _Place:
        return self._in_flight[index] * self._scale // self._weights[index], turn, index
