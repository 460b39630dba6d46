"""What a limiter does while its store is away: decide alone, let all pass, or let none pass."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal, TypeVar

import msgspec

from escala.errors import CircuitOpen, StoreUnavailable
from escala.kernel.at_fork import begin_anew, free
from escala.kernel.events import publish
from escala.kernel.runtime import Runtime
from escala.limiting.decision import Decision
from escala.limiting.events import LimiterStoreChanged
from escala.limiting.ledger import Ledger
from escala.limiting.memory_ledger import MemoryLedger
from escala.limiting.plan import Plan
from escala.resilience.circuit_breaker import CircuitBreaker
from escala.resilience.pure.breaker_table import BreakerState

T = TypeVar("T")

_FAILURES = 3
_COOLDOWN = 1.0


class AwayLedger:
    """A ledger over another that never lets a call fail because the store does.

    While the store does not answer, or answers with an error, what `away` says is done instead:
    "local" counts in this process one of `nodes` equal parts of the limit (the whole if no one
    says how many there are), beginning with a full one; "open" lets every call pass, "closed"
    none. After three failures in a row the store is left alone, and asked again once a second
    until it answers.

    So while a store is away, at most the limit passes (and a burst more when it goes and when it
    comes back), if `nodes` is the number of processes.
    """

    def __init__(
        self,
        ledger: Ledger,
        plan: Plan,
        *,
        away: Literal["local", "open", "closed"],
        max_keys: int,
        nodes: int | None,
    ) -> None:
        self._ledger, self._plan, self._what = ledger, plan, away
        self._max_keys, self._nodes = max_keys, nodes
        self._breaker = CircuitBreaker(
            failure_rate=None,
            consecutive=_FAILURES,
            cooldown=_COOLDOWN,
            on=StoreUnavailable,
            name=f"{plan.name}.store",
        )
        self._away, self._alone, self._reason = False, 0, ""
        self._lock, self._share = threading.RLock(), nodes or 1
        self._begin()
        begin_anew(self, AwayLedger._forked)

    def _begin(self) -> None:
        self._local = MemoryLedger(self._plan, max_keys=self._max_keys, share=self._share)

    def _forked(self) -> None:
        free(self._lock)
        self._begin()

    def divide(self, nodes: int) -> None:
        """Begin to count one of so many parts while the store is away, unless `nodes` was said."""
        if self._nodes is None:
            self._share = nodes
            self._begin()

    def snapshot(self) -> dict[str, float]:
        """For metrics: whether the store is away, and how many calls were decided without it."""
        with self._lock:
            return {"store_away": float(self._away), "without_store": float(self._alone)}

    async def take(
        self, key: str, cost: int, runtime: Runtime, wait: float = 0.0
    ) -> tuple[Decision, float]:
        """Take tokens of the store, or do without it."""
        breaker = self._breaker
        try:
            patience = self._patience(wait)
            permit = breaker.enter(runtime)  # the steps of `around`, at half its cost
            try:
                found = await self._ledger.take(key, cost, runtime, patience)
            except BaseException as error:
                breaker.failed(permit, error, runtime)
                raise
            breaker.passed(permit, found, runtime)
            if self._away:
                self._answered(runtime)
                if wait and not found[0].allowed:
                    ask = partial(self._ledger.take, key, cost, runtime, self._patience(wait))
                    return await self._breaker.around(ask, runtime)
        except (StoreUnavailable, CircuitOpen) as error:
            self._went(error, runtime)
            if self._what != "local":
                return self._flat(error), 0.0
            decision, sleep = await self._local.take(key, cost, runtime, wait)
            return msgspec.structs.replace(decision, away=True), sleep
        return found

    async def peek(self, key: str, runtime: Runtime) -> Decision:
        """How a call of cost 1 would fare now."""
        try:
            return await self._ask(lambda: self._ledger.peek(key, runtime), runtime)
        except (StoreUnavailable, CircuitOpen) as error:
            self._why(error)
            if self._what != "local":
                return self._flat(error)
            return msgspec.structs.replace(await self._local.peek(key, runtime), away=True)

    async def reset(self, key: str, runtime: Runtime) -> None:
        """Forget what a key has used. Raises `StoreUnavailable` when the store cannot."""
        await self._local.reset(key, runtime)
        try:
            await self._ask(lambda: self._ledger.reset(key, runtime), runtime)
        except StoreUnavailable as error:
            self._why(error)
            raise
        except CircuitOpen as error:
            raise StoreUnavailable(
                f"{self._plan.name}: the store is away, and is asked once a second whether it is "
                f"back; last: {self._reason}"
            ) from error

    async def refund(self, key: str, cost: int, runtime: Runtime) -> None:
        """Give tokens back to the store, or while it is away to this process's part."""
        try:
            await self._ask(lambda: self._ledger.refund(key, cost, runtime), runtime)
        except (StoreUnavailable, CircuitOpen) as error:
            self._why(error)
            await self._local.refund(key, cost, runtime)

    def close(self) -> None:
        """Close the store's connections."""
        self._ledger.close()

    async def _ask(self, call: Callable[[], Awaitable[T]], runtime: Runtime) -> T:
        answer = await self._breaker.around(call, runtime)
        if self._away:
            self._answered(runtime)
        return answer

    def _patience(self, wait: float) -> float:
        """A probe does not wait for its turn: no one else may ask the store meanwhile."""
        return wait if not wait or self._breaker.state is BreakerState.CLOSED else 0.0

    def _answered(self, runtime: Runtime) -> None:
        if self._breaker.state is BreakerState.CLOSED:
            self._turn("the store answers again", runtime, away=False)

    def _why(self, error: StoreUnavailable | CircuitOpen) -> str:
        """What the store or the way to it said last; a breaker that is open does not know."""
        if isinstance(error, StoreUnavailable):
            self._reason = str(error)
        return self._reason

    def _went(self, error: StoreUnavailable | CircuitOpen, runtime: Runtime) -> None:
        """A call has to be decided without the store."""
        reason = self._why(error)
        with self._lock:
            self._alone += 1
        if not self._away and self._breaker.state is not BreakerState.CLOSED:
            self._turn(reason, runtime, away=True)

    def _turn(self, reason: str, runtime: Runtime, *, away: bool) -> None:
        with self._lock:
            if self._away == away:
                return
            self._away = away
        name = self._plan.name
        publish(LimiterStoreChanged(name=name, at=runtime.now(), away=away, reason=reason))

    def _flat(self, error: StoreUnavailable | CircuitOpen) -> Decision:
        """The same answer for every call."""
        allowed = self._what == "open"
        nth = min(range(len(self._plan.limits)), key=lambda nth: self._plan.limits[nth].burst)
        bursts = [limit.burst if allowed else 0 for limit in self._plan.limits]
        again = getattr(error, "retry_after", None) or _COOLDOWN
        reset = 0.0 if allowed else again
        return Decision(
            allowed=allowed,
            limit=self._plan.limits[nth].burst,
            remaining=bursts[nth],
            reset_after=reset,
            retry_after=reset,
            decided_by=nth,
            each=tuple([(burst, reset) for burst in bursts]) if len(bursts) > 1 else (),
            away=True,
        )
