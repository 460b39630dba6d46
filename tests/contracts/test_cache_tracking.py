"""Two caches on a real server: what one invalidates, the other's first level has no more."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from tests.servers.redis_server import RedisServer, redis, shared_redis, shared_valkey

from escala import Cache

__all__ = ["redis", "shared_redis", "shared_valkey"]

pytestmark = pytest.mark.live

PATIENCE = 5.0
INVALIDATIONS: dict[str, Callable[[Any], Any]] = {
    "delete": lambda cache: cache.delete("user:1"),
    "adelete": lambda cache: cache.adelete("user:1"),
    "tag": lambda cache: cache.delete(tag="t"),
    "atag": lambda cache: cache.adelete(tag="t"),
    "namespace": lambda cache: cache.delete(namespace="user"),
    "anamespace": lambda cache: cache.adelete(namespace="user"),
    "clear": lambda cache: cache.clear(),
    "aclear": lambda cache: cache.aclear(),
    "expire": lambda cache: cache.expire("user:1"),
    "aexpire": lambda cache: cache.aexpire("user:1"),
    "set": lambda cache: cache.set("user:1", "set"),
    "aset": lambda cache: cache.aset("user:1", "set"),
}


def of(call: Any) -> Any:
    """What a call gives, in either colour."""

    async def main() -> Any:
        return await call

    return asyncio.run(main()) if inspect.isawaitable(call) else call


def until(done: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.001)


def gone(cache: Cache) -> bool:
    return cache.get("user:1") is None


@pytest.fixture(params=["redis", "valkey"])
def server(request: pytest.FixtureRequest) -> RedisServer:
    name = "redis" if request.param == "redis" else "shared_valkey"
    server: RedisServer = request.getfixturevalue(name)
    server.ask("FLUSHALL")
    return server


@pytest.fixture
def nodes(server: RedisServer) -> Iterator[tuple[Cache, Cache]]:
    url = f"{server.url}?events=tracking&timeout=2s"
    with Cache("shop", l2=url) as one, Cache("shop", l2=url) as two:
        for cache in (one, two):
            cache.get("nothing")
            second: Any = cache._second
            until(partial(getattr, second.ear, "hears"), "the ear")
            assert second.store.transport == "tracking"
        yield one, two


@pytest.mark.parametrize("invalidate", INVALIDATIONS.values(), ids=INVALIDATIONS)
def test_the_other_hears_of_it(
    nodes: tuple[Cache, Cache], invalidate: Callable[[Cache], Any]
) -> None:
    one, two = nodes
    for cache in nodes:
        assert cache.get("user:1", lambda: "old", tags=["t"]) == "old"
        assert cache.entry("user:1").source == "l1"
    of(invalidate(one))
    until(lambda: two.snapshot()["heard"], "the signal")
    new = "set" if one.get("user:1") == "set" else "new"
    assert two.get("user:1", lambda: new, tags=["t"]) == new
    assert of(one.aget("user:1", lambda: "newer")) == new
    assert one.snapshot()["heard"] == 0, "it does not hear itself"


def test_both_learn_that_the_server_was_flushed(
    nodes: tuple[Cache, Cache], server: RedisServer
) -> None:
    for cache in nodes:
        assert cache.get("user:1", lambda: "old") == "old"
    server.ask("FLUSHALL")
    for cache in nodes:
        until(partial(gone, cache), "the flush")
