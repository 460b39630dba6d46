"""The stored answers and the loads under way, behind one lock: what all callers share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from escala.caching.pure.flight import Flight, Part, Seat
from escala.http.cache_storage import CacheStorage
from escala.http.pure.answer_record import PRIVATE_FOR
from escala.http.pure.asked import Asked
from escala.http.pure.fields import Headers
from escala.http.pure.flight_table import FlightTable
from escala.http.pure.invalidation import Effect
from escala.http.pure.reuse import Use, rescues, use_paused
from escala.http.pure.stored_answer import StoredAnswer
from escala.http.pure.vary import Values
from escala.kernel.runtime import Parker

PAUSE = 1.0  # after a failed verification, so that an outage is not asked by every request
ALONE_FOR = PRIVATE_FOR  # a key that gave an answer which cannot be shared is not waited for
_COLLECTING_SHARE = 4  # copies of bodies under way take at most a quarter of the size


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a load has for those who waited; nothing at all: each must ask for itself."""

    answer: StoredAnswer | None = None
    error: Exception | None = None
    failed: int = 0
    retry_after: bytes | None = None


ALONE = Outcome()
CacheFlight: TypeAlias = Flight[Values, Parker, Outcome]
CacheSeat: TypeAlias = Seat[Parker]


class Give(msgspec.Struct, frozen=True):
    """Give the stored answer at once."""

    answer: StoredAnswer
    use: Use


class Lead(msgspec.Struct, frozen=True):
    """Ask the origin, for all who come meanwhile; `use` says if `answer` may be given at once."""

    flight: CacheFlight
    generation: int
    answer: StoredAnswer | None
    use: Use


class Wait(msgspec.Struct, frozen=True):
    """Wait for the one who asks."""

    flight: CacheFlight
    seat: CacheSeat
    answer: StoredAnswer | None


class Ask(msgspec.Struct, frozen=True):
    """Ask the origin, for itself alone; `variant` is None if the answer may differ from others'."""

    generation: int
    variant: Values | None = None
    answer: StoredAnswer | None = None
    use: Use = Use.NONE


class Refuse(msgspec.Struct, frozen=True):
    """Only a stored answer would do, and there is none."""


Plan: TypeAlias = Give | Lead | Wait | Ask | Refuse


class SharedAnswers:
    """Storage and flights, safe from threads and tasks at once; no call here ever waits.

    Whoever has to be woken is woken after the lock is released.
    """

    def __init__(self, size: int) -> None:
        # Reentrant: the garbage collector may close an abandoned wait, which gives its seat back,
        # in the middle of this thread's own turn.
        self._lock = threading.RLock()
        self._storage = CacheStorage(size)
        self._flights: FlightTable[Values, Parker, Outcome] = FlightTable()
        self._collecting = 0
        self._may_collect = size // _COLLECTING_SHARE
        self.largest = self._storage.largest
        self._deaf: float | None = None
        self._bound = 0.0

    def plan(  # noqa: PLR0911  one return for each thing that a request can do
        self,
        key: bytes,
        asked: Asked,
        headers: Headers,
        *,
        now: float,
        joins: bool,
        place: Callable[[], Parker],
    ) -> Plan:
        """Decide for one request; `joins` when it may share a load, `place` makes its wait."""
        with self._lock:
            answer = self._storage.find(key, asked, headers)
            how = Use.NONE
            if answer is not None and self._trusted(answer, now):
                pause = answer.pause_until
                how = use_paused(answer.windows, asked.control, now=now, pause=pause)
                if how is Use.FRESH or how is Use.ACCEPTED:
                    return Give(answer, how)
            if asked.control.only_if_cached:
                if answer is not None and how is Use.STALE:
                    return Give(answer, how)
                return Refuse()
            generation = self._flights.generation(key)
            if not joins:
                return Ask(generation, None, answer, how)
            variant = self._storage.variant(key, headers)
            if self._flights.alone(key, variant, now=now):
                return Ask(generation, variant, answer, how)
            flight = self._flights.find(key, variant)
            if flight is None:
                flight = self._flights.take_off(key, variant)
                return Lead(flight, generation, answer, how)
            if answer is not None and how is Use.STALE:
                return Give(answer, how)
            return Wait(flight, flight.join(place()), answer)

    # Waiting

    def generation(self, key: bytes) -> int:
        """What a load that begins now has to show when it wants to store."""
        with self._lock:
            return self._flights.generation(key)

    def part(self, flight: CacheFlight, seat: CacheSeat) -> Part:
        """What a waiter has to do now that it woke; one that was not called gives up its seat."""
        with self._lock:
            if seat.part is Part.WAIT:
                flight.leave(seat)
            return seat.part

    def leave(self, flight: CacheFlight, seat: CacheSeat) -> None:
        """A waiter is cancelled; if it had just been made the leader, the next one is."""
        with self._lock:
            led = seat.part is Part.LEAD
            following = flight.leave(seat)
            if led and following is None:
                self._flights.remove(flight)
        self._promote(flight, following)

    def overtake(self, flight: CacheFlight) -> CacheFlight | None:
        """Waiting took too long: a new flight, led by the caller, unless there is one already."""
        with self._lock:
            current = self._flights.find(flight.key, flight.variant)
            if current is not None and current is not flight:
                return None
            return self._flights.take_off(flight.key, flight.variant)

    # How a load ends

    def hand_over(self, flight: CacheFlight) -> None:
        """The leader leaves without a result: one waiter leads now, or nobody waits."""
        with self._lock:
            following = flight.hand_over()
            if following is None:
                self._flights.remove(flight)
        self._promote(flight, following)

    def _promote(self, flight: CacheFlight, leader: CacheSeat | None) -> None:
        """Wake the new leader; one whose loop has ended cannot lead, so the next one does."""
        while leader is not None and not leader.place.unpark():
            with self._lock:
                leader = flight.leave(leader)
                if leader is None:
                    self._flights.remove(flight)

    def land(self, flight: CacheFlight | None, outcome: Outcome) -> None:
        """The load is over, and this is what its waiters get."""
        with self._lock:
            seats = self._land(flight, outcome)
        for seat in seats:
            seat.place.unpark()

    def keep(
        self,
        answer: StoredAnswer,
        *,
        generation: int,
        flight: CacheFlight | None,
        variant: Values | None,
        now: float,
    ) -> None:
        """Store it, unless its key has changed since it was asked for; land its flight.

        `variant` is None for a load that says nothing about whether others could share it.
        """
        with self._lock:
            if self._flights.generation(answer.key) == generation:
                self._storage.put(answer, now=now)
            if variant is not None:
                if max(answer.windows.fresh, answer.windows.stale) > now:
                    self._flights.unset_alone(answer.key, variant)
                else:
                    self._flights.set_alone(answer.key, variant, until=now + ALONE_FOR)
            seats = self._land(flight, Outcome(answer=answer))
        for seat in seats:
            seat.place.unpark()

    def offer(self, answer: StoredAnswer, *, generation: int, now: float) -> None:
        """Store one that is not fresh while news of it is asked for; unless its key has changed."""
        with self._lock:
            if self._flights.generation(answer.key) == generation:
                self._storage.put(answer, now=now)

    def refuse(
        self,
        key: bytes,
        *,
        replaces: StoredAnswer | None,
        flight: CacheFlight | None,
        variant: Values | None,
        now: float,
    ) -> None:
        """The origin gave something that cannot be shared, instead of the answer it `replaces`."""
        with self._lock:
            if replaces is not None:
                self._storage.remove(replaces)
            if variant is not None:
                self._flights.set_alone(key, variant, until=now + ALONE_FOR)
            seats = self._land(flight, ALONE)
        for seat in seats:
            seat.place.unpark()

    def _land(self, flight: CacheFlight | None, outcome: Outcome) -> list[CacheSeat]:
        if flight is None:
            return []
        self._flights.remove(flight)
        return flight.land(outcome)

    def rescue(
        self, key: bytes, asked: Asked, headers: Headers, *, now: float
    ) -> StoredAnswer | None:
        """A stored answer in place of one that failed, if one may stand in; asking pauses then.

        It is looked up again: what was forgotten while the load ran must not come back.
        """
        with self._lock:
            answer = self._storage.find(key, asked, headers)
            if answer is None or not self._trusted(answer, now):
                return None
            if not rescues(answer.windows, asked.control, now=now):
                return None
            answer.pause_until = now + PAUSE
            return answer

    # Changes

    def affect(self, key: bytes, effect: Effect) -> None:
        """Something changed the key, or may have: no load under way is stored any more."""
        with self._lock:
            self._flights.overtake(key)
            if effect is Effect.FORGET:
                self._storage.forget(key)
            else:
                self._storage.doubt(key)

    def remove(self, answer: StoredAnswer) -> None:
        """This answer has turned out to be wrong."""
        with self._lock:
            self._storage.remove(answer)

    def clear(self) -> None:
        """Everything may have changed."""
        with self._lock:
            self._flights.overtake_all()
            self._storage.clear()

    # Hearing of changes that others make

    def deafen(self, bound: float, *, now: float) -> None:
        """Changes may be missed from here on: trust no answer that was known longer ago than that.

        It takes no lock, since a forked child is told before anything else.
        """
        self._bound, self._deaf = bound, now + bound

    def hear(self) -> None:
        """Changes are heard again; those that were not are made up for by forgetting all."""
        self._deaf = None
        self.clear()

    def _trusted(self, answer: StoredAnswer, now: float) -> bool:
        """Whether no one can have changed it without our hearing of it, or only a moment ago."""
        deaf = self._deaf
        return deaf is None or now < max(deaf, answer.known_at + self._bound)

    # Bodies under way

    def reserve(self, size: int) -> bool:
        """Whether `size` more bytes of bodies under way may be held."""
        with self._lock:
            if self._collecting + size > self._may_collect:
                return False
            self._collecting += size
            return True

    def release(self, size: int) -> None:
        """They are held no longer, or are stored by now."""
        with self._lock:
            self._collecting -= size

    def snapshot(self) -> dict[str, float]:
        """How full it is."""
        with self._lock:
            storage = self._storage
            return {
                "bytes": storage.weight,
                "entries": len(storage),
                "evicted": storage.evicted,
                "loading": len(self._flights),
                "collecting": self._collecting,
            }
