"""`Shed` under twice the load that can be served: who matters most notices nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import Flaky

from escala import Request, Shed
from escala.errors import BulkheadFull, ConfigError, Rejected
from escala.errors import Shed as ShedError
from escala.kernel.context import serving
from escala.kernel.events import Event
from escala.resilience import Shedding
from escala.testing import Trial, VirtualRuntime, cancel_everywhere


async def offered(
    world: VirtualRuntime, shed: Shed, rates: dict[int, float], seconds: float
) -> tuple[Counter[int], Counter[int], dict[int, list[float]]]:
    """Calls of each priority at its rate, each 10 ms of work: what came, was served, how late."""
    came: Counter[int] = Counter()
    served: Counter[int] = Counter()
    took: dict[int, list[float]] = {priority: [] for priority in rates}
    end = world.now() + seconds

    async def work() -> None:
        await world.sleep(0.01)

    async def one(priority: int) -> None:
        began = world.now()
        with serving(Request(priority=priority)):
            try:
                await shed.acall(work)
            except Rejected:
                return
        served[priority] += 1
        took[priority].append(world.now() - began)

    async def flow(priority: int, rate: float) -> None:
        while world.now() < end:
            came[priority] += 1
            world.spawn(one(priority))
            await world.sleep(world.rng.expovariate(rate))

    await asyncio.gather(*(flow(priority, rate) for priority, rate in rates.items()))
    await world.sleep(5)
    return came, served, took


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_overload_is_taken_from_the_lowest_priorities(seed: int) -> None:
    world = VirtualRuntime(seed)
    shed = Shed(slots=4, rng=random.Random(seed))  # 400 calls a second

    async def main() -> None:
        came, served, took = await offered(world, shed, {9: 200, 5: 300, 0: 300}, 20)
        assert served[9] > 0.99 * came[9]
        assert sorted(took[9])[int(0.99 * len(took[9]))] < 0.03
        assert served[0] < 0.2 * came[0]
        assert sum(served.values()) > 0.85 * 400 * 20, "and capacity is not wasted"

    world.run(main())
    world.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_top_priority_is_spared_by_a_flood_of_others(seed: int) -> None:
    """Eight times the capacity, in a queue that takes long to drain."""
    world = VirtualRuntime(seed)
    shed = Shed(slots=1, rng=random.Random(seed))  # 100 calls a second

    async def main() -> None:
        came, served, took = await offered(world, shed, {9: 50, 0: 750}, 20)
        assert served[9] == came[9]
        assert sorted(took[9])[int(0.99 * len(took[9]))] < 0.08

    world.run(main())
    world.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_top_priority_is_shed_when_it_alone_is_too_much(seed: int) -> None:
    world = VirtualRuntime(seed)
    shed = Shed(slots=4, queue=100, rng=random.Random(seed))

    async def main() -> None:
        came, served, took = await offered(world, shed, {0: 800}, 20)
        assert 0.4 < served[0] / came[0] < 0.55
        late = took[0][len(took[0]) // 2 :]
        assert sorted(late)[len(late) // 2] < 0.15

    world.run(main())
    world.close()


def test_a_burst_waits_and_no_one_is_shed(world: VirtualRuntime, events: list[Event]) -> None:
    shed = Shed(slots=4)

    async def work() -> None:
        await world.sleep(0.01)

    async def main() -> None:
        for _ in range(5):
            await asyncio.gather(*(shed.acall(work) for _ in range(30)))
            await world.sleep(1)

    world.run(main())
    assert not [event for event in events if isinstance(event, Shedding)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_few_long_calls_are_no_overload(seed: int) -> None:
    """Calls of 1 s, at 70 % of capacity, far fewer than one in an interval."""
    world = VirtualRuntime(seed)
    shed = Shed(slots=4, target="2s", rng=random.Random(seed))
    refused = 0

    async def one() -> None:
        nonlocal refused
        try:
            await shed.acall(world.sleep, 1)
        except ShedError:
            refused += 1

    async def main() -> None:
        for _ in range(1000):
            world.spawn(one())
            await world.sleep(world.rng.expovariate(2.8))
        await world.sleep(20)

    world.run(main())
    world.close()
    assert refused < 10


def test_work_that_hangs_is_overload_too(world: VirtualRuntime) -> None:
    shed = Shed(slots=2, rng=random.Random(1))

    async def one() -> None:
        with contextlib.suppress(Rejected):
            await shed.acall(world.sleep, 3600)

    async def main() -> None:
        for _ in range(200):
            world.spawn(one())
            await world.sleep(0.02)
        assert shed.share > 0.9

    world.run(main())


def test_it_says_when_it_begins_and_ends(world: VirtualRuntime, events: list[Event]) -> None:
    shed = Shed(slots=4, rng=random.Random(1), name="front")

    async def main() -> None:
        await offered(world, shed, {1: 200, 0: 600}, 5)
        await offered(world, shed, {1: 50}, 10)
        assert shed.share == 0.0

    world.run(main())
    told = [event for event in events if isinstance(event, Shedding)]
    assert (told[0].share > 0, told[-1].share) == (True, 0.0)
    assert {event.name for event in events} == {"front"}


@both_colours
def test_refuses_with_the_reason_and_when_to_come_back(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    shed = Shed(slots=1, queue=1, interval="200ms", rng=random.Random(1))
    shed._machine.share, shed._machine._cuts, shed._machine._ends = 0.9, {0: 1.0}, 9.0

    async def main() -> None:
        fn = Flaky()
        with pytest.raises(ShedError, match="shed: too much load for calls of priority 0") as got:
            await call(shed, fn)
        assert (fn.calls, got.value.retry_after) == (0, 0.2)
        assert shed.snapshot() == {"share": 0.9, "in_use": 0.0, "waiting": 0.0}

    world.run(main())


def test_a_full_queue_refuses_and_no_slot_is_lost_when_cancelled() -> None:
    async def scenario(trial: Trial) -> None:
        shed = Shed(slots=1, queue=2)

        async def work() -> None:
            await trial.world.sleep(1)

        first = trial.world.spawn(shed.acall(work))
        victim = trial.victim(shed.acall(work))
        third = trial.world.spawn(shed.acall(work))
        await trial.world.sleep(0.5)
        if not trial.reached:
            with pytest.raises(BulkheadFull):
                await shed.acall(work)
        await asyncio.wait({first, victim, third})
        assert third.exception() is None
        assert shed.snapshot() == {"share": shed.share, "in_use": 0.0, "waiting": 0.0}

    assert cancel_everywhere(scenario) > 2


@pytest.mark.parametrize(
    ("given", "told"),
    [({"slots": 0}, "slots"), ({"queue": 0}, "queue"), ({"target": 0}, "target"),
     ({"interval": "-1s"}, "interval")],
)  # fmt: skip
def test_bad_options(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=f"Shed: {told}: expected"):
        Shed(**given)
