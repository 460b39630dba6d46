"""What others have written to cache in one process, each set up for the same task as ours.

A maker takes a size and gives two functions: `get(key)`, and `put(key, value)`. All entries have
a time to live, except in `functools.lru_cache`, which has none, and all are bounded, except in
aiocache and dogpile.cache, which are not; what is not safe from threads gets a lock, as its manual
says. A memo's maker takes a function of one number and gives it back with a cache around it.
"""

from __future__ import annotations

import datetime as dt
import functools
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Get: TypeAlias = "Callable[[str], Any]"
Put: TypeAlias = "Callable[[str, Any], Any]"
TTL = 3600
SYNC, ASYNC = "sync", "async"


@dataclass(frozen=True)
class Peer:
    """One package's own cache; `memo` is its decorator, if it has one."""

    package: str
    make: Callable[[int], tuple[Get, Put]]
    memo: Callable[[int, Callable[[int], Any]], Callable[[int], Any]] | None = None
    colour: str = SYNC
    bounded: bool = True


def functools_cache(size: int) -> tuple[Get, Put]:
    """Nothing can be put in: the function is asked, and what it answers is kept."""
    values: dict[str, Any] = {}
    get = functools.lru_cache(maxsize=size)(values.get)

    def put(key: str, value: object) -> None:
        values[key] = value
        get(key)
        del values[key]

    return get, put


def functools_memo(size: int, fn: Callable[[int], Any]) -> Callable[[int], Any]:
    return functools.lru_cache(maxsize=size)(fn)


def cachetools_cache(size: int) -> tuple[Get, Put]:
    import cachetools

    cache, lock = cachetools.TTLCache[str, Any](size, TTL), threading.Lock()

    def get(key: str) -> Any:  # noqa: ANN401  whatever was put in
        with lock:
            return cache.get(key)

    def put(key: str, value: object) -> None:
        with lock:
            cache[key] = value

    return get, put


def cachetools_memo(size: int, fn: Callable[[int], Any]) -> Callable[[int], Any]:
    import cachetools

    cache = cachetools.TTLCache[Any, Any](size, TTL)
    return cachetools.cached(cache, lock=threading.Lock())(fn)


def cachebox_cache(size: int) -> tuple[Get, Put]:
    import cachebox

    cache: Any = cachebox.TTLCache(size, TTL)
    return cache.get, cache.insert


def cachebox_memo(size: int, fn: Callable[[int], Any]) -> Callable[[int], Any]:
    import cachebox

    cache: Any = cachebox.TTLCache(size, TTL)
    wrapped: Callable[[int], Any] = cachebox.cached(cache)(fn)
    return wrapped


def moka_cache(size: int) -> tuple[Get, Put]:
    import moka_py

    cache: Any = moka_py.Moka(size, ttl=TTL)
    return cache.get, cache.set


def moka_memo(size: int, fn: Callable[[int], Any]) -> Callable[[int], Any]:
    import moka_py

    wrapped: Any = moka_py.cached(maxsize=size, ttl=TTL)(fn)
    return wrapped


def theine_cache(size: int) -> tuple[Get, Put]:
    import theine

    cache: Any = theine.Cache(size)
    ttl = dt.timedelta(seconds=TTL)

    def get(key: str) -> Any:  # noqa: ANN401
        value, _found = cache.get(key)
        return value

    return get, lambda key, value: cache.set(key, value, ttl)


def theine_memo(size: int, fn: Callable[[int], Any]) -> Callable[[int], Any]:
    import theine

    made: Any = theine.Memoize(size, dt.timedelta(seconds=TTL))(fn)
    made.key(lambda number: f"item:{number}")
    return made


def dogpile_cache(_size: int) -> tuple[Get, Put]:
    from dogpile.cache import make_region

    region: Any = make_region().configure("dogpile.cache.memory", expiration_time=TTL)
    return region.get, region.set


def dogpile_memo(_size: int, fn: Callable[[int], Any]) -> Callable[[int], Any]:
    from dogpile.cache import make_region

    region: Any = make_region().configure("dogpile.cache.memory", expiration_time=TTL)
    wrapped: Callable[[int], Any] = region.cache_on_arguments()(fn)
    return wrapped


def aiocache_cache(_size: int) -> tuple[Get, Put]:
    from aiocache import SimpleMemoryCache

    cache: Any = SimpleMemoryCache(ttl=TTL)
    return cache.get, cache.set


def aiocache_memo(_size: int, fn: Callable[[int], Any]) -> Callable[[int], Any]:
    import aiocache

    wrapped: Any = aiocache.cached(ttl=TTL)(fn)
    return wrapped


def cashews_cache(size: int) -> tuple[Get, Put]:
    from cashews import Cache

    cache: Any = Cache()
    cache.setup(f"mem://?size={size}&check_interval=0")
    return cache.get, lambda key, value: cache.set(key, value, expire=TTL)


def cashews_memo(size: int, fn: Callable[[int], Any]) -> Callable[[int], Any]:
    from cashews import Cache

    cache: Any = Cache()
    cache.setup(f"mem://?size={size}&check_interval=0")
    wrapped: Callable[[int], Any] = cache(ttl=TTL, key="item:{number}")(fn)
    return wrapped


PEERS = [
    Peer("functools", functools_cache, functools_memo),
    Peer("cachetools", cachetools_cache, cachetools_memo),
    Peer("cachebox", cachebox_cache, cachebox_memo),
    Peer("moka-py", moka_cache, moka_memo),
    Peer("theine", theine_cache, theine_memo),
    Peer("cashews", cashews_cache, cashews_memo, ASYNC),
    Peer("aiocache", aiocache_cache, aiocache_memo, ASYNC, bounded=False),
    Peer("dogpile.cache", dogpile_cache, dogpile_memo, bounded=False),
]
