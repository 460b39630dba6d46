"""Writes on their way to the source: what is sent next, what a failure means, and who may wait.

Each key has a place in which its writes stand in order, and of which only the first is sent. A
write that has not been sent is replaced by the next one of its key, or merged with it.

A failed batch says nothing of which write it was, or whether the source is away. So the next one
is half as large, at once, down to a single write. If that one fails too, its place becomes a
suspect, which waits longer after each failure and is only sent alone, while the others go on. A
suspect is parked after `park_after` failures, of which an outage counts as one: those between
which the source took no write of another key.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from escala.caching.pure.flush_marks import FlushMarks
from escala.caching.pure.write_order import WriteOrder
from escala.caching.pure.write_place import Done, Entry, Place, State
from escala.resilience.pure.backoff import Backoff

W = TypeVar("W")
Merge: TypeAlias = Callable[[str, bytes, bytes], "bytes | None"]
"""What a key's older and newer write make together; None if they have to stay two."""

_FAR = 10_000  # tries, after which a wait is as long as it gets
_MOST_OF_A_KEY = 1_000  # writes that wait in one place, which only a merge that fails can exceed


class WriteQueue(Generic[W]):
    """At most `max_pending` keys. `W` stands for who waits. Not locked: the shell does that."""

    def __init__(
        self,
        *,
        flush: float,
        max_batch: int,
        max_bytes: int,
        max_pending: int,
        park_after: int,
        backoff: Backoff,
        merge: Merge | None = None,
    ) -> None:
        self._flush, self._max_batch = flush, max_batch
        self._max_pending, self._park_after = max_pending, park_after
        self._backoff, self._merge = backoff, merge
        self._order = WriteOrder[W](
            flush=flush,
            max_batch=max_batch,
            max_bytes=max_bytes,
            longest=backoff.ceiling(_FAR),
        )
        self._places: dict[str, Place[W]] = {}
        self._parked: dict[str, Place[W]] = {}
        self._away: list[Place[W]] = []
        self._line: OrderedDict[W, str] = OrderedDict()
        self._streak = 0  # failures of single writes since the source took anything
        self._saves = 0
        self._marks = FlushMarks[W]()
        self.entries = self.bytes = 0

    @property
    def keys(self) -> int:
        """How many places are in use, also by writes on their way in."""
        return len(self._places)

    @property
    def waiting(self) -> int:
        """How many stand in line for a place."""
        return len(self._line)

    @property
    def away(self) -> int:
        """How many writes are being sent."""
        return len(self._away)

    @property
    def suspects(self) -> int:
        """How many keys have failed alone and will be tried again."""
        return len(self._order.suspects)

    # Coming in

    def admit(self, key: str) -> bool:
        """Keep a place for a write that is on its way; False if there is none."""
        place = self._places.get(key)
        if place is None:
            if len(self._places) >= self._max_pending:
                return False
        elif len(place.entries) >= _MOST_OF_A_KEY:
            return False
        self.force(key)
        return True

    def force(self, key: str) -> None:
        """Keep a place above the bound, for what is in the journal, or waits until it is saved."""
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = Place(key)
        place.arriving += 1

    def wait(self, key: str, waiter: W) -> None:
        """Stand in line for a place."""
        self._line[waiter] = key

    def leave(self, waiter: W) -> bool:
        """Stop waiting for a place or a flush; False for one who has got it."""
        if self._line.pop(waiter, None) is not None:
            return True
        return self._marks.leave(waiter)

    def withdraw(self, key: str) -> list[W]:
        """The write that was on its way does not come. Answers who is to be woken."""
        place = self._places[key]
        place.arriving -= 1
        self._forget_if_empty(place)
        return self._granted()

    def accept(self, entry: Entry[W], now: float) -> list[int]:
        """A write has come, for which a place was kept. Answers the rows that it replaces."""
        place = self._places[entry.key]
        place.arriving -= 1
        entry.born, entry.era = now, self._marks.era
        replaced = [] if entry.sealed else self._coalesce(place, entry)
        place.entries.append(entry)
        parked = place.state is State.PARKED
        self._count_in(entry, parked=parked)
        first = entry is place.entries[0]
        if parked and (first or entry.through is not None):
            self._unpark(place, now + self._flush * first)
        elif place.state is State.IDLE:
            self._order.add(place)
        elif first and place.state is State.READY:
            self._order.ready_bytes += len(entry.payload)
        if entry.through is not None:
            self._order.hurry(place)
        return replaced

    def _coalesce(self, place: Place[W], entry: Entry[W]) -> list[int]:
        """Let an entry take the place of those before it that can still change."""
        replaced: list[int] = []
        while place.entries:
            last = place.entries[-1]
            alone = len(place.entries) == 1
            if last.sealed or (alone and place.state is State.AWAY):
                break
            merged = None
            if self._merge is not None and not entry.deleted:
                # A deletion and what is added after it are two writes.
                merged = (
                    None if last.deleted else self._merge(entry.key, last.payload, entry.payload)
                )
                if merged is None:
                    break
            if alone and place.state is State.READY:
                self._order.ready_bytes -= len(last.payload)
            place.entries.pop()
            self._count_out(last)
            self._inherit(entry, last)
            if merged is None:
                replaced += last.rows
            else:
                entry.payload, entry.rows = merged, last.rows + entry.rows
                break
        return replaced

    @staticmethod
    def _inherit(entry: Entry[W], older: Entry[W]) -> None:
        entry.born = min(entry.born, older.born)
        if older.era >= 0:
            entry.era = min(entry.era, older.era)

    # Going out

    def due(self, now: float) -> float:
        """When there is something to send: a moment that may be past, and inf without any."""
        return math.inf if self._away else self._order.due(now, hurry=bool(self._marks))

    def take(self, now: float) -> list[Entry[W]]:
        """The next batch, which is away from now on: one write at most of each key."""
        self._away = self._order.take(now, hurry=bool(self._marks))
        for place in self._away:
            place.state = State.AWAY
            if self._merge is not None:
                place.entries[0].sealed = True
        return [place.entries[0] for place in self._away]

    def reject(self, entry: Entry[W], cause: str) -> Done[W]:
        """Park one of those that are away: it cannot be sent at all."""
        done = Done[W]()
        place = self._places[entry.key]
        self._away.remove(place)
        if entry.through is not None:
            self._pop(place, done)
        else:
            self._park(place, cause, done)
        return self._finished(done)

    def returned(self, until: float) -> None:
        """What is away was not sent: it stays next, and nothing is sent before `until`."""
        self._back()
        self._order.pause = until

    def saved(self) -> Done[W]:
        """The source has what was away."""
        done = Done[W]()
        self._saves += 1
        self._order.limit = min(self._max_batch, 2 * self._order.limit)
        self._streak, self._order.pause = 0, -math.inf
        places, self._away = self._away, []
        for place in places:
            self._pop(place, done)
        return self._finished(done)

    def failed(self, now: float, draw: float, cause: str) -> Done[W]:
        """The source has not taken what was away; `draw` is random from 0 to 1."""
        done = Done[W]()
        if self._merge is None:
            for place in self._away:
                self._drop_outdated(place, done)
        if len(self._away) > 1:
            self._order.limit = len(self._away) // 2
            self._back()
            return self._finished(done)
        place = self._away.pop()
        self._streak += 1
        if self._streak > 1:
            self._order.pause = now + self._backoff.wait(self._streak - 1, draw=draw)
        if place.tries == 0:
            self._order.limit = 1
        if place.entries[0].through is not None:
            self._pop(place, done)
            return self._finished(done)
        place.tries += 1
        if place.failures == 0:
            place.failures, place.saves = 1, self._saves
        elif self._saves > place.saves:
            place.failures += 1
        if place.failures >= self._park_after and self._saves > place.saves:
            self._park(place, cause, done)
        else:
            place.cause = cause
            self._order.suspect(place, now + self._backoff.wait(place.tries, draw=draw))
        return self._finished(done)

    def _drop_outdated(self, place: Place[W], done: Done[W]) -> None:
        """What has failed need not be sent again when the key's next write overwrites it."""
        while len(place.entries) > 1 and not (
            place.entries[0].through is not None or place.entries[1].through is not None
        ):
            old, new = place.entries.popleft(), place.entries[0]
            self._count_out(old)
            self._count_out(new)
            self._inherit(new, old)
            self._count_in(new, parked=False)
            done.rows += old.rows

    def _pop(self, place: Place[W], done: Done[W]) -> None:
        """The first write of a place is dealt with, and the next one may go."""
        head = place.entries.popleft()
        self._count_out(head)
        done.rows += head.rows
        if head.through is not None:
            done.through.append(head.through)
        place.failures = place.tries = 0
        place.cause = ""
        if place.entries:
            self._order.add(place)
        else:
            place.state, place.hurried = State.IDLE, False
            self._forget_if_empty(place)

    def _back(self) -> None:
        places, self._away = self._away, []
        for place in reversed(places):
            if place.tries:
                self._order.suspect(place, place.retry_at)
            else:
                self._order.add(place, first=True)

    # Parked

    def parked(self) -> list[tuple[Entry[W], str]]:
        """The first write of each key that is parked, and why it is."""
        return [(place.entries[0], place.cause) for place in self._parked.values()]

    def retry_parked(self, now: float) -> int:
        """Try all again that are parked. Answers how many keys they are."""
        places = list(self._parked.values())
        for place in places:
            self._unpark(place, now)
        return len(places)

    def _park(self, place: Place[W], cause: str, done: Done[W]) -> None:
        place.state, place.cause = State.PARKED, cause
        self._parked[place.key] = place
        for entry in list(place.entries):
            self._count_out(entry)
            if entry.through is not None:  # who waits for it cannot wait for a person to come
                done.through.append(entry.through)
                place.entries.remove(entry)
            else:
                self._count_in(entry, parked=True)
        place.hurried = False
        done.parked.append(place.entries[0])

    def _unpark(self, place: Place[W], retry_at: float) -> None:
        del self._parked[place.key]
        place.failures = place.tries = 0
        for entry in place.entries:
            if entry.era < 0:
                self._count_out(entry)
                entry.era = self._marks.era
                self._count_in(entry, parked=False)
        self._order.suspect(place, retry_at)

    # What is asked

    def look(self, key: str) -> tuple[bool, bytes | None] | None:
        """What the writes of a key come to: is it deleted, and the bytes; None without any."""
        place = self._places.get(key)
        found: tuple[bool, bytes | None] | None = None
        for entry in place.entries if place is not None else ():
            if entry.through is not None:
                continue
            if entry.deleted:
                found = True, None
                continue
            payload: bytes | None = None
            if self._merge is not None and found is not None and found[1] is not None:
                payload = self._merge(key, found[1], entry.payload)
            found = False, entry.payload if payload is None else payload
        return found

    def flush(self, waiter: W) -> bool:
        """Send everything at once; True if there is nothing, otherwise who is to be woken then."""
        return self._marks.wait(waiter)

    def everyone(self) -> list[W]:
        """All who wait for anything; none of them does any more."""
        waiting = [*self._line, *self._marks.everyone()]
        self._line.clear()
        entries = (entry for place in self._places.values() for entry in place.entries)
        waiting += [entry.through for entry in entries if entry.through is not None]
        return waiting

    def oldest(self, now: float) -> float:
        """How long the oldest write has waited that is not parked, in seconds."""
        places = [*self._away, *(suspect for _, _, suspect in self._order.suspects)]
        places += [next(iter(self._order.ready.values()))] if self._order.ready else []
        return max((now - place.entries[0].born for place in places), default=0.0)

    # Counting

    def _count_in(self, entry: Entry[W], *, parked: bool) -> None:
        self.entries += 1
        self.bytes += len(entry.payload)
        if parked:
            entry.era = -1
        else:
            self._marks.came(entry.era)

    def _count_out(self, entry: Entry[W]) -> None:
        self.entries -= 1
        self.bytes -= len(entry.payload)
        if entry.era >= 0:
            self._marks.went(entry.era)

    def _forget_if_empty(self, place: Place[W]) -> None:
        if not place.entries and not place.arriving:
            del self._places[place.key]

    def _granted(self) -> list[W]:
        wake = []
        while self._line:
            waiter, key = next(iter(self._line.items()))
            if not self.admit(key):
                break
            del self._line[waiter]
            wake.append(waiter)
        return wake

    def _finished(self, done: Done[W]) -> Done[W]:
        done.wake += self._marks.done()
        done.wake += self._granted()
        return done
