"""`AdaptiveLimit` finds what a simulated server bears, and follows it."""

from __future__ import annotations

import asyncio
from statistics import median
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import Always, Flaky

from escala import AdaptiveLimit, Deadline, Stack
from escala.errors import BulkheadFull, CircuitOpen, ConfigError, DeadlineExceeded
from escala.kernel.events import Event
from escala.resilience import LimitChanged
from escala.testing import Trial, VirtualRuntime, cancel_everywhere


class Server:
    """So many workers, each taking 50 ms for a call; the others wait in line."""

    def __init__(self, world: VirtualRuntime, workers: int) -> None:
        self.world = world
        self.workers = asyncio.Semaphore(workers)
        self.taken = 0

    async def call(self) -> None:
        async with self.workers:
            await self.world.sleep(0.05 * self.world.rng.uniform(0.8, 1.2))

    async def lose(self, workers: int) -> None:
        for _ in range(workers):
            await self.workers.acquire()


async def clients(
    world: VirtualRuntime, limit: AdaptiveLimit, server: Server, until: float
) -> tuple[int, float]:
    """Sixty of them, each calling again as soon as it was answered, or 30 ms after a no.

    How many calls were good, and the median of the limit in the last four seconds.
    """
    good, seen = 0, []

    async def one() -> None:
        nonlocal good
        while world.now() < until:
            try:
                await limit.acall(server.call)
                good += 1
            except BulkheadFull:
                await world.sleep(0.03)

    async def look() -> None:
        await world.sleep(until - 4 - world.now())
        while world.now() < until:
            seen.append(limit.slots)
            await world.sleep(0.05)

    await asyncio.gather(look(), *(one() for _ in range(60)))
    return good, median(seen)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("initial", [2, 50])
@pytest.mark.parametrize(
    "options", [{}, {"algorithm": "aimd", "target": "60ms"}], ids=["gradient", "aimd"]
)
def test_finds_the_knee_and_follows_when_capacity_halves(
    options: dict[str, Any], initial: int, seed: int
) -> None:
    world = VirtualRuntime(seed)
    limit = AdaptiveLimit(initial=initial, **options)

    async def main() -> None:
        server = Server(world, 20)
        _, found = await clients(world, limit, server, 15)
        assert 18 <= found <= 34, "20 are at work, and some wait"
        good, _ = await clients(world, limit, server, 20)
        assert good > 0.85 * 20 / 0.05 * 5
        await server.lose(10)
        _, found = await clients(world, limit, server, 28)
        assert 8 <= found <= 22, "10 are at work, and some wait"

    world.run(main())
    world.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_latency_that_varies_by_itself_is_no_queue(seed: int) -> None:
    """Work of 50 ms on average, from nothing to ten times as much: 300 of 400 calls a second."""
    world = VirtualRuntime(seed)
    limit = AdaptiveLimit()
    came = served = 0

    async def work() -> None:
        await world.sleep(world.rng.expovariate(20))

    async def one() -> None:
        nonlocal served
        try:
            await limit.acall(work)
        except BulkheadFull:
            return
        served += 1

    async def main() -> None:
        nonlocal came
        while world.now() < 40:
            came += 1
            world.spawn(one())
            await world.sleep(world.rng.expovariate(300))
        await world.sleep(2)

    world.run(main())
    world.close()
    assert served > 0.95 * came


def test_a_quiet_time_does_not_open_the_gate(world: VirtualRuntime) -> None:
    limit = AdaptiveLimit(initial=10)

    async def main() -> None:
        server = Server(world, 100)
        for _ in range(200):
            await asyncio.gather(*(limit.acall(server.call) for _ in range(4)))
        assert limit.slots == 10
        for _ in range(20):
            await asyncio.gather(*(limit.acall(server.call) for _ in range(10)))
        assert limit.slots > 10

    world.run(main())


@both_colours
def test_lost_calls_lower_it_and_others_do_not(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    limit = AdaptiveLimit(
        algorithm="aimd", target="1s", initial=20, judge=lambda status: status == 503, name="shop"
    )

    async def rounds(make: Any, raises: type[BaseException] | None) -> None:
        for _ in range(75):
            world.advance(0.02)
            if raises is None:
                await call(limit, make())
            else:
                with pytest.raises(raises):
                    await call(limit, make())

    async def main() -> None:
        await rounds(lambda: Always(ValueError), ValueError)
        await rounds(lambda: Flaky(CircuitOpen("x", "open")), CircuitOpen)
        await rounds(lambda: Flaky(KeyboardInterrupt()), KeyboardInterrupt)
        assert limit.slots == 20
        await rounds(Always, ConnectionError)
        assert limit.slots == 16
        await rounds(lambda: Flaky(503), None)
        assert limit.slots == 11

    world.run(main())
    told = [(e.before, e.after) for e in events if isinstance(e, LimitChanged)]
    assert told == [(20, 18), (18, 16), (16, 14), (14, 13), (13, 11)]


def test_the_deadline_around_it_says_nothing_and_a_timeout_inside_does(
    world: VirtualRuntime,
) -> None:
    limit = AdaptiveLimit(algorithm="aimd", target="1s", initial=20)

    async def hang() -> None:
        await world.sleep(60)

    async def main() -> None:
        for stack, left in (
            (Stack(Deadline("50ms"), limit), 20),
            (Stack(limit, Deadline("50ms")), 18),
        ):
            for _ in range(30):
                with pytest.raises(DeadlineExceeded):
                    await stack.acall(hang)
            assert limit.slots == left

    world.run(main())


def test_waits_in_its_queue_and_refuses_beyond(world: VirtualRuntime) -> None:
    limit = AdaptiveLimit(initial=1, queue=1, wait="2s")

    async def work() -> str:
        await world.sleep(1)
        return "well"

    async def main() -> None:
        first, second = world.spawn(limit.acall(work)), world.spawn(limit.acall(work))
        await world.sleep(0.1)
        assert limit.snapshot() == {"limit": 1.0, "in_use": 1.0, "waiting": 1.0}
        with pytest.raises(BulkheadFull, match=r"^adaptive_limit: the only slot and 1 places"):
            await limit.acall(work)
        assert [await first, await second] == ["well", "well"]

    world.run(main())


def test_no_slot_is_lost_wherever_a_call_is_cancelled() -> None:
    async def scenario(trial: Trial) -> None:
        limit = AdaptiveLimit(initial=1, queue=2)

        async def work() -> None:
            await trial.world.sleep(1)

        first = trial.world.spawn(limit.acall(work))
        victim = trial.victim(limit.acall(work))
        last = trial.world.spawn(limit.acall(work))
        await asyncio.wait({first, victim, last})
        assert last.exception() is None
        assert limit.snapshot() == {"limit": 1.0, "in_use": 0.0, "waiting": 0.0}

    assert cancel_everywhere(scenario) > 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"algorithm": "vegas"}, "algorithm: expected"),
        ({"initial": 0}, "initial: expected"),
        ({"initial": 5, "least": 6}, "expected least <= initial <= most, found 6, 5 and 1000"),
        ({"wait": "1s"}, "expected a queue for who waits 1s, found none"),
        ({"initial": 5, "most": 4}, "expected least <= initial <= most, found 1, 5 and 4"),
        ({"algorithm": "aimd"}, 'expected a target for "aimd", such as "100ms", found none'),
        ({"target": "1s"}, 'expected a target for "aimd" only, found one for "gradient"'),
    ],
)
def test_bad_options(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=f"AdaptiveLimit: {told}"):
        AdaptiveLimit(**given)
