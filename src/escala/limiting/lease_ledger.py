"""Ask the store once for many tokens, where one key is asked for very often."""

from __future__ import annotations

import threading

from escala.errors import ConfigError
from escala.kernel.at_fork import begin_anew, free
from escala.kernel.runtime import Runtime
from escala.limiting.decision import Decision
from escala.limiting.ledger import Ledger
from escala.limiting.plan import Plan
from escala.limiting.pure.lease import Leases


class LeaseLedger:
    """A ledger that takes `lease` tokens at once for a key that is hot, and spends them here.

    They are charged in the store when they are taken, so all processes together never take more
    than the limit. But they may be spent up to a second later, so a period may hold more: what
    the processes had left when it began, which is **at most the number of processes times
    `lease`**, and at most what the limit lets pass in that second. What is not spent within the
    second is lost. A strict limit is refused.
    """

    def __init__(self, ledger: Ledger, plan: Plan, *, lease: int, max_keys: int) -> None:
        if plan.strict:
            raise ConfigError(
                f"{plan.name}: store: lease: expected none for a limit that holds strictly, since "
                f"leased tokens are spent later; found {lease}"
            )
        if lease > plan.most:
            raise ConfigError(
                f"{plan.name}: store: lease: expected at most the {plan.most} that may pass at "
                f"once, found {lease}"
            )
        self._ledger, self._lease, self._max_keys = ledger, lease, max_keys
        self._lock = threading.RLock()
        self._begin()
        begin_anew(self, LeaseLedger._forked)

    def _begin(self) -> None:
        self._leases = Leases(self._lease, self._max_keys)

    def _forked(self) -> None:
        free(self._lock)  # and what the parent has leased is the parent's to spend
        self._begin()

    async def take(
        self, key: str, cost: int, runtime: Runtime, wait: float = 0.0
    ) -> tuple[Decision, float]:
        """Take tokens of the lease, or of the store; who waits, waits for the store's."""
        with self._lock:
            now = runtime.now()
            spent = self._leases.spend(key, cost, now)
            fetch = spent is None and self._leases.begin(key, cost, now)
        if spent is not None:
            return spent, 0.0
        if fetch and (decision := await self._fetched(key, cost, runtime)).allowed:
            return decision, 0.0
        return await self._ledger.take(key, cost, runtime, wait)

    async def peek(self, key: str, runtime: Runtime) -> Decision:
        """How a call of cost 1 would fare in the store."""
        return await self._ledger.peek(key, runtime)

    async def reset(self, key: str, runtime: Runtime) -> None:
        """Forget what a key has used, and what this process has leased."""
        with self._lock:
            self._leases.forget(key)
        await self._ledger.reset(key, runtime)

    async def refund(self, key: str, cost: int, runtime: Runtime) -> None:
        """Give tokens back to the lease, or to the store."""
        with self._lock:
            here = self._leases.give_back(key, cost, runtime.now())
        if not here:
            await self._ledger.refund(key, cost, runtime)

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    async def _fetched(self, key: str, cost: int, runtime: Runtime) -> Decision:
        decision: Decision | None = None
        try:
            decision, _ = await self._ledger.take(key, self._leases.most, runtime)
        finally:
            with self._lock:
                self._leases.end(key, cost, decision, runtime.now())
        return decision
