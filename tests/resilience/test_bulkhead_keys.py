"""A bulkhead for each key, and a queue by priority."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import Flaky

from escala import Bulkhead, Policy, Request, Retry, Stack
from escala.errors import BulkheadFull, ConfigError
from escala.kernel.context import serving
from escala.testing import Trial, VirtualRuntime, cancel_everywhere


async def work(world: VirtualRuntime, bulkhead: Policy, request: Request, log: list[Any]) -> None:
    async def inside() -> None:
        log.append(request.tenant or request.priority)
        await world.sleep(1)

    with serving(request):
        await bulkhead.acall(inside)


def test_each_key_has_slots_of_its_own(world: VirtualRuntime) -> None:
    bulkhead = Bulkhead(1, queue=1, key="tenant")
    log: list[Any] = []

    async def main() -> None:
        tasks = [
            world.spawn(work(world, bulkhead, Request(tenant=tenant), log))
            for tenant in ("ann", "bob", "ann", "ann")
        ]
        await asyncio.wait(tasks, timeout=0.5)
        assert log == ["ann", "bob"]
        assert bulkhead.snapshot() == {"in_use": 2.0, "waiting": 1.0, "keys": 2.0}
        assert bulkhead.waiting == 1
        with pytest.raises(BulkheadFull, match="the only slot and 1 places in the queue"):
            await tasks[3]
        await asyncio.gather(*tasks[:3])
        assert log == ["ann", "bob", "ann"]
        assert world.now() == 2.0
        assert bulkhead.snapshot() == {"in_use": 0.0, "waiting": 0.0, "keys": 0.0}

    world.run(main())


@both_colours
def test_only_so_many_keys_at_once_and_none_is_kept(world: VirtualRuntime, call: Call[Any]) -> None:
    bulkhead = Bulkhead(1, key=lambda request: request and request.key, max_keys=2)

    async def nested(keys: str) -> object:
        with serving(Request(key=keys[0])):
            if len(keys) == 1:
                return await call(bulkhead, Flaky())

            async def inside() -> object:
                return await nested(keys[1:])

            return await bulkhead.acall(inside)

    async def main() -> None:
        assert await nested("ab") == "well"
        with pytest.raises(BulkheadFull, match="calls of 2 different values of key are inside"):
            await nested("abc")
        with pytest.raises(BulkheadFull, match="the only slot is taken"):
            await nested("aa")
        assert bulkhead.snapshot()["keys"] == 0
        for number in range(100):
            with serving(Request(key=str(number))):
                assert await call(bulkhead, Flaky()) == "well"
        assert not bulkhead._rooms

    world.run(main())


def test_calls_without_a_value_share_their_slots(world: VirtualRuntime) -> None:
    bulkhead = Bulkhead(1, key="tenant")

    async def main() -> None:
        with bulkhead, pytest.raises(BulkheadFull):
            bulkhead.call(bool)
        with bulkhead, serving(Request(tenant="ann")):
            assert bulkhead.call(bool) is False

    world.run(main())


def test_a_key_that_cannot_be_one() -> None:
    with pytest.raises(TypeError, match="expected a key of text, bytes"):
        Bulkhead(1, key=lambda _: []).call(bool)  # type: ignore[arg-type, return-value]


def test_no_slot_and_no_key_is_lost_wherever_a_call_is_cancelled() -> None:
    async def scenario(trial: Trial) -> None:
        bulkhead = Bulkhead(1, queue=5, key="tenant", order="priority")
        log: list[Any] = []

        def one(priority: int) -> Any:
            request = Request(tenant="ann", priority=priority)
            return work(trial.world, bulkhead, request, log)

        first = trial.world.spawn(one(0))
        victim = trial.victim(one(2))
        others = [trial.world.spawn(one(priority)) for priority in (3, 1)]
        await asyncio.wait({first, victim, *others})
        assert all(task.exception() is None for task in (first, *others))
        assert not bulkhead._rooms
        assert bulkhead.free == 1

    assert cancel_everywhere(scenario) > 2


def test_by_priority_and_within_one_first_come_first_served(world: VirtualRuntime) -> None:
    bulkhead = Bulkhead(1, queue=10, order="priority")
    log: list[Any] = []

    async def main() -> None:
        tasks = []
        for number, priority in enumerate((5, 3, 9, 3, 1, 9)):
            request = Request(tenant=f"{number}:{priority}", priority=priority)
            tasks.append(world.spawn(work(world, bulkhead, request, log)))
            await world.sleep(0.01)
        await asyncio.gather(*tasks)

    world.run(main())
    assert log == ["0:5", "2:9", "5:9", "1:3", "3:3", "4:1"]


@both_colours
def test_a_call_without_a_request_has_priority_0(world: VirtualRuntime, call: Call[Any]) -> None:
    bulkhead = Bulkhead(1, queue=1, order="priority")
    log: list[Any] = []

    async def main() -> None:
        inside = world.spawn(work(world, bulkhead, Request(tenant="inside"), log))
        await world.sleep(0.1)
        waiting = world.spawn(work(world, bulkhead, Request(priority=1), log))
        await world.sleep(0.1)
        with pytest.raises(BulkheadFull, match="the only slot and 1 places in the queue"):
            await call(bulkhead, Flaky())
        waiting.cancel()
        await asyncio.wait({waiting})
        low = world.spawn(work(world, bulkhead, Request(priority=-1), log))
        await world.sleep(0.1)
        after = world.spawn(bulkhead.acall(world.sleep, 0))
        with pytest.raises(BulkheadFull, match="went to a call of higher priority"):
            await low
        await asyncio.gather(inside, after)

    world.run(main())
    assert log == ["inside"]


def test_a_full_queue_gives_the_last_place_to_who_matters_more(world: VirtualRuntime) -> None:
    bulkhead = Bulkhead(1, queue=2, order="priority")
    log: list[Any] = []

    async def main() -> list[BaseException | None]:
        tasks = []
        for priority in (5, 3, 4, 3, 4, 8):
            tasks.append(world.spawn(work(world, bulkhead, Request(priority=priority), log)))
            await world.sleep(0.01)
        return await asyncio.gather(*tasks, return_exceptions=True)

    ends = world.run(main())
    assert log == [5, 8, 4]
    told = [str(end) if end else "" for end in ends]
    pushed = "bulkhead: its place in the full queue went to a call of higher priority"
    full = "bulkhead: the only slot and 2 places in the queue are taken"
    assert told == ["", pushed, "", full, pushed, ""]


def test_keys_and_priority_in_a_stack(world: VirtualRuntime) -> None:
    log: list[Any] = []

    async def main(stack: Stack) -> None:
        requests = [Request(tenant=tenant) for tenant in ("ann", "ann", "ann", "bob")]
        calls = [work(world, stack, request, log) for request in requests]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends] == [type(None), type(None), BulkheadFull, type(None)]

    for order in (False, True):
        policies = [Retry(3, base="1s"), Bulkhead(1, queue=1, key="tenant", order="priority")]
        world.run(main(Stack(*(reversed(policies) if order else policies))))
    assert log == ["ann", "bob", "ann"] * 2


def test_without_an_order_priority_says_nothing(world: VirtualRuntime) -> None:
    bulkhead = Bulkhead(1, queue=10)
    log: list[Any] = []

    async def main() -> None:
        requests = [Request(priority=priority) for priority in (5, 3, 9)]
        await asyncio.gather(*(work(world, bulkhead, each, log) for each in requests))

    world.run(main())
    assert log == [5, 3, 9]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"order": "lifo"}, "order"),
        ({"max_keys": 0}, "max_keys"),
        ({"key": 7}, "key"),
    ],
)
def test_bad_options(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=f"Bulkhead: {told}: expected"):
        Bulkhead(1, **given)
