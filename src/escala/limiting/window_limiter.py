"""What the limiters that count calls in windows have in common: their options."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from escala.errors import ConfigError
from escala.kernel.config import options
from escala.kernel.units import Duration, Rate, Rates
from escala.limiting.plan import Limit
from escala.limiting.rate_limiter import Away, MaxKeys, RateLimiter
from escala.resilience.call_key import Grouping


class WindowLimiter(RateLimiter):
    """Counts whole calls in windows as long as the limit's period; a subclass names the rule.

    - `limit`: "200/s", "100/min", "10/30s"; "10/s; 1000/h" holds both: all are checked, then all
      are charged. The counts are whole numbers.
    - `key`, `max_keys`, `wait`, `store`, `away`: as for `TokenBucket`.
    """

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How many per window, and which calls count together."""

        limit: Rates
        """How many calls per time; several limits with semicolons between them."""
        key: str | None = None
        """Which calls count together, such as "client_ip"; all of them if unset."""
        max_keys: MaxKeys = 100_000
        """For how many keys state is kept."""
        wait: Duration = Duration(0)
        """How long a call waits for its turn; by default not at all."""
        store: str | None = None
        """The URL of a store in which many processes count together."""
        away: Away = "local"
        """While the store is away: a "local" share of the limit, "open" (all pass) or "closed"."""

    most_calls: ClassVar[int] = 1_000_000_000

    def __init__(
        self,
        limit: str | float | Rate | Rates,
        *,
        key: str | Grouping | None = None,
        max_keys: int = 100_000,
        wait: float | str = 0,
        store: str | None = None,
        away: Away = "local",
        name: str | None = None,
    ) -> None:
        given = {
            "limit": limit,
            "key": None if callable(key) else key,
            "max_keys": max_keys,
            "wait": wait,
            "store": store,
            "away": away,
        }
        made = options(self.Options, given, where=type(self).__name__)
        self._begin(made, key, self.kind if name is None else name)

    def _limit(self, rate: Rate) -> Limit:
        if not rate.count == int(rate.count) <= self.most_calls:
            raise ConfigError(
                f"{type(self).__name__}: limit: expected a whole number of calls per period, at "
                f"most {self.most_calls}, found {rate.text!r}"
            )
        return Limit(
            text=rate.text,
            count=rate.count,
            period=rate.per,
            burst=int(rate.count),
            rate=rate.per_second,
        )
