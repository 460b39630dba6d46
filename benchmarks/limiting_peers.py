"""What others have written to limit rates, each set up for the same task as ours.

`make(url, limit)` gives a function that takes one of `limit` an hour for a key, at once or not at
all; without a URL the state is in memory. What refuses by raising, or waits, counts as refusing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Take: TypeAlias = "Callable[[str], Any]"
BOTH = ("sync", "async")
SYNC, ASYNC = ("sync",), ("async",)
HOUR = 3600
CONNECTIONS = 256  # the usual pool of 100 raises when 128 tasks come at once
KEYS = [f"client-{number}" for number in range(1000)]


@dataclass(frozen=True)
class Peer:
    """One package's own form of one algorithm."""

    package: str
    policy: str
    make: Callable[[str, str, int], Take]
    colours: tuple[str, ...] = BOTH
    granted: Callable[[Any], bool] = bool
    many_keys: bool = False
    """A log grows with each call, so it is measured over many keys, where each stays short."""


def escala_bucket(colour: str, url: str, limit: int) -> Take:
    from escala import TokenBucket

    place: dict[str, Any] = {"store": url} if url else {}
    bucket = TokenBucket(f"{limit}/h", max_keys=200_000, **place)
    return bucket.acquire if colour == "sync" else bucket.aacquire


def escala_two_limits(colour: str, url: str, limit: int) -> Take:
    from escala import TokenBucket

    place: dict[str, Any] = {"store": url} if url else {}
    bucket = TokenBucket(f"{limit}/min; {limit}/h", **place)
    return bucket.acquire if colour == "sync" else bucket.aacquire


def limits_fixed(colour: str, url: str, limit: int) -> Take:
    return _limits("FixedWindowRateLimiter", colour, url, limit)


def limits_moving(colour: str, url: str, limit: int) -> Take:
    return _limits("MovingWindowRateLimiter", colour, url, limit)


def limits_counter(colour: str, url: str, limit: int) -> Take:
    return _limits("SlidingWindowCounterRateLimiter", colour, url, limit)


def limits_two_limits(_colour: str, _url: str, limit: int) -> Take:
    """Take one after the other, as slowapi does; not all or nothing."""
    import limits

    limiter = limits.strategies.FixedWindowRateLimiter(limits.storage.MemoryStorage())
    minute, hour = limits.RateLimitItemPerMinute(limit), limits.RateLimitItemPerHour(limit)

    def take(key: str) -> bool:
        return limiter.hit(minute, key) and limiter.hit(hour, key)

    return take


def _limits(strategy: str, colour: str, url: str, limit: int) -> Take:
    import limits
    import limits.aio

    item = limits.RateLimitItemPerHour(limit)
    storage: Any
    if colour == "sync":
        storage = limits.storage.RedisStorage(url) if url else limits.storage.MemoryStorage()
        hit = getattr(limits.strategies, strategy)(storage).hit
    else:
        places = limits.aio.storage
        if url:
            storage = places.RedisStorage(
                f"async+{url}", implementation="redispy", max_connections=CONNECTIONS
            )
        else:
            storage = places.MemoryStorage()
        hit = getattr(limits.aio.strategies, strategy)(storage).hit
    return lambda key: hit(item, key)


def pyrate_gcra(colour: str, url: str, limit: int) -> Take:
    import pyrate_limiter as pyrate

    store: Any = pyrate.RedisStateStore(_redis(colour, url), "pyrate") if url else None
    return _pyrate(colour, pyrate.StateBucket([pyrate.Rate(limit, HOUR * 1000)], store=store))


def pyrate_log(colour: str, url: str, limit: int) -> Take:
    import pyrate_limiter as pyrate

    rates = [pyrate.Rate(limit, HOUR * 1000)]
    if url:
        return _pyrate(colour, pyrate.RedisBucket.init(rates, _redis(colour, url), "pyrate-log"))
    return _pyrate(colour, pyrate.InMemoryBucket(rates))


def _pyrate(colour: str, bucket: Any) -> Take:  # noqa: ANN401  a peer's own
    import pyrate_limiter as pyrate

    limiter = pyrate.Limiter(pyrate.SingleBucketFactory(bucket, schedule_leak=False))
    acquire: Any = limiter.try_acquire if colour == "sync" else limiter.try_acquire_async
    return lambda key: acquire(key, blocking=False)


def _redis(colour: str, url: str) -> Any:  # noqa: ANN401  one of two clients
    import redis
    import redis.asyncio

    return (redis if colour == "sync" else redis.asyncio).Redis.from_url(url)


def throttled_gcra(colour: str, url: str, limit: int) -> Take:
    return _throttled("gcra", colour, url, limit)


def throttled_bucket(colour: str, url: str, limit: int) -> Take:
    return _throttled("token_bucket", colour, url, limit)


def _throttled(using: str, colour: str, url: str, limit: int) -> Take:
    import throttled
    import throttled.asyncio

    place: Any = throttled if colour == "sync" else throttled.asyncio
    if url:
        pool = {"CONNECTION_POOL_KWARGS": {"max_connections": CONNECTIONS}}
        store = place.RedisStore(server=url, options=pool)
    else:
        store = place.MemoryStore(options={"MAX_SIZE": 200_000})
    quota = throttled.per_hour(limit, burst=limit)
    limiter = place.Throttled(using=using, quota=quota, store=store)
    take: Take = limiter.limit
    return take


def aiolimiter_bucket(_colour: str, _url: str, limit: int) -> Take:
    from aiolimiter import AsyncLimiter

    limiter = AsyncLimiter(limit, HOUR)
    return lambda _key: limiter.acquire()


def hyx_bucket(_colour: str, _url: str, limit: int) -> Take:
    from hyx.ratelimit.managers import TokenBucketLimiter

    limiter = TokenBucketLimiter(limit, HOUR, limit)
    return lambda _key: limiter.acquire()


def pyresilience_bucket(colour: str, _url: str, limit: int) -> Take:
    import pyresilience

    kinds = {"sync": pyresilience.RateLimiter, "async": pyresilience.AsyncRateLimiter}
    config = pyresilience.RateLimiterConfig(max_calls=limit, period=HOUR)
    limiter: Any = kinds[colour](config)
    return lambda _key: limiter.acquire()


def _not_limited(answer: Any) -> bool:  # noqa: ANN401  a peer's own
    return not answer.limited


def _anything(_answer: object) -> bool:
    return True


IN_MEMORY = [
    Peer("aiolimiter", "leaky_bucket", aiolimiter_bucket, ASYNC, granted=_anything),
    Peer("hyx", "token_bucket", hyx_bucket, ASYNC, granted=_anything),
    Peer("limits", "fixed_window", limits_fixed),
    Peer("limits", "moving_window", limits_moving, many_keys=True),
    Peer("limits", "window_counter", limits_counter),
    Peer("limits", "two_limits", limits_two_limits, SYNC),
    Peer("pyrate", "gcra", pyrate_gcra),
    Peer("pyrate", "log", pyrate_log, SYNC),
    Peer("pyresilience", "token_bucket", pyresilience_bucket),
    Peer("throttled", "gcra", throttled_gcra, granted=_not_limited),
    Peer("throttled", "token_bucket", throttled_bucket, granted=_not_limited),
]
OVER_REDIS = [
    # The first of each package is its cheapest, and carries no algorithm in its metrics' names.
    Peer("limits", "", limits_fixed),
    Peer("limits", "moving_window", limits_moving, SYNC, many_keys=True),
    Peer("limits", "window_counter", limits_counter, SYNC),
    Peer("pyrate", "", pyrate_gcra, SYNC),
    Peer("throttled", "", throttled_gcra, granted=_not_limited),
]
OURS = Peer("escala", "", escala_bucket)
TWO_LIMITS = Peer("escala", "two_limits", escala_two_limits)


def admitted(peer: Peer, take: Take, colour: str, loop: asyncio.Runner, tries: int) -> int:
    """Count how many of so many calls for one key are let through at once."""

    async def granted_async() -> bool:
        return peer.granted(await asyncio.wait_for(take("check"), 0.05))

    def granted() -> bool:
        try:
            return loop.run(granted_async()) if colour == "async" else peer.granted(take("check"))
        except Exception:  # noqa: BLE001  a refusal of its own, or too long a wait
            return False

    return sum(granted() for _ in range(tries))
