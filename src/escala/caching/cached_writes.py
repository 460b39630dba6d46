"""The cache follows a write-behind: at once in this process, and for all when the source has it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from escala.caching.levels import Levels
from escala.caching.named import checked
from escala.caching.rules import Rules
from escala.caching.value_store import Signal
from escala.caching.write import Write
from escala.caching.write_flusher import is_async
from escala.caching.writer import Writer
from escala.kernel.runtime import Runtime, colours, drive


class CachedWrites:
    """What `Cache.write_behind` does beside writing.

    An accepted write is in the first level before it is acknowledged, and till the source has
    it nothing that is loaded takes its place. When the source has a batch, the second level and
    the other processes forget what they had: what they then load is what the source has, whoever
    else writes it. With a merge function a write is a change and no value, so there this process
    forgets the key as well.
    """

    def __init__(self, levels: Levels, writer: Writer, rules: Rules, *, merges: bool) -> None:
        self._levels, self._first, self._second = levels, levels.first, levels.second
        self._writer, self._rules, self._merges = writer, rules, merges
        self._whole: dict[str, str] = {}  # keys that the cache keeps as their digests
        self._last: dict[str, int] = {}  # what the batch before had

    def accepted(self, write: Write) -> None:
        """A write is safe, and not yet sent; writes of one key come in order."""
        key, now, entry = checked(write.key), colours.thread.now(), None
        if self._merges or self._last.get(key) == write.sequence:
            return  # it had to go through, and the source has it
        if key != write.key:
            self._whole[key] = write.key
        if self._second is not None:
            self._second.listen()  # who begins to hear forgets what was here before
        try:
            if not write.deleted:
                made = self._levels.made(
                    key, write.value, self._rules, born=now, took=0.0, encode=False
                )
                entry = made.entry if made.keep else None
        finally:
            self._first.run_ahead(key, write.sequence, entry, now=now)

    def looking(
        self, look: Callable[[str, Runtime], Awaitable[Any]]
    ) -> Callable[[str, Runtime], Awaitable[Any]]:
        """What is pending for a key of the cache."""

        def pending(key: str, runtime: Runtime) -> Awaitable[Any]:
            return look(self._whole.get(key, key), runtime)

        return pending

    def saving(self, save_many: Callable[[list[Write]], Any]) -> Callable[[list[Write]], Any]:
        """The user's function, and then the cache."""
        if is_async(save_many):

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
        keys = {checked(write.key): write.sequence for write in writes}
        self._last, signals = keys, [Signal("key", key) for key in keys]
        try:
            await self._writer.purge(signals, runtime)
        except Exception:  # noqa: BLE001  the source has them: they must not be sent again
            sys.excepthook(*sys.exc_info())
        try:
            if self._second is not None:
                lag = self._rules.times.lag
                await self._second.invalidate(signals, runtime, hold=lag)
        finally:
            for key, sequence in keys.items():
                self._first.caught_up(key, sequence)
                if key not in self._first.ahead:
                    self._whole.pop(key, None)
