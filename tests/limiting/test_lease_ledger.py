"""Many tokens at once for hot keys: fewer questions, and a bound on what passes too early."""

from __future__ import annotations

import asyncio
import random

import pytest
from tests.limiting.fake_ledger import FakeLedger

from escala import SlidingWindowLog, TokenBucket
from escala.errors import ConfigError
from escala.kernel.runtime import colours
from escala.limiting.lease_ledger import LeaseLedger
from escala.limiting.plan import Plan
from escala.testing import VirtualRuntime

PLAN = TokenBucket("100/s", burst=100, name="api").plan


def leasing(fake: FakeLedger, lease: int = 10, plan: Plan = PLAN) -> LeaseLedger:
    return LeaseLedger(fake, plan, lease=lease, max_keys=10)


def test_a_hot_key_asks_once_for_many(world: VirtualRuntime) -> None:
    fake = FakeLedger(PLAN)
    ledger = leasing(fake)

    async def main() -> None:
        for _ in range(90):
            decision, sleep = await ledger.take("ann", 1, colours.loop)
            assert (decision.allowed, sleep) == (True, 0.0)
        assert fake.asked == [("take", 1)] * 9 + [("take", 10)] * 9
        await ledger.refund("ann", 1, colours.loop)
        await ledger.refund("bob", 1, colours.loop)
        assert fake.asked[18:] == [("refund", 1)]
        assert (await ledger.peek("ann", colours.loop)).remaining == 1
        await ledger.reset("ann", colours.loop)
        before = len(fake.asked)
        assert (await ledger.take("ann", 1, colours.loop))[0].allowed
        assert fake.asked[before:] == [("take", 10)], "what was leased is gone, too"
        ledger.close()
        assert fake.closed == 1

    world.run(main())


def test_what_is_left_is_granted_one_by_one(world: VirtualRuntime) -> None:
    fake = FakeLedger(PLAN)
    ledger = leasing(fake, lease=30)

    async def main() -> None:
        taken = 0
        for _ in range(150):
            taken += (await ledger.take("ann", 1, colours.loop))[0].allowed
        assert taken == 100

    world.run(main())


def test_a_fetch_that_is_cancelled_is_followed_by_another(world: VirtualRuntime) -> None:
    fake = FakeLedger(PLAN)
    ledger = leasing(fake, lease=2)

    async def main() -> None:
        await ledger.take("ann", 1, colours.loop)
        fake.delay = 1.0
        task = asyncio.ensure_future(ledger.take("ann", 1, colours.loop))
        await world.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        fake.delay = 0.0
        await ledger.take("ann", 1, colours.loop)
        assert [cost for _, cost in fake.asked] == [1, 2, 2]

    world.run(main())


@pytest.mark.parametrize("seed", range(5))
def test_nodes_times_lease_is_the_most_that_passes_too_early(seed: int) -> None:
    """In any window at most burst + rate * t and what the nodes had left when it began."""
    world, nodes, lease, rng = VirtualRuntime(seed), 3, 20, random.Random(seed)
    fake = FakeLedger(PLAN)
    ledgers = [leasing(fake, lease) for _ in range(nodes)]
    passed: list[float] = []

    async def node(ledger: LeaseLedger) -> None:
        for _ in range(60):
            for _ in range(rng.choice([1, 5, 40])):
                if (await ledger.take("ann", 1, colours.loop))[0].allowed:
                    passed.append(world.now())  # noqa: PERF401  as they pass
            await world.sleep(rng.choice([0.001, 0.05, 0.3]))

    async def main() -> None:
        await asyncio.gather(*map(node, ledgers))

    world.run(main())
    world.close()
    extra = [
        last - first + 1 - 100 - 100 * (passed[last] - passed[first])
        for first in range(len(passed))
        for last in range(first, len(passed))
    ]
    assert len(passed) > 300
    assert max(extra) <= nodes * lease + 1e-6


def test_what_no_lease_can_hold_is_refused() -> None:
    strict = TokenBucket("100/s", strict=True, name="api").plan
    with pytest.raises(ConfigError, match="api: store: lease: expected none for a limit that hold"):
        leasing(FakeLedger(strict), 5, strict)
    log = SlidingWindowLog("100/s").plan
    with pytest.raises(ConfigError, match="holds strictly"):
        leasing(FakeLedger(log), 5, log)
    with pytest.raises(
        ConfigError, match="expected at most the 100 that may pass at once, found 1"
    ):
        leasing(FakeLedger(PLAN), 101)
