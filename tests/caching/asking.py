"""The same test in both colours, and a source that counts how often it is asked."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from escala.caching import Answer, Cache
from escala.kernel.runtime import colours, drive
from escala.testing import VirtualRuntime

_ids = iter(range(1_000_000))


def shared() -> str:
    """The URL of a second level that no other test has."""
    return f"memory://test{next(_ids)}"


class Source:
    """Answers "v1", "v2", …; or what it is given, the last again and again; errors it raises."""

    def __init__(self, *answers: object, takes: float = 0.0) -> None:
        self.answers, self.takes = list(answers), takes
        self.calls = self.running = self.most = 0

    def _begin(self) -> int:
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        return self.calls

    def _end(self, call: int) -> Any:
        if not self.answers:
            return f"v{call}"
        answer = self.answers[min(call, len(self.answers)) - 1]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def now(self) -> Any:
        """A blocking answer."""
        call = self._begin()
        try:
            drive(colours.thread.sleep(self.takes))
        finally:
            self.running -= 1
        return self._end(call)

    async def later(self) -> Any:
        """The same on an event loop."""
        call = self._begin()
        try:
            await colours.loop.sleep(self.takes)
        finally:
            self.running -= 1
        return self._end(call)


class Sync:
    """Asks by the blocking twins, whose waits move virtual time."""

    name = "sync"

    @staticmethod
    async def get(cache: Cache, key: str, source: Source | None = None, **how: Any) -> Any:
        load: Any = source and source.now
        return cache.get(key, load, **how)

    @staticmethod
    async def entry(cache: Cache, key: str, source: Source | None = None, **how: Any) -> Answer:
        return cache.entry(key, source.now if source else None, **how)

    @staticmethod
    async def set(cache: Cache, key: str, value: object, **how: Any) -> None:
        cache.set(key, value, **how)

    @staticmethod
    async def delete(cache: Cache, *keys: str, **what: Any) -> bool:
        return cache.delete(*keys, **what)

    @staticmethod
    async def expire(cache: Cache, *keys: str, **what: Any) -> bool:
        return cache.expire(*keys, **what)

    @staticmethod
    async def clear(cache: Cache, **how: Any) -> bool:
        return cache.clear(**how)

    @staticmethod
    def load(source: Source) -> Callable[[], Any]:
        return source.now

    @staticmethod
    async def call(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call what `coloured` has made, or the plain one of two verbs."""
        return fn(*args, **kwargs)

    @staticmethod
    async def verb(fn: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(fn, name)(*args, **kwargs)

    @staticmethod
    def coloured(fn: Callable[..., Any]) -> Callable[..., Any]:
        return fn


class Async:
    """Asks by the twins for event loops."""

    name = "async"

    @staticmethod
    async def get(cache: Cache, key: str, source: Source | None = None, **how: Any) -> Any:
        load: Any = source and source.later
        return await cache.aget(key, load, **how)

    @staticmethod
    async def entry(cache: Cache, key: str, source: Source | None = None, **how: Any) -> Answer:
        return await cache.aentry(key, source.later if source else None, **how)

    @staticmethod
    async def set(cache: Cache, key: str, value: object, **how: Any) -> None:
        await cache.aset(key, value, **how)

    @staticmethod
    async def delete(cache: Cache, *keys: str, **what: Any) -> bool:
        return await cache.adelete(*keys, **what)

    @staticmethod
    async def expire(cache: Cache, *keys: str, **what: Any) -> bool:
        return await cache.aexpire(*keys, **what)

    @staticmethod
    async def clear(cache: Cache, **how: Any) -> bool:
        return await cache.aclear(**how)

    @staticmethod
    def load(source: Source) -> Callable[[], Any]:
        return source.later

    @staticmethod
    async def call(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await fn(*args, **kwargs)

    @staticmethod
    async def verb(fn: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        return await getattr(fn, "a" + name)(*args, **kwargs)

    @staticmethod
    def coloured(fn: Callable[..., Any]) -> Callable[..., Any]:
        """The same function as an `async def` with the same arguments and annotations."""

        @functools.wraps(fn)
        async def coloured(*args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

        return coloured


Ask = type[Sync] | type[Async]
both_colours = pytest.mark.parametrize("ask", [Sync, Async], ids=["sync", "async"])
levels = pytest.mark.parametrize("two", [False, True], ids=["l1", "l1+l2"])


def made(*, two: bool = False, **options: Any) -> Cache:
    """A cache of one level or two, with an exact minute as its lifetime if nothing is said."""
    return Cache("test", **({"ttl": "60s±0%", "l2": shared() if two else None} | options))


def in_virtual_time(test: Callable[..., Any]) -> Callable[..., None]:
    """Run an async test in the fixture `world`."""

    @functools.wraps(test)
    def run(world: VirtualRuntime, **fixtures: Any) -> None:
        world.run(test(world, **fixtures))

    return run
