"""Save at the source, and have the cache right in the same step: what `Cache.write_through` makes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from inspect import isawaitable
from typing import Any, Generic, TypeVar

from escala.caching.landing import Landing
from escala.caching.levels import Levels
from escala.caching.named import checked
from escala.caching.pure.overlap import Overlap
from escala.caching.rules import Rules
from escala.caching.value_store import Signal
from escala.caching.writer import LEASE, Writer
from escala.kernel.policy import refuse_unawaited
from escala.kernel.runtime import LoopRuntime, Runtime, colours, drive

V = TypeVar("V")


class WriteThrough(Generic[V]):
    """Writes go to the source first, and then to the cache.

    - `save(key, value)`, `def` or `async def`, returns when the source has the value. What it
      returns is returned.
    - `remove(key)` does the same for a deletion; without it there is no `delete`.

    What the cache has is never ahead of the source. While a write runs, readers get the value
    before it. When it has returned, no one gets that again. When it has raised, no one knows
    whether the source took it, so the key is deleted from the cache. When several write one key
    at the same time, in this process or in another, no one knows who was last, so the key is
    deleted too, and the next reader asks the source.

    If the second level does not answer then, the value is gone from this process at once, and
    the second level is told later, before anything is read from it here (see `Cache.delete`).

    >>> from escala import Cache
    >>> rows = {}
    >>> users = Cache("users").write_through(rows.__setitem__, rows.__delitem__)
    >>> users.set("user:7", "Ann"), rows
    (None, {'user:7': 'Ann'})
    """

    def __init__(
        self,
        levels: Levels,
        writer: Writer,
        save: Callable[[str, V], Any],
        remove: Callable[[str], Any] | None,
        rules: Rules,
    ) -> None:
        self._levels, self._first, self._second = levels, levels.first, levels.second
        self._writer, self._save, self._remove, self._rules = writer, save, remove, rules
        self._overlap, self._lock = Overlap(), threading.RLock()

    def set(self, key: str, value: V) -> Any:  # noqa: ANN401  what `save` returns
        """Save a value, and keep it. Raises what `save` raises."""
        return drive(self._set(checked(key), value, colours.thread))

    async def aset(self, key: str, value: V) -> Any:  # noqa: ANN401
        """`set` on an event loop."""
        return await self._set(checked(key), value, colours.loop)

    def delete(self, key: str) -> Any:  # noqa: ANN401  what `remove` returns
        """Remove a key at the source, and from the cache. Raises what `remove` raises."""
        return drive(self._delete(checked(key), colours.thread))

    async def adelete(self, key: str) -> Any:  # noqa: ANN401
        """`delete` on an event loop."""
        return await self._delete(checked(key), colours.loop)

    async def _delete(self, key: str, runtime: Runtime) -> Any:  # noqa: ANN401
        if self._remove is None:
            raise TypeError("there is no `remove`: give it to `write_through`")
        with self._lock:
            crowd = self._overlap.begin(key)
        try:
            return await _run(self._remove, (key,), runtime)
        finally:
            with self._lock:
                self._overlap.end(key, crowd)
            await self._forget(key, runtime)

    async def _set(self, key: str, value: V, runtime: Runtime) -> Any:  # noqa: ANN401
        levels, born = self._levels, runtime.now()
        made = levels.made(
            key, value, self._rules, born=born, took=0.0, encode=self._second is not None
        )
        with self._lock:
            crowd = self._overlap.begin(key)
        alone = saved = False
        try:
            lease = mark = None
            if self._second is not None:
                found = await self._second.read([key], LEASE, runtime, early=True)
                if found:
                    lease, mark = found[0].token, found[0].mark
            answer = await _run(self._save, (key, value), runtime)
            saved = True
        finally:
            with self._lock:
                alone = self._overlap.end(key, crowd)
            if not saved:
                await self._forget(key, runtime)
        flight, kept = self._first.take_off(key), False
        try:
            if alone and made.keep:
                kept = self._second is None
                put = levels.put(key, made, mark, lease)
                if self._second is not None and put is not None:
                    kept = await self._second.keep([put], runtime, tell=True) == [True]
            if not kept:
                await self._forget(key, runtime)
        finally:
            self._first.wrote(flight, Landing(made.entry), now=runtime.now(), keep=kept)
        return answer

    async def _forget(self, key: str, runtime: Runtime) -> None:
        await self._writer.invalidate([Signal("key", key)], runtime, lag=self._rules.times.lag)


async def _run(fn: Callable[..., Any], args: tuple[Any, ...], runtime: Runtime) -> Any:  # noqa: ANN401
    answer = fn(*args)
    if isawaitable(answer):
        if not isinstance(runtime, LoopRuntime):
            refuse_unawaited(fn, answer, "await the `a` twin")
        answer = await answer
    return answer
