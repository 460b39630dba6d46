"""A limiter's counts in Redis or Valkey, for processes on many machines."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from escala.errors import ConfigError, StoreUnavailable
from escala.kernel.runtime import Runtime
from escala.limiting import redis_scripts
from escala.limiting.decision import Decision
from escala.limiting.plan import Plan
from escala.limiting.pure.redis_plan import RedisPlan
from escala.limiting.trying_again import trying_again
from escala.stores.script_link import open_link

_SCRIPTS = {
    "token_bucket": redis_scripts.BUCKET,
    "leaky_bucket": redis_scripts.BUCKET,
    "sliding_window_log": redis_scripts.LOG,
    "sliding_window_counter": redis_scripts.COUNTER,
    "fixed_window": redis_scripts.FIXED,
}
_LONGEST = 10**8  # seconds; a place is not taken further ahead than three years

_HOT = 1024  # keys whose names are kept, about 200 bytes each


class RedisLedger:
    """The `Ledger` behind "redis://host:6379/0": one script and one round trip for each decision.

    The script reads the server's clock, so what the processes think of the time is of no account.
    It checks all limits and then charges all or none. Each key ends by itself when it says no
    more than none would. A bucket's takes at most 64 bytes for one limit, its name included.
    Redis 5 or newer, or Valkey.

    What was charged for a caller that is cancelled while Redis is asked stays charged. Places
    ahead are kept by who asks first; one that is given up goes to who comes next, so that then as
    many as were given up may pass at once beyond the burst. A strict limit gives out no places:
    who waits comes back.
    """

    def __init__(self, url: str, plan: Plan) -> None:
        self._plan = RedisPlan(plan)
        self._names = lru_cache(maxsize=_HOT)(self._plan.names)
        self._one = (1, 0, *self._plan.numbers)
        try:
            self._script = _SCRIPTS[plan.algorithm]
            self._link = open_link(url)
        except ConfigError as error:
            raise ConfigError(
                *(f"{plan.name}: store: {each}" for each in error.problems)
            ) from error

    async def take(
        self, key: str, cost: int, runtime: Runtime, wait: float = 0.0
    ) -> tuple[Decision, float]:
        """Take tokens, or a place up to `wait` seconds ahead, as `Ledger.take` says."""
        if wait <= 0:
            words = self._one if cost == 1 else (cost, 0, *self._plan.numbers)
            names = self._names(key)
            return self._read(await self._link.run(self._script, names, words, runtime))

        async def once(wait: float) -> tuple[Decision, float]:
            ahead = int(min(wait, _LONGEST) * 1_000_000) if self._plan.reserves else 0
            return self._read(await self._run(key, cost, ahead, runtime))

        return await trying_again(once, runtime, wait, reserves=self._plan.reserves)

    async def peek(self, key: str, runtime: Runtime) -> Decision:
        """How a call of cost 1 would fare now."""
        return self._read(await self._run(key, 0, 0, runtime), look=True)[0]

    async def reset(self, key: str, runtime: Runtime) -> None:
        """Forget what a key has used."""
        await self._link.run(redis_scripts.FORGET, self._names(key), (), runtime)

    async def refund(self, key: str, cost: int, runtime: Runtime) -> None:
        """Give back tokens that were not used."""
        await self._run(key, -cost, 0, runtime)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    async def _run(self, key: str, cost: int, ahead: int, runtime: Runtime) -> Any:  # noqa: ANN401
        names, numbers = self._names(key), self._plan.numbers
        return await self._link.run(self._script, names, (cost, ahead, *numbers), runtime)

    def _read(self, answer: Any, *, look: bool = False) -> tuple[Decision, float]:  # noqa: ANN401
        try:
            return self._plan.decision(answer, look=look)
        except (TypeError, ValueError) as error:
            raise StoreUnavailable(f"the store gave no answer of ours: {answer!r:.100}") from error
