"""The first level: the entries in this process, who is loading what, and what was invalidated."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from escala.caching.at_fork import keep_whole
from escala.caching.l1 import L1
from escala.caching.landing import Boarding, CacheSeat, Landing, Trail
from escala.caching.named import LONGEST_KEY
from escala.caching.pure.entry import MOST_VISITS, Entry
from escala.caching.pure.flight import Flight, Part
from escala.caching.pure.hold_off import HoldOff
from escala.caching.pure.overlap import Overlap
from escala.caching.pure.s3_fifo import S3Fifo
from escala.caching.pure.use import Use, expired, paused, use_of
from escala.caching.pure.versions import Mark, Standing, Versions
from escala.kernel.runtime import Parker


class FirstLevel:
    """One lock, held for a few steps at a time and never while anything waits; hits do not take it.

    `_flights` holds, for each key that is being loaded, the one load
    that newcomers join and that may store. What invalidates a key takes its flight out of there,
    so that what it brings reaches only those who asked before.
    """

    def __init__(self, l1: L1 | None) -> None:
        self.lock = threading.RLock()
        self._keeps = l1 is not None
        size = l1 or L1(1)
        self.store = S3Fifo(max_entries=size.max_entries, max_weight=size.max_weight)
        self.versions = Versions()
        self._flights: dict[str, Trail] = {}
        self._lookups: dict[str, object] = {}
        self._holds = HoldOff()
        self.overlap = Overlap()
        self.ahead: dict[str, int] = {}  # the last writes that the source has yet to get
        self._deaf: tuple[Mark, float] | None = None
        self.bound: float | None = None
        keep_whole(self)

    # Looking

    def hit(self, key: str, now: float) -> Entry | None:
        """A fresh entry, without the lock; None is no proof that there is none."""
        entry = self.store.table.get(key)
        if entry is None or entry.mark is not self.versions.mark or now >= entry.until:
            return None
        if entry.visits < MOST_VISITS:
            entry.visits += 1
        return entry

    def find(self, key: str, *, now: float) -> Entry | None:
        """The entry of a key, however stale, unless an invalidation has hit it."""
        with self.lock:
            return self._find(key, now)

    def _find(self, key: str, now: float) -> Entry | None:
        entry, versions = self.store.table.get(key), self.versions
        if entry is None or entry.mark is versions.mark:
            return entry
        mark: Any = entry.mark
        standing = versions.standing(mark, entry.tags)
        if standing is Standing.GONE:
            self.store.remove(key)
            return None
        deaf = self._deaf
        doubted = deaf is not None and mark.clock < deaf[0].clock
        if deaf is not None and doubted and now >= deaf[1]:
            return None  # it may have been deleted since, and no one here would know
        if standing is Standing.EXPIRED:
            old, entry = entry, expired(entry, now=now)
            if entry is not old:
                self.store.put(entry, now)
        if not doubted and len(key) <= LONGEST_KEY:  # else it keeps its mark, by which it is known
            entry.mark = versions.mark
        return entry

    def board(self, key: str, *, now: float, draw: float, place: Callable[[], Parker]) -> Boarding:
        """What a caller who wants this key, and can load it, does next."""
        with self.lock:
            entry, mark = self._find(key, now), self.versions.mark
            use = Use.GONE if entry is None else use_of(entry, now=now, draw=draw)
            if use is Use.FRESH or use is Use.PAUSED:
                return Boarding(key, use, mark, entry)
            if use is Use.GONE:
                entry = None
            flight = self._flights.get(key)
            # Who may have missed an invalidation joins no load from before it can have been.
            if flight is None or (self.bound is not None and now - flight.began > self.bound):
                flight = self._take_off(key)
                flight.began = now
                return Boarding(key, use, mark, entry, flight)
            found = Boarding(key, use, mark, entry)
            if found.serves:
                return found
            return found._replace(flight=flight, seat=flight.join(place()))

    def look_up(self, key: str) -> tuple[Mark, object] | None:
        """Begin to ask the second level without a load; None if what it has is not to be kept.

        Someone else may be at it.
        """
        if not self._keeps:
            return None
        with self.lock:
            if key in self._flights or key in self._lookups:
                return None
            ticket = self._lookups[key] = object()
            return self.versions.mark, ticket

    def found(self, entry: Entry | None, key: str, since: tuple[Mark, object], now: float) -> None:
        """A lookup has ended; what it found is kept if nothing has happened to the key since."""
        mark, ticket = since
        with self.lock:
            if self._lookups.get(key) is not ticket:
                return
            del self._lookups[key]
            if entry is not None and key not in self._flights:
                self._keep_younger(entry, mark, now)

    # Loading

    def _take_off(self, key: str, since: Mark | None = None) -> Trail:
        self._lookups.pop(key, None)  # what this brings is younger
        flight: Trail = Flight(key, since or self.versions.mark)
        self._flights[key] = flight
        return flight

    def take_off(self, key: str, since: Mark | None = None) -> Trail:
        """A new flight, led by the caller; whoever else loads this key does it for itself now.

        What it brings is from `since`, a mark noted before, if it is not from now.
        """
        with self.lock:
            return self._take_off(key, since)

    def overtake(self, flight: Trail) -> Trail | None:
        """Waiting took too long: a new flight, led by the caller, unless there is one already."""
        with self.lock:
            current = self._flights.get(flight.key)
            return None if current not in (None, flight) else self._take_off(flight.key)

    def join(self, flight: Trail, place: Parker) -> CacheSeat:
        """Wait for this flight, whoever leads it."""
        with self.lock:
            return flight.join(place)

    def offer(self, flight: Trail, entry: Entry, *, now: float) -> None:
        """Keep a stale entry, in case the load fails."""
        with self.lock:
            if self._flights.get(flight.key) is flight:
                self._keep_younger(entry, flight.variant, now)

    def part(self, flight: Trail, seat: CacheSeat) -> Part:
        """What a waiter has to do now that it woke; one that was not called gives up its seat."""
        with self.lock:
            if seat.part is Part.WAIT:
                flight.leave(seat)
            return seat.part

    def stay(self, seat: CacheSeat, place: Parker) -> None:
        """A waiter that woke by itself waits on, at `place`."""
        with self.lock:
            seat.place = place
            called = seat.part is not Part.WAIT
        if called:
            place.unpark()

    def leave(self, flight: Trail, seat: CacheSeat) -> None:
        """A waiter is cancelled; if it had just been made the leader, the next one is."""
        with self.lock:
            led = seat.part is Part.LEAD
            following = flight.leave(seat)
            if led and following is None:
                self._remove(flight)
        self._promote(flight, following)

    def give_up(self, flight: Trail) -> None:
        """Its leader leaves without a result: one of those who wait leads now."""
        with self.lock:
            following = flight.hand_over()
            if following is None:
                self._remove(flight)
        self._promote(flight, following)

    def _promote(self, flight: Trail, leader: CacheSeat | None) -> None:
        while leader is not None and not leader.place.unpark():  # its event loop has ended
            with self.lock:
                leader = flight.leave(leader)
                if leader is None:
                    self._remove(flight)

    def _remove(self, flight: Trail) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

    def fits(self, landing: Landing, flight: Trail, mark: Mark) -> bool:
        """Whether a caller who asked at `mark` may have what this flight brought."""
        if mark is flight.variant or landing.error is not None:
            return True
        entry = landing.entry
        if entry is None:
            return False  # that there is none may have been true before, and who knows its tags?
        with self.lock:
            return self.versions.standing(flight.variant, entry.tags) is Standing.VALID

    def land(
        self, flight: Trail, landing: Landing, *, now: float, keep: bool = True, on: bool = False
    ) -> bool:
        """Tell all who wait; keep the entry if nothing has happened to its key since take-off.

        With `on` the load goes on behind a stale value that is given meanwhile. Returns whether
        the entry may be stored, here and elsewhere.
        """
        with self.lock:
            attached = self._flights.get(flight.key) is flight
            if attached and not on:
                del self._flights[flight.key]
            if attached and on and landing.entry is not None:
                self._keep_younger(landing.entry, flight.variant, now)
            elif attached and landing.entry is not None:
                attached = keep and self._keep(landing.entry, flight.variant, now)
                if not attached and landing.source != "stale":
                    self.store.remove(flight.key)  # the source has something else by now
            elif attached and landing.error is None:
                self.store.remove(flight.key)  # the source has nothing
            seats = flight.land(landing)
        for seat in seats:
            seat.place.unpark()
        return attached

    def wrote(self, flight: Trail, landing: Landing, *, now: float, keep: bool = True) -> None:
        """Land what was not loaded but written: what was here before is out of date in any case."""
        with self.lock:
            self.overlap.changed(flight.key)
        if not self.land(flight, landing, now=now, keep=keep):
            # Who has overtaken it may have asked the second level before this reached it.
            self.drop(flight.key, now=now)

    def run_ahead(self, key: str, number: int, entry: Entry | None, *, now: float) -> None:
        """A write is on its way to the source: till it is there, nothing that is loaded is kept."""
        with self.lock:
            self.ahead.pop(key, None)
            if entry is None:
                self.drop(key, now=now)
            else:
                self.wrote(self._take_off(key), Landing(entry), now=now)
            self.ahead[key] = number

    def caught_up(self, key: str, number: int) -> None:
        """The source has that write; whatever was read from there till now may be older."""
        with self.lock:
            self._flights.pop(key, None)
            self._lookups.pop(key, None)
            self.overlap.changed(key)
            ahead = self.ahead.get(key, 0)
            if ahead <= number:
                self.ahead.pop(key, None)
            if ahead < number:  # a write of an earlier life, or one that is a change and no value
                self.store.remove(key)

    def forget(self, key: str) -> None:
        """Do without what is here; a load under way is as good as before."""
        with self.lock:
            self.store.remove(key)

    def _keep(self, entry: Entry, mark: Mark, now: float) -> bool:
        """Keep an entry, if nothing forbids it; whether it may be kept anywhere."""
        if entry.key in self.ahead:
            return False
        if self.versions.standing(mark, entry.tags) is not Standing.VALID:
            return False
        if self._holds.blocks((f"={entry.key}", *entry.tags), now=now):
            return False
        if self._keeps:
            deaf = self._deaf
            doubted = deaf is not None and mark.clock < deaf[0].clock
            entry.mark = mark if doubted else self.versions.mark
            if len(str(entry.key)) > LONGEST_KEY:
                entry.mark = Mark(mark.clock)  # so no hit finds by its digest what has another key
            self.store.put(entry, now)
        return True

    def _keep_younger(self, entry: Entry, mark: Mark, now: float) -> None:
        """Keep what the second level had, unless what is here is younger."""
        here = self._find(str(entry.key), now)
        if here is None or here.born < entry.born:
            self._keep(entry, mark, now)

    def rescue(self, flight: Trail, *, now: float, pause: float) -> Entry | None:
        """A stale entry in place of a load that failed, if there still is one; asking pauses.

        It is looked up again: what was deleted while the load ran must not come back.
        """
        with self.lock:
            key = flight.key
            if self._flights.get(key) is not flight:
                return None
            entry = self._find(key, now)
            if entry is None or use_of(entry, now=now, draw=1.0) is Use.GONE:
                return None
            entry = paused(entry, until=now + pause)
            self.store.put(entry, now)
            return entry

    # Invalidating

    def drop(self, key: str, *, now: float, soft: bool = False, lag: float = 0.0) -> None:
        """This key has changed: no load under way is joined or stored any more."""
        with self.lock:
            self._flights.pop(key, None)
            self._lookups.pop(key, None)
            self.overlap.changed(key)
            if soft:
                entry = self._find(key, now)
                if entry is not None:
                    self.store.put(expired(entry, now=now), now)
            else:
                self.store.remove(key)
            if lag:
                self._holds.hold(f"={key}", until=now + lag, now=now)

    def invalidate(self, tag: str, *, now: float, soft: bool = False, lag: float = 0.0) -> None:
        """Everything with this tag has changed."""
        with self.lock:
            self.versions.invalidate(tag, soft=soft)
            if lag:
                self._holds.hold(tag, until=now + lag, now=now)

    def invalidate_all(self, *, now: float, soft: bool = False, lag: float = 0.0) -> None:
        """Everything has changed."""
        with self.lock:
            self.versions.invalidate_all(soft=soft)
            if not soft:
                self._flights.clear()
                self._lookups.clear()
            if lag:
                self._holds.hold_all(until=now + lag)

    # Hearing of what others invalidate

    def deafen(self, bound: float, *, now: float) -> None:
        """Invalidations may be missed from here on: trust nothing for longer than `bound`."""
        with self.lock:
            if self._deaf is None:
                self.versions.touch()
                self._deaf, self.bound = (self.versions.mark, now + bound), bound

    def hear(self, *, now: float) -> None:
        """Invalidations are heard again; those that were not are made up for by forgetting all."""
        with self.lock:
            self._deaf = self.bound = None
            self.invalidate_all(now=now)

    def forked(self) -> None:
        """A forked child keeps the entries, and no load."""
        self.lock = threading.RLock()
        self._flights.clear()
        self._lookups.clear()
        self.ahead.clear()
        self.overlap = Overlap()

    def snapshot(self) -> dict[str, float]:
        """How full it is."""
        with self.lock:
            return {
                "entries": len(self.store.table),
                "weight": self.store.weight,
                "evicted": self.store.evicted,
                "loading": len(self._flights),
            }
