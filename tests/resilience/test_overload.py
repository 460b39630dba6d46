"""What holds for every policy against overload: cancelled at once, and no wall clock."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours

from escala import AdaptiveLimit, AdaptiveThrottle, Bulkhead, Policy, Request, Shed, Stack
from escala.errors import BulkheadFull, EscalaError
from escala.kernel.context import serving
from escala.testing import VirtualRuntime

HOUR = 3600.0


def policies() -> list[Policy]:
    return [
        Bulkhead(1, queue=5),
        Bulkhead(1, queue=5, order="priority", key="tenant"),
        AdaptiveLimit(initial=1, queue=5),
        AdaptiveLimit(initial=1, queue=5, algorithm="aimd", target="60ms"),
        Shed(1, queue=5, rng=random.Random(1)),
        AdaptiveThrottle(rng=random.Random(1)),
        Stack(*(one() for one in (Shed, AdaptiveThrottle, AdaptiveLimit, Bulkhead))),
        Stack(*(one() for one in (Bulkhead, AdaptiveLimit, AdaptiveThrottle, Shed))),
    ]


every_policy = pytest.mark.parametrize(
    "at", range(len(policies())), ids=lambda at: repr(policies()[at])[:40]
)


@every_policy
def test_an_outer_timeout_ends_it_at_once_and_leaves_no_trace(
    world: VirtualRuntime, at: int
) -> None:
    policy = policies()[at]

    async def hang() -> None:
        await world.sleep(60)

    async def well() -> str:
        return "well"

    async def one() -> float:
        began = world.now()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await policy.acall(hang)
        return world.now() - began

    async def main() -> None:
        took = await asyncio.gather(*(one() for _ in range(4)))  # one inside, the others in line
        assert took == [pytest.approx(0.1)] * 4
        before = world.now()
        assert await policy.acall(well) == "well"
        assert world.now() == before
        for each in policy.flat() if isinstance(policy, Stack) else [policy]:
            told = getattr(each, "snapshot")()  # noqa: B009  not every policy has one
            assert not any(told[key] for key in told.keys() & {"in_use", "waiting", "chance"})
            assert told.get("limit", 1.0) in (1.0, 20.0), "cancelled calls say nothing"

    world.run(main())


def told(policy: Policy, call: Call[Any], step: float, patch: pytest.MonkeyPatch) -> list[object]:
    """What came of each call of a run, when it began, and what the policy said in the end."""
    world, wall, stepped = VirtualRuntime(3), time.time, 0.0  # noqa: TID251  to move it
    patch.setattr(time, "time", lambda: wall() + stepped)
    heard: list[object] = []

    async def one(number: int) -> None:
        def work() -> None:
            heard.append((number, world.now()))
            world.advance(0.01 * (number % 3))
            if number % 5 > 2:
                raise ConnectionError

        async def slow_work() -> None:
            await world.sleep(0.05)
            work()

        with serving(Request(tenant=str(number % 3), priority=number % 2)):
            try:
                await (policy.acall(slow_work) if number % 4 else call(policy, work))
            except (ConnectionError, EscalaError) as error:
                heard.append((number, world.now(), type(error)))

    async def main() -> None:
        nonlocal stepped
        for number in range(400):
            world.spawn(one(number))
            stepped = step * (number % 2)
            await world.sleep(world.rng.expovariate(100))
        await world.sleep(10)

    world.run(main())
    world.close()
    return [*heard, world.now(), getattr(policy, "snapshot", dict)()]


@both_colours
@every_policy
@pytest.mark.parametrize("step", [-HOUR, HOUR], ids=["back", "ahead"])
def test_no_decision_changes_with_the_wall_clock(
    call: Call[Any], at: int, step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = told(policies()[at], call, 0.0, monkeypatch)
    assert told(policies()[at], call, step, monkeypatch) == straight
    assert len(straight) > 400


@pytest.mark.parametrize("seed", range(6))
def test_whatever_comes_no_key_has_more_than_its_slots_and_none_is_kept(seed: int) -> None:
    """Keys come and go, calls wait, are cancelled, pushed out and refused."""
    world = VirtualRuntime(seed)
    rng = world.rng
    policy = Bulkhead(2, queue=2, order="priority", key="tenant", max_keys=4, wait="150ms")
    inside: dict[str, int] = {}
    ends: dict[str, int] = {}

    async def work(tenant: str, seconds: float) -> None:
        inside[tenant] = inside.get(tenant, 0) + 1
        assert inside[tenant] <= 2
        assert sum(count > 0 for count in inside.values()) <= 4
        try:
            await world.sleep(seconds)
        finally:
            inside[tenant] -= 1

    async def one() -> None:
        tenant = str(rng.randrange(8))
        end = "served"
        with serving(Request(tenant=tenant, priority=rng.randrange(3))):
            try:
                async with asyncio.timeout(rng.choice((0.05, 0.2, 9))):
                    await policy.acall(work, tenant, rng.choice((0.01, 0.1, 0.3)))
            except TimeoutError:
                end = "cancelled"
            except BulkheadFull as error:
                end = error.reason.split(" ", 1)[0]
        ends[end] = ends.get(end, 0) + 1

    async def main() -> None:
        for _ in range(1500):
            world.spawn(one())
            assert policy.snapshot()["keys"] <= 4
            await world.sleep(rng.expovariate(80))
        await world.sleep(10)
        assert policy.snapshot() == {"in_use": 0.0, "waiting": 0.0, "keys": 0.0}

    world.run(main())
    world.close()
    assert sum(ends.values()) == 1500
    # all slots are taken | calls of 4 keys are inside | its place went | none came free
    assert ends.keys() == {"served", "cancelled", "all", "calls", "its", "none"}
