"""Several caches that share a second level, in virtual time, and a store that is slow or away."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

from tests.http.cache_world import World

from escala.caching.second_level import SecondLevel
from escala.caching.value_store import Ear, Found, Put, Signal, ValueStore, open_value_store
from escala.errors import DeadlineExceeded, StoreUnavailable
from escala.http.message import HttpRequest, Response
from escala.kernel.context import remaining
from escala.kernel.runtime import Runtime

GERMAN, ENGLISH = (b"accept-language", b"de"), (b"accept-language", b"en")
KEY = "http://shop/"
_numbers = itertools.count()


def worlds(count: int = 2, seed: int = 0, **options: Any) -> list[World]:
    """Caches of as many workers with one origin and one store in memory."""
    url = f"memory://http-{next(_numbers)}"
    first = World(seed, l2=url, **options)
    return [first, *(World(l2=url, beside=first, **options) for _ in range(count - 1))]


def level(world: World) -> SecondLevel:
    second = world.cache._second
    assert second is not None
    return second._second


def beside(world: World) -> ValueStore:
    """The store of a cache that is not there: to look into it, and to write."""
    url, name = world.cache.options.l2, world.cache.name
    assert url is not None
    return open_value_store(url, f"http:{name}", "0")


def another(world: World) -> World:
    """One more worker, which has nothing in memory."""
    return World(l2=world.cache.options.l2, beside=world)


def changing(world: World, status: int = 200) -> None:
    """From now on a PUT makes a new version."""

    def answer(request: HttpRequest) -> Response:
        if request.method == "PUT":
            world.origin.version += 1
            return Response(status, [])
        return world.origin.page(request)

    world.origin.answer = answer


async def settled(world: World) -> None:
    """Until what is stored behind the answers' backs is stored."""
    await world.sleep(0.001)


class Between:
    """Stands between a cache and its store: slow, away, or both."""

    def __init__(self, world: World, *, slow: float = 0.0, seed: int = 0) -> None:
        second = level(world)
        self.inner, self.slow, self.away = second.store, slow, False
        self.asked: list[str] = []
        self.draw = random.Random(seed)
        second.store = self

    async def _pass(self, verb: str, runtime: Runtime) -> None:
        self.asked.append(verb)
        await self._wait(runtime)
        if self.away:
            raise StoreUnavailable("away")
        if remaining(runtime.now()) <= 0:
            raise DeadlineExceeded("as a link to a store says when its caller's time is up")

    async def _wait(self, runtime: Runtime) -> None:
        if self.slow:
            await runtime.sleep(self.draw.uniform(0, self.slow))

    async def read(
        self, keys: Sequence[str], lease: float, runtime: Runtime, *, early: bool = False
    ) -> list[Found]:
        await self._pass("read", runtime)
        found = await self.inner.read(keys, lease, runtime, early=early)
        await self._wait(runtime)
        return found

    async def claim(self, keys: Sequence[str], lease: float, runtime: Runtime) -> list[Found]:
        await self._pass("claim", runtime)
        found = await self.inner.claim(keys, lease, runtime)
        await self._wait(runtime)
        return found

    async def store(self, puts: Sequence[Put], runtime: Runtime, **how: Any) -> list[bool]:
        await self._pass("store", runtime)
        stored = await self.inner.store(puts, runtime, **how)
        await self._wait(runtime)
        return stored

    async def release(self, leases: Sequence[tuple[str, bytes]], runtime: Runtime) -> None:
        await self._pass("release", runtime)
        await self.inner.release(leases, runtime)
        await self._wait(runtime)

    async def invalidate(
        self, signals: Sequence[Signal], runtime: Runtime, *, hold: float = 0.0
    ) -> None:
        await self._pass("invalidate", runtime)
        await self.inner.invalidate(signals, runtime, hold=hold)
        await self._wait(runtime)

    def listen(self, ear: Ear) -> None:
        self.inner.listen(ear)

    def close(self) -> None:
        self.inner.close()
