"""A ledger in memory that can be away, slow, and is watched."""

from __future__ import annotations

from escala.errors import StoreUnavailable
from escala.kernel.runtime import Runtime
from escala.limiting import Decision, Plan
from escala.limiting.memory_ledger import MemoryLedger


class FakeLedger:
    """Counts as the real ones do; `gone` makes it fail, and `asked` says what it was asked."""

    def __init__(self, plan: Plan) -> None:
        self._memory = MemoryLedger(plan)
        self.gone, self.delay, self.closed = False, 0.0, 0
        self.asked: list[tuple[str, int]] = []

    async def _begin(self, verb: str, cost: int, runtime: Runtime) -> None:
        self.asked.append((verb, cost))
        if self.delay:
            await runtime.sleep(self.delay)
        if self.gone:
            raise StoreUnavailable("the store is on holiday")

    async def take(
        self, key: str, cost: int, runtime: Runtime, wait: float = 0.0
    ) -> tuple[Decision, float]:
        await self._begin("take" if not wait else "wait", cost, runtime)
        return await self._memory.take(key, cost, runtime, wait)

    async def peek(self, key: str, runtime: Runtime) -> Decision:
        await self._begin("peek", 0, runtime)
        return await self._memory.peek(key, runtime)

    async def reset(self, key: str, runtime: Runtime) -> None:
        await self._begin("reset", 0, runtime)
        await self._memory.reset(key, runtime)

    async def refund(self, key: str, cost: int, runtime: Runtime) -> None:
        await self._begin("refund", cost, runtime)
        await self._memory.refund(key, cost, runtime)

    def close(self) -> None:
        self.closed += 1
