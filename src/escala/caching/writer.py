"""Change what a cache holds: set, delete, expire; in both levels, the first one first and last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from escala.caching.events import CacheInvalidated
from escala.caching.landing import Landing
from escala.caching.levels import Levels
from escala.caching.origin import purge_of
from escala.caching.rules import Rules
from escala.caching.tag_names import plain
from escala.caching.value_store import Signal
from escala.kernel.events import publish
from escala.kernel.runtime import Runtime

LEASE = 10.0  # seconds between claiming a key and storing its value


class Writer:
    """What `set`, `delete` and `expire` do."""

    def __init__(self, levels: Levels) -> None:
        self._levels, self._first, self._second = levels, levels.first, levels.second

    async def set(self, key: str, value: Any, rules: Rules, runtime: Runtime) -> None:  # noqa: ANN401
        """Keep a value, in place of whatever is there or is being loaded.

        It is a load whose answer is known: who asks meanwhile waits for it, and an invalidation
        that comes in between wins.
        """
        levels, second, born = self._levels, self._second, runtime.now()
        if second is not None:
            second.listen()
        made = levels.made(key, value, rules, born=born, took=0.0, encode=second is not None)
        flight, keep = self._first.take_off(key), made.keep
        try:
            if second is not None:
                claimed = await second.claim([key], LEASE, runtime)
                if claimed is not None:
                    mark, token = claimed[0].mark, claimed[0].token
                    put = levels.put(key, made, mark, token) if keep else None
                    if put is not None:
                        keep = await second.keep([put], runtime) != [False]
                    elif token is not None:
                        await second.release([(key, token)], runtime)
        except BaseException as error:
            if second is not None:  # no one knows what has arrived there, and no lease may stay
                second.owe([Signal("key", key)])
            self._first.forget(key)
            self._first.give_up(flight)  # who waits for it asks the source
            if second is not None and not isinstance(error, GeneratorExit):
                await second.repair_late(runtime)
            raise
        self._first.wrote(flight, Landing(made.entry), now=runtime.now(), keep=keep)

    async def invalidate(self, signals: Sequence[Signal], runtime: Runtime, *, lag: float) -> bool:
        """Delete or expire in all levels; False if the second one has yet to hear of it.

        The outermost comes first, so that no one loads from it what is being deleted here; when
        it fails, the others are done all the same.
        """
        try:
            await self.purge(signals, runtime)
        except GeneratorExit:  # its event loop is gone
            self.owe(signals, runtime, lag=lag)
            raise
        except BaseException:
            await self._within(signals, runtime, lag=lag)
            raise
        return await self._within(signals, runtime, lag=lag)

    async def purge(self, signals: Sequence[Signal], runtime: Runtime) -> None:
        """Have the third level forget, if there is one. Raises what it raises."""
        if self._levels.origin is not None:
            await self._levels.origin.purge([purge_of(signal) for signal in signals], runtime)

    def owe(self, signals: Sequence[Signal], runtime: Runtime, *, lag: float) -> None:
        """Invalidate here, and in the second level before anything else is asked of it."""
        self._here(signals, runtime, lag)
        if self._second is not None:
            self._second.owe(signals, lag)

    async def _within(self, signals: Sequence[Signal], runtime: Runtime, *, lag: float) -> bool:
        everywhere = True
        self._here(signals, runtime, lag)
        if self._second is not None:
            try:
                everywhere = await self._second.invalidate(signals, runtime, hold=lag)
            finally:
                # What was read from there until now is forgotten as well.
                self._here(signals, runtime, lag)
        self._levels.tally.invalidations += len(signals)
        now, name = runtime.now(), self._levels.name
        for signal in signals:
            publish(
                CacheInvalidated(
                    name=name,
                    at=now,
                    kind=signal.kind,
                    what=plain(signal),
                    soft=signal.soft,
                    everywhere=everywhere,
                )
            )
        return everywhere

    def _here(self, signals: Sequence[Signal], runtime: Runtime, lag: float) -> None:
        first, now = self._first, runtime.now()
        for signal in signals:
            if signal.kind == "key":
                first.drop(signal.name, now=now, soft=signal.soft, lag=lag)
            elif signal.kind == "tag":
                first.invalidate(signal.name, now=now, soft=signal.soft, lag=lag)
            else:
                first.invalidate_all(now=now, soft=signal.soft, lag=lag)
