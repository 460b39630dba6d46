"""Let so many calls pass per second, for each client if you like, with room for a short burst."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from escala.errors import ConfigError
from escala.kernel.config import options
from escala.kernel.units import Duration, Rate, Rates
from escala.limiting.plan import Limit
from escala.limiting.rate_limiter import Away, MaxKeys, RateLimiter
from escala.resilience.call_key import Grouping

_GUARD = 0.001  # of a token; what a strict limit gives up so that no rounding can exceed it


class TokenBucket(RateLimiter):
    """Limit calls to a rate; what a quiet moment has saved may come at once, up to `burst`.

    - `limit`: "200/s", "100/min", "10/30s"; "10/s; 1000/h" holds both: all are checked, then all
      are charged, so a call that one refuses costs the others nothing.
    - `burst`: how many may come at once after a quiet moment; by default as many as the limit
      counts. In any time t at most burst + rate * t calls pass. Of several limits it is the
      burst of the one with the shortest period.
    - `key`: which calls count together. None: all. A name such as "client_ip" or "tenant": those
      whose `current_request().get(name)` is the same. Or a function of the current request (or
      None). Calls without a value share one bucket.
    - `max_keys`: for so many keys it keeps their state, about 150 bytes each. A key whose bucket
      is full again makes room for a new one at no loss. When more than that are in use at once,
      the one nearest to full, of the eight looked at, is forgotten: **its next calls find a full
      bucket**, up to `burst` more than the limit allows.
    - `strict`: let no period, wherever it begins, hold more than the limit counts. The count N is
      split: `burst` (by default a tenth of N) at once, and the other N + 1 - burst spread evenly
      over the period. What is left unused for a while is lost beyond the burst.
    - `wait`: how long a call waits for its turn, first come, first served; by default not at all.
    - `store`: the URL of a store in which many processes count together.
    - `away`: what to do while that store does not answer.

    As a policy it raises `RateLimited`, whose `retry_after` is exact if no one else comes.
    `acquire` (and `aacquire`) answer with a `Decision` instead. The algorithm is GCRA: one number
    a key, no thread, no timer.

    >>> limiter = TokenBucket("10/min", burst=2)
    >>> [limiter.acquire("ann").allowed for _ in range(3)]
    [True, True, False]
    """

    kind: ClassVar[str] = "rate_limit"
    algorithm: ClassVar[str] = "token_bucket"

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How many per time, how many at once, and which calls count together."""

        limit: Rates
        """How many calls per time; several limits with semicolons between them."""
        burst: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] | None = None
        """How many may come at once after a quiet moment; as many as the limit counts if unset."""
        key: str | None = None
        """Which calls count together, such as "client_ip"; all of them if unset."""
        max_keys: MaxKeys = 100_000
        """For how many keys state is kept."""
        strict: bool = False
        """Whether no period, wherever it begins, may hold more than the limit counts."""
        wait: Duration = Duration(0)
        """How long a call waits for its turn; by default not at all."""
        store: str | None = None
        """The URL of a store in which many processes count together."""
        away: Away = "local"
        """While the store is away: a "local" share of the limit, "open" (all pass) or "closed"."""

    def __init__(
        self,
        limit: str | float | Rate | Rates,
        *,
        burst: int | None = None,
        key: str | Grouping | None = None,
        max_keys: int = 100_000,
        strict: bool = False,
        wait: float | str = 0,
        store: str | None = None,
        away: Away = "local",
        name: str = "rate_limit",
    ) -> None:
        given = {
            "limit": limit,
            "burst": burst,
            "key": None if callable(key) else key,
            "max_keys": max_keys,
            "strict": strict,
            "wait": wait,
            "store": store,
            "away": away,
        }
        self._begin(options(self.Options, given, where="TokenBucket"), key, name)

    def _strict(self) -> bool:
        return bool(self.options.strict)

    def _limit(self, rate: Rate) -> Limit:
        burst, per_second = self._burst(rate), rate.per_second
        if self.options.strict:
            most = int(rate.count)
            burst = max(1, most // 10) if burst is None else burst
            if not burst <= most == rate.count:
                raise ConfigError(
                    "TokenBucket: strict: expected a whole number of calls per period and a burst "
                    f"that is a part of it, found {rate.text!r} and a burst of {burst}"
                )
            per_second = (most + 1 - burst - _GUARD) / rate.per
        return Limit(
            text=rate.text,
            count=rate.count,
            period=rate.per,
            burst=burst or max(1, int(rate.count)),
            rate=per_second,
        )
