"""The second level behind a breaker: while it is away, no call fails, and none is misled."""

from __future__ import annotations

import math
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from escala.caching.at_fork import keep_whole
from escala.caching.events import CacheStoreChanged
from escala.caching.value_store import Ear, Found, Put, Signal, ValueStore
from escala.errors import CircuitOpen, StoreUnavailable
from escala.kernel.context import deadline_variable
from escala.kernel.events import publish
from escala.kernel.runtime import Runtime
from escala.resilience.circuit_breaker import CircuitBreaker
from escala.resilience.pure.breaker_table import BreakerState

T = TypeVar("T")

_FAILURES = 3
_COOLDOWN = 1.0
_MOST_REPAIRS = 10_000
_ALL = Signal("all")


class _Owed:
    """One invalidation that the store has yet to hear of; compared by identity."""

    __slots__ = ("hold",)

    def __init__(self, hold: float) -> None:
        self.hold = hold


class SecondLevel:
    """A value store behind a breaker. While it is away, answers are None and no call fails.

    **Repairs.** An invalidation that did not reach the store is kept here, and nothing is read
    from the store before it has arrived, so that this process never sees again what it deleted.
    When there are more than ten thousand of them, they become one that invalidates everything.
    """

    def __init__(self, store: ValueStore, *, name: str) -> None:
        self.store, self._name = store, name
        self.ear: Ear | None = None
        self._listens = False
        self._breaker = CircuitBreaker(
            failure_rate=None,
            consecutive=_FAILURES,
            cooldown=_COOLDOWN,
            on=StoreUnavailable,
            name=f"{name}.l2",
        )
        self.lock = threading.RLock()
        self._repairs: dict[Signal, _Owed] = {}
        self._away = self._closed = False
        self.failed = 0
        keep_whole(self)

    async def read(
        self, keys: Sequence[str], lease: float, runtime: Runtime, *, early: bool = False
    ) -> list[Found] | None:
        """What the store has; None while it is away."""
        return await self._ask(partial(self.store.read, keys, lease, runtime, early=early), runtime)

    async def claim(
        self, keys: Sequence[str], lease: float, runtime: Runtime
    ) -> list[Found] | None:
        """Delete keys and take their leases; None while it is away, and then it is repaired."""
        found = None
        try:
            found = await self._ask(partial(self.store.claim, keys, lease, runtime), runtime)
        finally:
            if found is None:  # or the caller was cut short, and it has happened or not
                self.owe([Signal("key", key) for key in keys])
        return found

    async def keep(
        self, puts: Sequence[Put], runtime: Runtime, *, tell: bool = False
    ) -> list[bool] | None:
        """Store blobs under their leases, with `tell` for others to forget; None while away."""
        if not puts:
            return []
        return await self._ask(partial(self.store.store, puts, runtime, tell=tell), runtime)

    async def release(self, leases: Sequence[tuple[str, bytes]], runtime: Runtime) -> None:
        """Let others load now and not when the leases end."""
        if leases:
            await self._ask(partial(self.store.release, leases, runtime), runtime)

    async def invalidate(
        self, signals: Sequence[Signal], runtime: Runtime, *, hold: float = 0.0
    ) -> bool:
        """Invalidate for everyone; False if that has to be repeated later."""
        self.owe(signals, hold)  # first: a cancelled caller's is done as well
        return await self.repair(runtime)

    def owe(self, signals: Sequence[Signal], hold: float = 0.0) -> None:
        """Invalidate, before anything else is asked of the store."""
        with self.lock:
            repairs = self._repairs
            for signal in signals:
                before = repairs.get(signal)
                repairs[signal] = _Owed(hold if before is None else max(hold, before.hold))
            if len(repairs) > _MOST_REPAIRS:
                hold = max(each.hold for each in repairs.values())
                repairs.clear()
                repairs[_ALL] = _Owed(hold)

    async def repair(self, runtime: Runtime) -> bool:
        """Send the invalidations that have not arrived yet; whether none is left of those."""
        with self.lock:
            owed = dict(self._repairs)
        for hold in sorted({each.hold for each in owed.values()}):
            signals = [signal for signal, each in owed.items() if each.hold == hold]
            send = partial(self.store.invalidate, signals, runtime, hold=hold)
            try:
                await self._guarded(send, runtime)
            except (StoreUnavailable, CircuitOpen):
                return False
            with self.lock:
                for signal in signals:
                    if self._repairs.get(signal) is owed[signal]:  # not one that came after it
                        del self._repairs[signal]
        return True

    async def repair_late(self, runtime: Runtime) -> None:
        """Repair for a caller whose own time may be up: one message, and others need not wait."""
        token = deadline_variable.set(math.inf)
        try:
            await self.repair(runtime)
        finally:
            deadline_variable.reset(token)

    async def _ask(self, call: Callable[[], Awaitable[T]], runtime: Runtime) -> T | None:
        if self._repairs and not await self.repair(runtime):
            return None
        try:
            return await self._guarded(call, runtime)
        except (StoreUnavailable, CircuitOpen):
            return None

    def listen(self) -> None:
        """Begin to hear what others invalidate: before the first load takes off."""
        ear = self.ear
        if self._listens or ear is None or self._closed:
            return
        with self.lock:
            begun, self._listens = self._listens, True
        if not begun:
            self.store.listen(ear)

    async def _guarded(self, call: Callable[[], Awaitable[T]], runtime: Runtime) -> T:
        if self._closed:
            raise StoreUnavailable(f"{self._name}: the cache is closed")
        self.listen()
        breaker = self._breaker
        try:
            permit = breaker.enter(runtime)  # the steps of `around`, at half its cost
            try:
                answer = await call()
            except BaseException as error:
                breaker.failed(permit, error, runtime)
                raise
            breaker.passed(permit, answer, runtime)
        except (StoreUnavailable, CircuitOpen) as error:
            self.failed += 1
            if not self._away and breaker.state is not BreakerState.CLOSED:
                self._turn(str(error), runtime, away=True)
            raise
        if self._away and breaker.state is BreakerState.CLOSED:
            self._turn("the store answers again", runtime, away=False)
        return answer

    def _turn(self, reason: str, runtime: Runtime, *, away: bool) -> None:
        with self.lock:
            if self._away == away:
                return
            self._away = away
        publish(CacheStoreChanged(name=self._name, at=runtime.now(), away=away, reason=reason))

    def forked(self) -> None:
        """A forked child owes the store what its parent did."""
        self.lock = threading.RLock()

    def snapshot(self) -> dict[str, float]:
        """Whether the store is away, what it has not heard yet, and how often it failed."""
        return {
            "l2_away": float(self._away),
            "l2_failed": self.failed,
            "l2_repairs": len(self._repairs),
        }

    def close(self) -> None:
        """Let go of the store, and ask it for nothing any more."""
        self._closed = True
        self.store.close()
        if self.ear is not None:
            self.ear.lost()
