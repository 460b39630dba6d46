"""A stall of ten seconds under steady load: who is back afterwards, and who keeps it down.

The service serves 100 calls a second, first come, first served, and finishes what it has begun
though the caller has gone. 80 calls a second arrive. Each tries at most four times for a second.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from escala.errors import EscalaError
from escala.kernel.policy import Policy
from escala.kernel.stack import Stack
from escala.resilience import Bulkhead, CircuitBreaker, Retry, Timeout
from escala.testing import VirtualRuntime

STALL_BEGINS, STALL_ENDS, END = 5.0, 15.0, 40.0


class Service:
    """One worker that takes 10 ms for each call and does nothing during the stall."""

    def __init__(self, world: VirtualRuntime) -> None:
        self.world, self.free_at = world, 0.0

    async def call(self) -> None:
        now = self.world.now()
        start = max(now, self.free_at)
        if STALL_BEGINS <= start < STALL_ENDS:
            start = STALL_ENDS
        self.free_at = start + 0.01
        await self.world.sleep(self.free_at - now)


def naive() -> Policy:
    return Stack(Retry(4, base=0, budget=None), Timeout("1s"))


def careful() -> Policy:
    return Stack(
        Retry(4, base="100ms", budget="20%"),
        CircuitBreaker(failure_rate="50%", window="10s", cooldown="2s", minimum_calls=20),
        Bulkhead(slots=60),
        Timeout("1s"),
    )


def good_calls_each_second(make: Callable[[], Policy], seed: int) -> Counter[int]:
    world = VirtualRuntime(seed)
    service, policy = Service(world), make()
    good: Counter[int] = Counter()

    async def one() -> None:
        try:
            await policy.acall(service.call)
        except (EscalaError, TimeoutError):
            return
        good[int(world.now())] += 1

    async def main() -> None:
        tasks = []
        while world.now() < END:
            tasks.append(world.spawn(one()))
            await world.sleep(world.rng.expovariate(80))
        await asyncio.gather(*tasks)

    world.run(main())
    world.close()
    return good


@pytest.mark.parametrize("seed", range(1, 4))
def test_budget_breaker_and_bulkhead_recover_and_naive_retries_do_not(seed: int) -> None:
    careful_, naive_ = (good_calls_each_second(make, seed) for make in (careful, naive))
    before = sum(careful_[second] for second in range(1, 5)) / 4
    assert before > 65
    after = range(int(STALL_ENDS) + 15, int(END))
    recovered = sum(careful_[second] for second in after) / len(after)
    stuck = sum(naive_[second] for second in after) / len(after)
    assert recovered > 0.9 * before
    assert stuck < 0.3 * before
