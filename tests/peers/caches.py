"""The same cached function from every package: how to ask for the one key, and how to forget it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import aiocache
import cachebox
import cachetools
import cashews
import moka_py
import theine
from dogpile.cache import make_region

from escala import Cache

TTL = 3600


class Cached(NamedTuple):
    """`ask` and `forget` are both sync, or both async, as the function is."""

    ask: Callable[[], Any]
    forget: Callable[[], Any]


Maker = Callable[[Callable[[], Any]], Cached]


def escala_(load: Callable[[], Any]) -> Cached:
    cache = Cache("peer")
    return Cached(lambda: cache.get("k", load), lambda: cache.delete("k"))


def escala_async(load: Callable[[], Any]) -> Cached:
    cache = Cache("peer")
    return Cached(lambda: cache.aget("k", load), lambda: cache.adelete("k"))


def functools_(load: Callable[[], Any]) -> Cached:
    ask = functools.lru_cache(load)
    return Cached(ask, ask.cache_clear)


def cachetools_(load: Callable[[], Any]) -> Cached:
    cache: Any = cachetools.TTLCache(10, TTL)
    ask: Any = cachetools.cached(cache, lock=threading.Lock())(load)
    return Cached(ask, ask.cache_clear)


def cachebox_(load: Callable[[], Any]) -> Cached:
    cache: Any = cachebox.TTLCache(10, TTL)
    return Cached(cachebox.cached(cache)(load), cache.clear)


def cachebox_async(load: Callable[[], Any]) -> Cached:
    cache: Any = cachebox.TTLCache(10, TTL)

    async def forget() -> None:
        cache.clear()

    return Cached(cachebox.cached(cache)(load), forget)


def moka_(load: Callable[[], Any]) -> Cached:
    cache: Any = moka_py.Moka(10, ttl=TTL)
    return Cached(lambda: cache.get_with("k", load), lambda: cache.remove("k"))


def theine_(load: Callable[[], Any]) -> Cached:
    memoize: Any = theine.Memoize(10, timedelta(seconds=TTL))
    ask = memoize(load)
    ask.key(lambda: "k")
    return Cached(ask, lambda: memoize.cache.delete("k"))


def theine_async(load: Callable[[], Any]) -> Cached:
    cached = theine_(load)

    async def forget() -> None:
        cached.forget()

    return Cached(cached.ask, forget)


def dogpile_(load: Callable[[], Any]) -> Cached:
    region: Any = make_region().configure("dogpile.cache.memory", expiration_time=TTL)
    return Cached(lambda: region.get_or_create("k", load), lambda: region.delete("k"))


def dogpile_region(load: Callable[[], Any]) -> Cached:
    region: Any = make_region().configure("dogpile.cache.memory", expiration_time=TTL)
    return Cached(lambda: region.get_or_create("k", load), region.invalidate)


def cashews_(load: Callable[[], Any]) -> Cached:
    cache: Any = cashews.Cache()
    cache.setup("mem://?check_interval=0")
    return Cached(cache(ttl=TTL, key="k")(load), lambda: cache.delete("k"))


def cashews_tags(load: Callable[[], Any]) -> Cached:
    cache: Any = cashews.Cache()
    cache.setup("mem://?check_interval=0")
    ask = cache(ttl=TTL, key="k", tags=["t"])(load)
    return Cached(ask, lambda: cache.delete_tags("t"))


def aiocache_(load: Callable[[], Any]) -> Cached:
    ask: Any = aiocache.cached(ttl=TTL, key_builder=lambda *_, **__: "k")(load)
    return Cached(ask, lambda: ask.cache.delete("k"))


def aiocache_stampede(load: Callable[[], Any]) -> Cached:
    ask: Any = aiocache.cached_stampede(lease=5, ttl=TTL, key_builder=lambda *_, **__: "k")(load)
    return Cached(ask, lambda: ask.cache.delete("k"))


SYNC: dict[str, Maker] = {
    "escala": escala_,
    "functools": functools_,
    "cachetools": cachetools_,
    "cachebox": cachebox_,
    "moka-py": moka_,
    "theine": theine_,
    "dogpile.cache": dogpile_,
    "dogpile.cache, a region": dogpile_region,
}
ASYNC: dict[str, Maker] = {
    "escala": escala_async,
    "cachebox": cachebox_async,
    "theine": theine_async,
    "cashews": cashews_,
    "cashews, tags": cashews_tags,
    "aiocache": aiocache_,
    "aiocache, stampede": aiocache_stampede,
}
