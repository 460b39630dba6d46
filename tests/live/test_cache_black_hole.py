"""The second level swallows every question: hits go on as before, and no one waits for long."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest
from tests.servers.redis_server import RedisServer, redis, shared_redis
from tests.servers.relay import Relay, relayed

from escala import Cache, Deadline
from escala.errors import DeadlineExceeded

__all__ = ["redis", "shared_redis"]

pytestmark = pytest.mark.live

QUESTION = 0.04  # seconds that the second level has, if the URL says nothing else
LIMIT = 0.1
A_BUSY_MACHINE = 0.15
PATIENCE = 8.0
HITS, ROUNDS = 1000, 20


@pytest.fixture
def relay(redis: RedisServer) -> Iterator[Relay]:
    with relayed(redis.port) as relay:
        yield relay


@pytest.fixture
def cache(relay: Relay) -> Iterator[Cache]:
    with Cache("shop", l2=f"redis://127.0.0.1:{relay.port}/0", max_stale="500ms") as cache:
        assert cache.get("hot", lambda: "value") == "value"
        until(lambda: cache._second.ear.hears, "the ear")  # type: ignore[union-attr]
        cache.get("hot", lambda: "value")
        yield cache


def until(done: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)


def p99(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100]


class Misses:
    """Callers in both colours who ask for what is not there, each with a deadline."""

    def __init__(self, cache: Cache) -> None:
        self._cache, self._numbers, self._stop = cache, itertools.count(), threading.Event()
        self.took: list[float] = []
        self.late = 0
        self._threads = [
            threading.Thread(target=self._ask),
            threading.Thread(target=asyncio.run, args=(self._aasks(),)),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    @contextlib.contextmanager
    def _timed(self) -> Iterator[str]:
        began = time.monotonic()
        try:
            yield f"miss:{next(self._numbers)}"
        except DeadlineExceeded:
            self.late += 1
        self.took.append(time.monotonic() - began)

    def _ask(self) -> None:
        get = Deadline(LIMIT)(lambda key: self._cache.get(key, lambda: key))
        while not self._stop.is_set():
            with self._timed() as key:
                assert get(key) == key
            time.sleep(0.005)

    async def _aasks(self) -> None:
        async def load(key: str) -> str:
            return key

        @Deadline(LIMIT)
        async def get(key: str) -> str:
            return await self._cache.aget(key, lambda: load(key))

        while not self._stop.is_set():
            with self._timed() as key:
                assert await get(key) == key
            await asyncio.sleep(0.005)


def hits(cache: Cache) -> float:
    """The median of some 99th percentiles, so that one moment of a busy machine is none of it."""
    found = []
    for _ in range(ROUNDS):
        times = []
        for _ in range(HITS):
            began = time.perf_counter()
            cache.get("hot", lambda: "value")
            times.append(time.perf_counter() - began)
        found.append(p99(times))
        time.sleep(0.03)
    return statistics.median(found)


def test_hits_are_as_fast_and_no_call_takes_longer_than_it_may(cache: Cache, relay: Relay) -> None:
    with Misses(cache) as misses:
        before = hits(cache)
        asked = len(misses.took)
        relay.hold()
        during = hits(cache)
        until(lambda: cache.snapshot()["l2_away"], "the breaker")
        down = len(misses.took)
        assert not cache._second.ear.hears  # type: ignore[union-attr]
        relay.flow()
        until(lambda: not cache.snapshot()["l2_away"], "the second level")
    print(f"p99 of hits: {before * 1e6:.1f} us before, {during * 1e6:.1f} us during")  # noqa: T201
    print(f"misses: {asked} before, {down - asked} during, longest {max(misses.took):.3f} s")  # noqa: T201
    assert during <= 3 * before + 2e-6
    assert down - asked > 20
    assert max(misses.took) <= LIMIT + A_BUSY_MACHINE
    waited = [each for each in misses.took[asked:down] if each > QUESTION / 2]
    assert len(waited) < (down - asked) / 4, "most of them are not even asked of it"
    assert misses.late <= 2, "and those that are go on to load"


def test_when_it_answers_again_all_is_as_before(
    cache: Cache, relay: Relay, redis: RedisServer
) -> None:
    with Cache("shop", l2=redis.url) as other:
        relay.hold()
        for nth in range(4):
            assert cache.get(f"new:{nth}", lambda: "loaded") == "loaded"
        assert cache.snapshot()["l2_away"]
        assert not cache.delete("hot")
        assert cache.get("hot") is None
        assert other.get("hot") == "value", "it has not heard of it"
        relay.flow()

        def back() -> bool:
            cache.get("poke")
            return not cache.snapshot()["l2_away"]

        until(back, "the second level")
        until(lambda: cache._second.ear.hears, "the ear")  # type: ignore[union-attr]
        until(lambda: other.get("hot") is None, "what was deleted meanwhile")
        assert cache.snapshot()["l2_repairs"] == 0
        assert cache.get("both", lambda: "one") == "one"
        assert other.get("both") == "one"
        assert other.delete("both")
        until(lambda: cache.get("both") is None, "the signal")
