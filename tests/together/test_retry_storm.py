"""A stall of ten seconds under steady load: who is back afterwards, and who keeps it down.

The service serves 100 calls a second, first come, first served, and finishes what it has begun
though the caller has gone. 80 calls a second arrive. Each tries at most four times for a second.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from escala.errors import EscalaError
from escala.kernel.policy import Policy
from escala.kernel.stack import Stack
from escala.resilience import Retry, Timeout, standard
from escala.testing import VirtualRuntime

LOAD = 80.0
STALL_BEGINS, STALL_ENDS, BACK_BY, END = 5, 15, 30, 42


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


def naive(rng: Random) -> Policy:
    """Backoff, full jitter and a timeout: what one has without a budget and a breaker."""
    return Stack(Retry(4, budget=None, rng=rng), Timeout("1s"))


def careful(rng: Random) -> Policy:
    return standard(attempts=4, timeout="1s", rng=rng)


def good_calls_each_second(make: Callable[[Random], Policy], seed: int) -> Counter[int]:
    world = VirtualRuntime(seed)
    service, policy = Service(world), make(world.rng)
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
            await world.sleep(world.rng.uniform(0.8, 1.2) / LOAD)
        await asyncio.gather(*tasks)

    world.run(main())
    world.close()
    return good


def goodput(good: Counter[int], begin: int, end: int) -> float:
    return sum(good[second] for second in range(begin, end)) / (end - begin)


@pytest.mark.parametrize("seed", range(1, 21))
def test_the_default_stack_recovers_and_naive_retries_never_do(seed: int) -> None:
    careful_, naive_ = (good_calls_each_second(make, seed) for make in (careful, naive))
    before = goodput(careful_, 1, STALL_BEGINS)
    assert before == pytest.approx(LOAD, rel=0.05)
    assert goodput(naive_, 1, STALL_BEGINS) == pytest.approx(before, rel=0.05)
    for begin in range(BACK_BY, END - 3):  # back by then, and for good
        assert goodput(careful_, begin, begin + 3) >= 0.95 * before
    assert goodput(naive_, STALL_ENDS, END) < 0.05 * before
