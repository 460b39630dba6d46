"""The cache follows a write-behind: at once in this process, and for all when the source has it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from inspect import iscoroutinefunction
from typing import Any

from escala.caching.landing import Landing
from escala.caching.levels import Levels
from escala.caching.rules import Rules
from escala.caching.value_store import Put, Signal
from escala.caching.write import Write
from escala.caching.writer import LEASE
from escala.errors import CannotEncode
from escala.kernel.runtime import Runtime, colours, drive


class CachedWrites:
    """What `Cache.write_behind` does beside writing.

    An accepted write is in the first level before it is acknowledged. When the source has a
    batch, the second level gets it, and the other processes forget what they had. With a merge
    function a write is a change and no value, so there the cache forgets the key when the source
    has it.
    """

    def __init__(self, levels: Levels, rules: Rules, *, merges: bool) -> None:
        self._levels, self._first, self._second = levels, levels.first, levels.second
        self._rules, self._merges = rules, merges
        self._latest: dict[str, int] = {}  # of the pending writes of this process
        self._lock = threading.RLock()

    def accepted(self, write: Write) -> None:
        """A write is safe; writes of one key come in order."""
        if self._merges:
            return
        with self._lock:
            self._latest[write.key] = write.sequence
        now = colours.thread.now()
        if write.deleted:
            self._first.drop(write.key, now=now)
            return
        made = self._levels.made(
            write.key, write.value, self._rules, born=now, took=0.0, encode=False
        )
        flight = self._first.take_off(write.key)
        self._first.wrote(flight, Landing(made.entry), now=now, keep=made.keep)

    def saving(self, save_many: Callable[[list[Write]], Any]) -> Callable[[list[Write]], Any]:
        """The user's function, and then the second level."""
        if iscoroutinefunction(save_many):

            @functools.wraps(save_many)
            async def asave(writes: list[Write]) -> None:
                await save_many(writes)
                await self._saved(writes, colours.loop)

            return asave

        @functools.wraps(save_many)
        def save(writes: list[Write]) -> Any:  # noqa: ANN401
            answer = save_many(writes)
            drive(self._saved(writes, colours.thread))
            return answer

        return save

    async def _saved(self, writes: Sequence[Write], runtime: Runtime) -> None:
        now = runtime.now()
        for write in writes:
            with self._lock:
                latest = self._latest.get(write.key, 0)
                if latest == write.sequence:
                    del self._latest[write.key]
            if latest < write.sequence:  # of an earlier life, or a change: what we have is older
                self._first.drop(write.key, now=now)
        if self._second is None:
            return
        gone = [write.key for write in writes if write.deleted or self._merges]
        values = [write for write in writes if not write.deleted and not self._merges]
        if gone:
            await self._second.invalidate([Signal("key", key) for key in gone], runtime)
        if values:
            await self._fill(values, runtime)

    async def _fill(self, writes: list[Write], runtime: Runtime) -> None:
        second = self._second
        assert second is not None  # noqa: S101  it has one
        found = await second.claim([write.key for write in writes], LEASE, runtime)
        if found is None:
            return
        puts: list[Put] = []
        for write, each in zip(writes, found, strict=True):
            try:
                made = self._levels.made(
                    write.key,
                    write.value,
                    self._rules,
                    born=runtime.now(),
                    took=0.0,
                    encode=True,
                )
            except CannotEncode:
                continue  # the claim has deleted it, and its lease ends
            put = self._levels.put(write.key, made, each.mark, each.token)
            if put is not None:
                puts.append(put)
        await second.keep(puts, runtime)
