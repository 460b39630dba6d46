"""The second level in this process: for tests, and for caches that share what they keep."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from weakref import WeakValueDictionary

from escala.caching.at_fork import keep_whole
from escala.caching.pure.blob import Header, Mark, unpack
from escala.caching.pure.hold_off import HoldOff
from escala.caching.pure.slot import Slot
from escala.caching.pure.versions import Mark as Moment
from escala.caching.pure.versions import Standing, Versions
from escala.caching.value_store import Ear, Found, Put, Signal, kept_of
from escala.errors import ConfigError
from escala.kernel.runtime import Runtime
from escala.kernel.wrong_value import sentence, shown

_SCHEME = "memory://"
_LOOKS = 2  # at each new key, so that what is over goes faster than it comes


class MemoryValues:
    """The `ValueStore` behind "memory://name": shared by that name inside the process.

    Time is the runtime's, so it works in virtual time. A step never waits, and an invalidation
    has been heard by the others before it returns. It is kept as long as one of its stores is;
    a blob stays for its `keep`, whatever their number.
    """

    def __init__(self, url: str, name: str, writer: str) -> None:
        place = url.removeprefix(_SCHEME)
        if not url.startswith(_SCHEME) or not place or set("/?#") & set(place):
            raise ConfigError(sentence("a name such as 'memory://shared'", shown(url)))
        self._writer = writer
        with _tables_lock:
            self._table = _tables.setdefault((place, name), _Table())

    async def read(
        self, keys: Sequence[str], lease: float, runtime: Runtime, *, early: bool = False
    ) -> list[Found]:
        """See `ValueStore.read`."""
        table, now, token = self._table, runtime.now(), os.urandom(16)
        with table.lock:
            mark = Mark(table.epoch, table.clock, now)
            return [table.found(key, token, lease, mark, early=early) for key in keys]

    async def claim(self, keys: Sequence[str], lease: float, runtime: Runtime) -> list[Found]:
        """See `ValueStore.claim`."""
        table, now, token = self._table, runtime.now(), os.urandom(16)
        with table.lock:
            mark = Mark(table.epoch, table.clock, now)
            for key in keys:
                table.slot(key, now).claim(token, lease, now)
        table.tell(self._writer, [Signal("key", key) for key in keys])
        return [Found(None, False, token, 0.0, mark) for _ in keys]  # noqa: FBT003

    async def store(
        self, puts: Sequence[Put], runtime: Runtime, *, tell: bool = False
    ) -> list[bool]:
        """See `ValueStore.store`."""
        table, now = self._table, runtime.now()
        read: list[tuple[Put, Header | None]] = []
        for put in puts:
            whole = unpack(put.key, put.blob)
            read.append((put, whole and whole[0]))
        with table.lock:
            kept = [table.store(put, header, now) for put, header in read]
        if tell:
            table.tell(self._writer, kept_of(puts, kept))
        return kept

    async def release(
        self,
        keys_and_tokens: Sequence[tuple[str, bytes]],
        runtime: Runtime,  # noqa: ARG002  no time is asked for
    ) -> None:
        """See `ValueStore.release`."""
        table = self._table
        with table.lock:
            for key, token in keys_and_tokens:
                slot = table.slots.get(key)
                if slot is not None:
                    slot.release(token)

    async def invalidate(
        self, signals: Sequence[Signal], runtime: Runtime, *, hold: float = 0.0
    ) -> None:
        """See `ValueStore.invalidate`."""
        table, now = self._table, runtime.now()
        with table.lock:
            for signal in signals:
                table.invalidate(signal, now, hold)
        table.tell(self._writer, list(signals))

    def listen(self, ear: Ear) -> None:
        """Tell this ear what other stores of this name invalidate, before they return."""
        with self._table.lock:
            if any(store is self for store, _, _ in self._table.ears):
                raise RuntimeError("a store tells one ear: make another store for another cache")
            self._table.ears = [*self._table.ears, (self, self._writer, ear)]
        ear.regained()

    def close(self) -> None:
        """Stop listening."""
        with self._table.lock:
            self._table.ears = [each for each in self._table.ears if each[0] is not self]


class _Table:
    """What the stores of one name share. Its lock is held around steps, never around an ear."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.slots: OrderedDict[str, Slot] = OrderedDict()
        self.ears: list[tuple[MemoryValues, str, Ear]] = []
        self.epoch = os.urandom(8)
        self._versions = Versions()
        self._holds = HoldOff()
        keep_whole(self)

    def forked(self) -> None:
        """A forked child has its own, and in it no one loads."""
        self.lock = threading.RLock()
        for slot in self.slots.values():
            if slot.token is not None:
                slot.release(slot.token)

    @property
    def clock(self) -> int:
        return self._versions.mark.clock

    def standing(self, clock: int, tags: tuple[str, ...]) -> Standing:
        return self._versions.standing(Moment(clock), tags)

    def held_off(self, born: float, tags: tuple[str, ...]) -> bool:
        return self._holds.blocks(tags, now=born)

    def slot(self, key: str, now: float) -> Slot:
        """The key's, made if it is new."""
        found = self.slots.get(key)
        if found is None:
            for _ in range(min(_LOOKS, len(self.slots))):
                oldest, slot = self.slots.popitem(last=False)
                if now < slot.over:
                    self.slots[oldest] = slot
            found = self.slots[key] = Slot()
        return found

    def found(self, key: str, token: bytes, lease: float, mark: Mark, *, early: bool) -> Found:
        slot, now = self.slots.get(key), mark.now
        if slot is None:
            if lease <= 0:
                return Found(None, False, None, 0.0, mark)  # noqa: FBT003
            slot = self.slot(key, now)
        look = slot.look(now, self)
        lent = lease > 0 and (early or look.due) and slot.lend(token, lease, now)
        return Found(
            blob=slot.blob if look.there else None,
            expired=look.expired,
            token=token if lent else None,
            wait=0.0 if lent else slot.wait(now),
            mark=mark,
        )

    def store(self, put: Put, header: Header | None, now: float) -> bool:
        slot = self.slots.get(put.key)
        if slot is None:
            return False
        if header is None:
            slot.release(put.token)
            return False
        return slot.store(put.token, now, self, blob=put.blob, header=header, keep=put.keep)

    def invalidate(self, signal: Signal, now: float, hold: float) -> None:
        if signal.kind == "key":
            slot = self.slot(signal.name, now) if hold > 0 else self.slots.get(signal.name)
            if slot is not None:
                slot.invalidate(now, hold, soft=signal.soft)
        elif signal.kind == "tag":
            self._versions.invalidate(signal.name, soft=signal.soft)
            if hold > 0:  # remembered for longer, since the load may store when it is over
                self._holds.hold(signal.name, until=now + hold, now=-math.inf)
        else:
            self._versions.invalidate_all(soft=signal.soft)
            if hold > 0:
                self._holds.hold_all(until=now + hold)

    def tell(self, writer: str, signals: list[Signal]) -> None:
        for _, other, ear in self.ears:
            if other != writer:
                try:
                    ear.heard(signals)
                except Exception:  # noqa: BLE001  the call goes on; the ear's bug is still shown
                    sys.excepthook(*sys.exc_info())


_tables: WeakValueDictionary[tuple[str, str], _Table] = WeakValueDictionary()
_tables_lock = threading.RLock()
