"""`LeakyBucket`: a meter that refuses what overflows, or a queue that lets out one by one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.limiting.limiters import alone

from escala import Deadline, LeakyBucket, TokenBucket
from escala.errors import ConfigError, RateLimited
from escala.kernel.policy import Scope
from escala.testing import VirtualRuntime


async def turn() -> None:
    await asyncio.sleep(0)  # noqa: TID251  one turn of the loop


def test_a_meter_decides_as_a_token_bucket(world: VirtualRuntime) -> None:
    async def main() -> None:
        meter, bucket = LeakyBucket("5/s", burst=8), TokenBucket("5/s", burst=8)
        for _ in range(200):
            cost = world.rng.randint(1, 8)
            assert meter.acquire(cost=cost) == bucket.acquire(cost=cost)
            world.advance(world.rng.random())
        assert LeakyBucket("5/s").acquire().limit == 5
        assert LeakyBucket("0.5/s").acquire().limit == 1
        assert [limit.burst for limit in LeakyBucket("5/s; 9/h", burst=2).plan.limits] == [2, 9]

    world.run(main())


def test_a_queue_lets_one_out_after_the_other(world: VirtualRuntime) -> None:
    queue = LeakyBucket("100/s", shape="queue")
    left: list[tuple[int, float]] = []

    async def call(number: int) -> None:
        await queue.acall(turn)
        left.append((number, world.now()))

    async def main() -> None:
        tasks = []
        for number in range(101):
            tasks.append(world.spawn(call(number)))
            await turn()
        assert queue.snapshot()["waiting"] == 100
        with pytest.raises(RateLimited) as caught:
            await queue.acall(turn)
        assert caught.value.reason == "the limit of 100/s is used up"
        assert caught.value.retry_after == pytest.approx(1.01)
        await asyncio.gather(*tasks)

    world.run(main())
    assert [number for number, _ in left] == list(range(101))
    assert [at for _, at in left] == pytest.approx([number / 100 for number in range(101)])


@pytest.mark.parametrize(("queue", "fit"), [(1, 2), (5, 6), (None, 101)])
def test_as_many_wait_as_the_queue_holds(
    world: VirtualRuntime, queue: int | None, fit: int
) -> None:
    limiter = LeakyBucket("10/s", shape="queue", queue=queue)

    async def main() -> None:
        tasks = []
        for _ in range(fit + 20):
            tasks.append(world.spawn(limiter.aacquire()))
            await turn()
        decisions = await asyncio.gather(*tasks)
        assert [decision.allowed for decision in decisions] == [True] * fit + [False] * 20
        assert world.now() == pytest.approx((fit - 1) / 10)

    world.run(main())


def test_a_queue_is_never_faster_than_its_rate_whatever_was_saved(world: VirtualRuntime) -> None:
    limiter = LeakyBucket("10/s", shape="queue", key="key")

    async def main() -> None:
        world.advance(100)
        assert await limiter.aacquire("a")
        assert await limiter.aacquire("b")
        assert world.now() == 100.0
        assert await limiter.aacquire("a")
        assert world.now() == pytest.approx(100.1)

    world.run(main())


def test_a_thread_waits_in_the_queue() -> None:
    limiter = LeakyBucket("10/s", shape="queue")
    with alone() as thread:
        for number in range(5):
            assert limiter.call(len, "abc") == 3
            assert thread.now() == pytest.approx(50 + number / 10, abs=1e-3)


def test_a_call_can_refuse_to_wait_as_long(world: VirtualRuntime) -> None:
    limiter = LeakyBucket("10/s", shape="queue", queue=5, wait="250ms")

    async def main() -> None:
        waiting = []
        for _ in range(3):
            waiting.append(world.spawn(limiter.aacquire()))
            await turn()
        assert not limiter.acquire(), "300 ms"
        assert not limiter.acquire(wait="290ms")
        waiting.append(world.spawn(limiter.aacquire(wait="1h")))
        await turn()
        waiting.append(world.spawn(limiter.aacquire(wait="1h")))
        await turn()
        waiting.append(world.spawn(limiter.aacquire(wait="1h")))
        await turn()
        assert not await limiter.aacquire(wait="1h"), "five wait, and there is room for no more"
        async with Deadline("10ms"):
            assert not await limiter.aacquire()
        assert all(await asyncio.gather(*waiting))

    world.run(main())


def test_each_of_several_processes_has_a_part_of_rate_and_queue(world: VirtualRuntime) -> None:
    async def main() -> None:
        options = LeakyBucket("10/s", shape="queue", queue=10).options
        limiter = LeakyBucket.build(options, Scope(share=2))
        tasks = []
        for _ in range(20):
            tasks.append(world.spawn(limiter.aacquire()))
            await turn()
        decisions = await asyncio.gather(*tasks)
        assert sum(decision.allowed for decision in decisions) == 1 + 5
        assert world.now() == pytest.approx(1.0)

    world.run(main())


def test_a_queue_takes_calls_one_by_one() -> None:
    with pytest.raises(ValueError, match="at most 1 may pass at once"):
        LeakyBucket("10/s", shape="queue").acquire(cost=2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shape": "queue", "burst": 5}, "burst: expected only with shape 'meter', since"),
        ({"queue": 5}, "queue: expected only with shape 'queue', since in a meter no one waits;"),
        ({"shape": "funnel"}, "shape: expected one of 'meter', 'queue'; found 'funnel'"),
        ({"shape": "queue", "queue": 0}, "queue: expected an integer from 1"),
        ({"burst": 0}, "burst: expected an integer from 1"),
    ],
    ids=repr,
)
def test_bad_arguments(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LeakyBucket("10/s", **given)
    assert str(caught.value).startswith(f"LeakyBucket: {message}")


def test_what_belongs_to_the_other_shape_is_named() -> None:
    with pytest.raises(ConfigError, match=r"one by one; found 5 \(did you mean `queue`\?\)$"):
        LeakyBucket("10/s", shape="queue", burst=5)
    with pytest.raises(ConfigError, match=r"no one waits; found 5 \(did you mean `burst`\?\)$"):
        LeakyBucket("10/s", queue=5)


def test_a_queue_has_one_rate() -> None:
    with pytest.raises(ConfigError) as caught:
        LeakyBucket("10/s; 100/h", shape="queue")
    assert str(caught.value) == (
        "LeakyBucket: limit: expected one rate at which a queue lets calls out, found '10/s; 100/h'"
    )
