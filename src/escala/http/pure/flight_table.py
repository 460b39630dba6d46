"""Which loads are under way, and which of them may still be stored when they end."""

from __future__ import annotations

from array import array
from collections.abc import Hashable
from typing import Generic, TypeVar

from escala.caching.pure.flight import Flight

R = TypeVar("R")
P = TypeVar("P")
V = TypeVar("V", bound=Hashable)

BUCKETS = 4096


class FlightTable(Generic[V, P, R]):
    """The flights that newcomers may join, the keys not worth joining, and the generations.

    - **Generations** close the race between a load and a change. A load notes the generation of
      its key before it asks, and stores only if that is still the same. `overtake`, called when
      something changed, raises it, so that whatever a load read before the change is never
      stored after it. Keys share 4096 counters: a rare needless refusal to store costs one
      more load, and memory stays bounded without anyone listing the loads.
    - **Lone keys**: answers that cannot be shared must not be waited for one after another. A
      key that gave one is remembered for a while, by its hash since clients choose how long keys
      are, and its requests go their own ways.

    Not locked; bounded by `limit` flights and as many lone keys, of which the oldest goes first.
    """

    __slots__ = ("_flights", "_generations", "_limit", "_lone")

    def __init__(self, *, limit: int = 4096) -> None:
        self._limit = limit
        self._flights: dict[bytes, dict[V, Flight[V, P, R]]] = {}
        self._lone: dict[int, float] = {}
        self._generations = array("Q", bytes(8 * BUCKETS))

    def __len__(self) -> int:
        """How many keys have flights."""
        return len(self._flights)

    def generation(self, key: bytes) -> int:
        """What a load notes before it asks."""
        return self._generations[hash(key) % BUCKETS]

    def overtake(self, key: bytes) -> None:
        """The key has changed: no load that is under way is joined or stored any more."""
        self._generations[hash(key) % BUCKETS] += 1
        self._flights.pop(key, None)

    def overtake_all(self) -> None:
        """Everything may have changed."""
        for bucket in range(BUCKETS):
            self._generations[bucket] += 1
        self._flights.clear()

    def find(self, key: bytes, variant: V) -> Flight[V, P, R] | None:
        """The load under way for this variant of the key."""
        flights = self._flights.get(key)
        return None if flights is None else flights.get(variant)

    def take_off(self, key: bytes, variant: V) -> Flight[V, P, R]:
        """A new flight, led by the caller; it takes the place of one that is there."""
        flight: Flight[V, P, R] = Flight(key, variant)
        flights = self._flights.get(key)
        if flights is None:
            if len(self._flights) >= self._limit:
                del self._flights[next(iter(self._flights))]
            flights = self._flights[key] = {}
        elif len(flights) >= self._limit:
            del flights[next(iter(flights))]
        flights[variant] = flight
        return flight

    def remove(self, flight: Flight[V, P, R]) -> None:
        """The flight has ended; one that took its place stays."""
        flights = self._flights.get(flight.key)
        if flights is not None and flights.get(flight.variant) is flight:
            del flights[flight.variant]
            if not flights:
                del self._flights[flight.key]

    def set_alone(self, key: bytes, variant: V, *, until: float) -> None:
        """Let requests for this variant go their own ways for a while."""
        lone = self._lone
        place = hash((key, variant))
        lone.pop(place, None)
        if len(lone) >= self._limit:
            del lone[next(iter(lone))]
        lone[place] = until

    def unset_alone(self, key: bytes, variant: V) -> None:
        """It gives answers that can be shared after all."""
        if self._lone:
            self._lone.pop(hash((key, variant)), None)

    def alone(self, key: bytes, variant: V, *, now: float) -> bool:
        """Whether a request for this variant should go its own way."""
        if not self._lone:
            return False
        place = hash((key, variant))
        until = self._lone.get(place)
        if until is None:
            return False
        if now < until:
            return True
        del self._lone[place]
        return False
