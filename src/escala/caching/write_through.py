"""Save at the source, and have the cache right in the same step: `Cache.write_through`."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from inspect import isawaitable
from typing import Any, Generic, TypeVar

from escala.caching.landing import Landing
from escala.caching.levels import Levels, Made
from escala.caching.named import checked
from escala.caching.pure.blob import Mark
from escala.caching.rules import Rules
from escala.caching.value_store import Signal
from escala.caching.writer import LEASE, Writer
from escala.kernel.context import deadline_variable, restore
from escala.kernel.policy import refuse_unawaited
from escala.kernel.runtime import LoopRuntime, Runtime, colours, drive

V = TypeVar("V")


class WriteThrough(Generic[V]):
    """Writes go to the source first, and then to the cache.

    - `save(key, value)`, `def` or `async def`, returns when the source has the value. What it
      returns is returned.
    - `remove(key)` does the same for a deletion; without it there is no `delete`.

    What the cache has is never ahead of the source. While a write runs, readers get the value
    before it; with `l2`, those who find none wait for the write. When it has returned, no one
    gets that again. When it has raised or was cancelled, no one knows whether the source took
    it, so the key is deleted from the cache. When another writes or deletes the key at the same
    time, in this process or in another, no one knows who was last, so the key is deleted too,
    and the next reader asks the source. An invalidation by tag wins against a write that began
    before it.

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

    def set(self, key: str, value: V) -> Any:  # noqa: ANN401  what `save` returns
        """Save a value, and keep it. Raises what `save` raises."""
        return drive(self._set(key, value, colours.thread))

    async def aset(self, key: str, value: V) -> Any:  # noqa: ANN401
        """`set` on an event loop."""
        return await self._set(key, value, colours.loop)

    def delete(self, key: str) -> Any:  # noqa: ANN401  what `remove` returns
        """Remove a key at the source, and from the cache. Raises what `remove` raises."""
        return drive(self._delete(key, colours.thread))

    async def adelete(self, key: str) -> Any:  # noqa: ANN401
        """`delete` on an event loop."""
        return await self._delete(key, colours.loop)

    async def _delete(self, name: str, runtime: Runtime) -> Any:  # noqa: ANN401
        if self._remove is None:
            raise TypeError("there is no `remove`: give it to `write_through`")
        key = checked(name)
        try:
            answer = await _run(self._remove, (name,), runtime)
        except BaseException as error:
            await self._in_doubt(key, error, runtime)
            raise
        await self._forget(key, runtime)
        return answer

    async def _set(self, name: str, value: V, runtime: Runtime) -> Any:  # noqa: ANN401
        key, levels, first, second = checked(name), self._levels, self._first, self._second
        born, encode = runtime.now(), second is not None
        made = levels.made(key, value, self._rules, born=born, took=0.0, encode=encode)
        with first.lock:
            since, crowd = first.versions.mark, first.overlap.begin(key)
        try:
            lease = mark = None
            if second is not None:
                found = await second.read([key], LEASE, runtime, early=True)
                if found:
                    lease, mark = found[0].token, found[0].mark
            answer = await _run(self._save, (name, value), runtime)
            kept = made.keep and await self._shared(key, made, mark, lease, runtime)
        except BaseException as error:
            await self._in_doubt(key, error, runtime)
            raise
        with first.lock:
            alone = first.overlap.end(key, crowd)
            if kept and alone:
                flight = first.take_off(key, since)
                first.wrote(flight, Landing(made.entry), now=runtime.now())
        if not kept:
            await self._forget(key, runtime)
        elif not alone:  # the second level is right; what is here may be older, and so may this
            first.drop(key, now=runtime.now(), lag=self._rules.times.lag)
        return answer

    async def _shared(
        self, key: str, made: Made, mark: Mark | None, lease: bytes | None, runtime: Runtime
    ) -> bool:
        """Give the second level what was saved; whether it is right there now, and for all."""
        await self._writer.purge([Signal("key", key)], runtime)
        second = self._second
        if second is None:
            return True
        put = self._levels.put(key, made, mark, lease)
        if put is None:
            return False
        before = deadline_variable.set(math.inf)  # it is saved: that is no reason to fail
        try:
            return await second.keep([put], runtime, tell=True) == [True]
        finally:
            restore(before)

    async def _forget(self, key: str, runtime: Runtime) -> None:
        before = deadline_variable.set(math.inf)  # nor is this
        try:
            await self._writer.invalidate([Signal("key", key)], runtime, lag=self._rules.times.lag)
        finally:
            restore(before)

    async def _in_doubt(self, key: str, error: BaseException, runtime: Runtime) -> None:
        """No one knows whether the source has taken it."""
        if isinstance(error, GeneratorExit):  # its event loop is gone
            self._writer.owe([Signal("key", key)], runtime, lag=self._rules.times.lag)
            return
        with suppress(Exception):  # the caller is told of the other error; what is left is owed
            await self._forget(key, runtime)


async def _run(fn: Callable[..., Any], args: tuple[Any, ...], runtime: Runtime) -> Any:  # noqa: ANN401
    answer = fn(*args)
    if isawaitable(answer):
        if not isinstance(runtime, LoopRuntime):
            refuse_unawaited(fn, answer, "await the `a` twin")
        answer = await answer
    return answer
