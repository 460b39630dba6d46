"""One trip for some keys: to the second level, to the source for what it lacks, and back."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Hashable, Sequence
from contextvars import ContextVar
from typing import Any

from escala.caching.events import CacheLoaded, CacheLoadFailed
from escala.caching.first_level import FirstLevel
from escala.caching.landing import NOTHING, Landing, Trail
from escala.caching.levels import Levels, Made
from escala.caching.pure.blob import Mark
from escala.caching.pure.entry import ABSENT, Entry
from escala.caching.pure.use import Use, use_of
from escala.caching.rules import Load, Rules
from escala.caching.value_store import Found, Put, Signal
from escala.errors import DeadlineExceeded, WouldBlock
from escala.kernel.context import deadline, deadline_variable
from escala.kernel.events import publish
from escala.kernel.runtime import Runtime

_PAUSE = 1.0  # seconds in which a source that failed is not asked again, if there is a stale value
_LEASE = 10.0  # seconds that a load has before another process may begin one, if no one says
_LONGEST_LEASE = 60.0  # nor loads have shown: for so long a process that died is waited for
_STORING = 1.0  # seconds that a load has after its hard timeout, to store what it brings
_FIRST_LOOK, _LAST_LOOK = 0.005, 0.1  # seconds between looks at what another process is loading

under_way: ContextVar[tuple[Trip, ...]] = ContextVar("escala_cache_loads", default=())


class Want:
    """One key that this trip is for."""

    __slots__ = ("early", "flight", "held", "key", "lease", "mark", "part", "stale", "unread")

    def __init__(self, key: str, part: Hashable, flight: Trail, *, early: bool = False) -> None:
        self.key, self.part, self.flight, self.early = key, part, flight, early
        self.lease: bytes | None = None
        self.mark: Mark | None = None
        self.held = False  # the store lets no one keep it for now
        self.stale = False  # the store has something for it that is not fresh
        self.unread = False  # or that cannot be decoded


class Trip:
    """Lands every one of its flights, or gives them up when it cannot go on.

    `anew`: whatever the second level has is out of date. However it ends, its leases do too.
    """

    def __init__(
        self, levels: Levels, wants: list[Want], load: Load, rules: Rules, *, anew: bool = False
    ) -> None:
        self._levels, self._first, self._second = levels, levels.first, levels.second
        self._load, self._rules = load, rules
        self._open: dict[str, Want] = {want.key: want for want in wants}
        self._leases: dict[str, bytes] = {}
        self._times, self._anew = rules.times, anew

    async def run(self, runtime: Runtime) -> None:
        """Go, and return when all that can be stored is stored."""
        try:
            await self._go(runtime)
        except GeneratorExit:
            raise  # its event loop is gone, and nothing can be awaited any more
        except (DeadlineExceeded, WouldBlock):
            await self._cut_short(runtime)
            if self._open:  # else all have what they came for, and only the storing was cut short
                raise
        except Exception as error:  # noqa: BLE001  of a store, or of a user's function
            await self._cut_short(runtime)
            for want in list(self._open.values()):
                self._close(want, Landing.failed(error), runtime.now(), keep=False)
        except BaseException:
            await self._cut_short(runtime)
            raise
        finally:
            self.give_up()

    async def _cut_short(self, runtime: Runtime) -> None:
        """End the leases first, so that who takes over need not wait until they do."""
        token = deadline_variable.set(math.inf)  # it may be over, and this is one message
        try:
            await self._let_go(runtime)
        finally:
            deadline_variable.reset(token)

    async def _let_go(self, runtime: Runtime) -> None:
        if self._second is not None and self._leases:
            leases = list(self._leases.items())
            self._leases.clear()
            await self._second.release(leases, runtime)

    def asks_for(self, first: FirstLevel, key: str) -> bool:
        """Whether it is still for this key of this cache."""
        return self._first is first and key in self._open

    def give_up(self) -> None:
        """Let others lead what has not landed; nothing is left to do when all has."""
        while self._open:
            _, want = self._open.popitem()
            self._first.give_up(want.flight)

    async def _go(self, runtime: Runtime) -> None:
        second = self._second
        waiting, pause = list(self._open.values()), _FIRST_LOOK
        patience = runtime.now() + self._times.wait
        while waiting:
            at = runtime.now()
            found = None
            if second is not None:
                keys = [want.key for want in waiting]
                if self._anew:
                    found = await second.claim(keys, self._lease, runtime)
                else:
                    early = any(want.early or want.unread for want in waiting)
                    found = await second.read(keys, self._lease, runtime, early=early)
            if found is None:
                await self._ask(waiting, runtime)
                return
            mine, waiting = self._sorted(waiting, found, at, patience)
            if mine:
                await self._ask(mine, runtime)
            await self._let_go(runtime)
            if waiting and (longest := max(each.wait for each in found)) > 0:
                await runtime.sleep(min(pause, longest))
                pause = min(2 * pause, _LAST_LOOK)

    @property
    def _lease(self) -> float:
        hard = self._times.hard_timeout
        if hard is not None:
            return hard + _STORING
        return max(_LEASE, min(2 * self._levels.longest, _LONGEST_LEASE))

    def _sorted(
        self, wants: list[Want], found: list[Found], at: float, patience: float
    ) -> tuple[list[Want], list[Want]]:
        """Land what the store has; what is left to load here, and what another one is loading."""
        mine, others = [], []
        for want, each in zip(wants, found, strict=True):
            want.lease, want.mark = each.token, each.mark
            if each.token is not None:
                self._leases[want.key] = each.token
            entry = self._levels.read(want.key, each, self._rules, now=at)
            if entry is not None and self._landed(want, entry, at):
                continue
            want.stale = each.blob is not None
            if each.blob is not None and entry is None and want.lease is None and not want.unread:
                want.unread = True  # fresh or not, it is to be replaced: look again for a lease
                others.append(want)
            elif want.lease is not None or each.wait <= 0 or at >= patience:
                want.held = want.lease is None and each.wait <= 0
                mine.append(want)
            else:
                others.append(want)
        return mine, others

    def _landed(self, want: Want, entry: Entry, at: float) -> bool:
        """Give what the store has to who waits; whether that is all for this key."""
        use = use_of(entry, now=at, draw=1.0)
        if use is Use.FRESH or (use is Use.EARLY and not want.early):
            if want.early and at >= entry.until:
                return False
            self._levels.tally.l2_hits += 1
            self._close(want, Landing(entry, source="l2"), at)
            return True
        if use is Use.REVALIDATE:
            landing = Landing(entry, source="stale", why="news of it is being asked for")
            self._first.land(want.flight, landing, now=at, on=True)
            if want.lease is None:
                self._close(want, landing, at)
                return True
        elif use is Use.RESCUE:
            self._first.offer(want.flight, entry, now=at)
        return False

    def _close(self, want: Want, landing: Landing, now: float, *, keep: bool = True) -> bool:
        self._open.pop(want.key, None)
        return self._first.land(want.flight, landing, now=now, keep=keep)

    # Loading

    async def _ask(self, wants: list[Want], runtime: Runtime) -> None:
        began = runtime.now()
        try:
            values = await self._loaded([want.part for want in wants], runtime, began)
        except Exception as error:
            if isinstance(error, DeadlineExceeded) and deadline() <= runtime.now():
                raise  # it was the leader's own time that was up: someone else may have more
            self._failed(wants, error, runtime)
            return
        except asyncio.CancelledError as error:
            if _being_cancelled():
                raise
            self._failed(wants, error, runtime)  # it has cancelled itself
            return
        except (GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # an exit, or what a test framework raises
            self._failed(wants, error, runtime)  # it would only end the next one as well
            raise
        await self._answered(wants, values, began, runtime)

    async def _answered(
        self, wants: list[Want], values: Sequence[Any], began: float, runtime: Runtime
    ) -> None:
        """Land what was loaded, and tell the second level."""
        now = runtime.now()
        took = now - began
        tally = self._levels.tally
        tally.loads += 1
        tally.load_seconds += took
        lease = self._lease
        self._levels.longest = max(self._levels.longest, took)
        brought = [
            self._brought(want, value, began, took, now)
            for want, value in zip(wants, values, strict=True)
        ]
        puts: dict[str, Put] = {}
        gone: list[Signal] = []
        for want, made in zip(wants, brought, strict=True):
            put = None if made is None else self._levels.put(want.key, made, want.mark, want.lease)
            if put is not None:
                puts[want.key] = put
            elif want.stale and (made is None or want.lease is not None):
                gone.append(Signal("key", want.key))  # it is no more what the source says
        refused, sure = set[str](), False
        try:
            # First the second level, which knows what other processes have invalidated meanwhile.
            if self._second is not None and puts:
                kept = await self._second.keep(list(puts.values()), runtime) or ()
                if runtime.now() - began < lease:  # else that is no wonder
                    refused = {key for key, taken in zip(puts, kept, strict=False) if not taken}
            sure = True
        finally:
            for want, made in zip(wants, brought, strict=True):
                if made is not None:
                    late = want.key in refused
                    keep = sure and not late and made.keep and not want.held
                    self._land(want, made, took, now, keep=keep, late=late)
                if sure and want.key in puts:
                    self._leases.pop(want.key, None)
        if self._second is not None and gone:
            await self._second.invalidate(gone, runtime)

    async def _loaded(self, parts: list[Hashable], runtime: Runtime, began: float) -> Sequence[Any]:
        hard = self._times.hard_timeout
        token = under_way.set((*under_way.get(), self))
        try:
            if hard is None:
                return await self._load(parts)
            return await runtime.race(lambda: self._load(parts), began + hard)
        finally:
            under_way.reset(token)

    def _brought(
        self,
        want: Want,
        value: Any,  # noqa: ANN401
        began: float,
        took: float,
        now: float,
    ) -> Made | None:
        """What becomes of a value that was loaded; None if it is none, or no good, and landed."""
        levels, key = self._levels, want.key
        if value is ABSENT and not self._times.negative_ttl:
            self._close(want, NOTHING, now)
            return None
        try:
            made = levels.made(
                key, value, self._rules, born=began, took=took, encode=want.lease is not None
            )
        except Exception as error:  # noqa: BLE001  of the codec, or of the user's functions
            self._close(want, Landing.failed(error), now)
            return None
        return made

    def _land(
        self, want: Want, made: Made, took: float, now: float, *, keep: bool, late: bool
    ) -> None:
        levels = self._levels
        kept = self._close(want, Landing(made.entry, late=late), now, keep=keep)
        if not kept:
            levels.tally.unkept += 1
        publish(CacheLoaded(name=levels.name, at=now, key=want.key, took=took, kept=kept))

    def _failed(self, wants: list[Want], error: BaseException, runtime: Runtime) -> None:
        now, levels = runtime.now(), self._levels
        levels.tally.load_errors += 1
        cause = f"{type(error).__name__}: {error}"[:200]
        for want in wants:
            entry = self._first.rescue(want.flight, now=now, pause=_PAUSE)
            if entry is None:
                landing = Landing.failed(error)
            else:
                levels.tally.rescued += 1
                why = f"asking failed: {cause}"
                landing = Landing(entry, source="stale", why=why, cause=error)
            self._close(want, landing, now, keep=False)
            publish(
                CacheLoadFailed(
                    name=levels.name, at=now, key=want.key, cause=cause, rescued=entry is not None
                )
            )


def _being_cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # a thread without an event loop, where no one cancels
        return False
    return task is None or task.cancelling() > 0
