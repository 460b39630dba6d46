"""Let calls out at a constant rate, whatever the bursts in which they come in."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import msgspec

from escala.errors import ConfigError
from escala.kernel.config import options
from escala.kernel.units import Duration, Rate, Rates
from escala.limiting.plan import Limit
from escala.limiting.rate_limiter import Away, MaxKeys, RateLimiter
from escala.resilience.call_key import Grouping

_QUEUE = 100
_SLACK = 1e-6  # of a call; what the rounding of floats may cost is not refused


class LeakyBucket(RateLimiter):
    """Protect what takes one call after the other: each leaves 1/rate after the one before.

    - `limit`: "200/s", "100/min"; the rate at which the bucket leaks.
    - `shape`: "meter" measures: a call that would make the bucket overflow is refused, the others
      go on at once. "queue" delays: a call waits in the bucket until it leaks out.
    - `burst`: how many calls the meter's bucket holds; by default as many as the limit counts.
    - `queue`: how many calls may wait in the queue's bucket, 100 by default; who finds it full is
      refused.
    - `key`, `max_keys`, `store`, `away`: as for `TokenBucket`. Each key has its own bucket.
    - `wait`: with a meter, how long a call waits for its turn, by default not at all. In a queue
      a call waits for as long as the queue takes; `wait` refuses those that would wait longer.

    The meter decides as a token bucket does, which is the same bucket seen from the other side:
    one counts what is left, the other what is in it. The queue is what nginx calls `limit_req`
    with `burst` and without `nodelay`. Calls of the queue cost 1 each. Both raise `RateLimited`.

    >>> printer = LeakyBucket("50/s", shape="queue", queue=1)
    >>> [printer.acquire("floor 1").allowed for _ in range(3)]  # the others 20 ms later each
    [True, True, True]
    """

    kind: ClassVar[str] = "leaky_bucket"
    algorithm: ClassVar[str] = "leaky_bucket"

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How fast calls leave, how many may be in the bucket, and which calls count together."""

        limit: Rates
        """How many calls per time leave the bucket."""
        shape: Literal["meter", "queue"] = "meter"
        """Whether a call passes at once or is refused ("meter"), or is delayed ("queue")."""
        burst: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] | None = None
        """How many calls a meter's bucket holds; as many as the limit counts if unset."""
        queue: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] | None = None
        """How many calls may wait in a queue; 100 if unset."""
        key: str | None = None
        """Which calls count together, such as "client_ip"; all of them if unset."""
        max_keys: MaxKeys = 100_000
        """For how many keys state is kept."""
        wait: Duration | None = None
        """The longest wait: by default none for a meter, and all that a queue takes."""
        store: str | None = None
        """The URL of a store in which many processes count together."""
        away: Away = "local"
        """While the store is away: a "local" share of the limit, "open" (all pass) or "closed"."""

    def __init__(
        self,
        limit: str | float | Rate | Rates,
        *,
        shape: Literal["meter", "queue"] = "meter",
        burst: int | None = None,
        queue: int | None = None,
        key: str | Grouping | None = None,
        max_keys: int = 100_000,
        wait: float | str | None = None,
        store: str | None = None,
        away: Away = "local",
        name: str = "leaky_bucket",
    ) -> None:
        given = {
            "limit": limit,
            "shape": shape,
            "burst": burst,
            "queue": queue,
            "key": None if callable(key) else key,
            "max_keys": max_keys,
            "wait": wait,
            "store": store,
            "away": away,
        }
        made = options(self.Options, given, where="LeakyBucket")
        _check(made)
        self._begin(made, key, name)

    def _limit(self, rate: Rate) -> Limit:
        whole = 1 if self.options.shape == "queue" else max(1, int(rate.count))
        return Limit(
            text=rate.text,
            count=rate.count,
            period=rate.per,
            burst=self._burst(rate) or whole,
            rate=rate.per_second,
        )

    def _waits(self) -> tuple[float, float]:
        wait = self.options.wait
        if self.options.shape == "meter":
            return float(wait or 0), math.inf
        rate = self.options.limit.each[0].per_second
        full = ((self.options.queue or _QUEUE) + _SLACK) / rate  # in which the last one leaves
        return min(full, full if wait is None else wait), full


def _check(given: LeakyBucket.Options) -> None:
    if given.shape == "queue" and given.burst is not None:
        raise ConfigError(
            "LeakyBucket: burst: expected only with shape 'meter', since a queue lets calls out "
            f"one by one; found {given.burst} (did you mean `queue`?)"
        )
    if given.shape == "queue" and len(given.limit.each) > 1:
        raise ConfigError(
            "LeakyBucket: limit: expected one rate at which a queue lets calls out, "
            f"found {given.limit.text!r}"
        )
    if given.shape == "meter" and given.queue is not None:
        raise ConfigError(
            "LeakyBucket: queue: expected only with shape 'queue', since in a meter no one waits; "
            f"found {given.queue} (did you mean `burst`?)"
        )
