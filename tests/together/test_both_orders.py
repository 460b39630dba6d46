"""Policies inside each other, in both orders: what each order means, in virtual time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import LONGEST, Always, Flaky

from escala.errors import BulkheadFull, CircuitOpen, DeadlineExceeded, RateLimited
from escala.kernel.stack import Stack
from escala.limiting import TokenBucket
from escala.resilience import BreakerState, Bulkhead, CircuitBreaker, Deadline, Retry, Timeout
from escala.testing import Trial, VirtualRuntime, cancel_everywhere


@pytest.fixture
def world() -> Iterator[VirtualRuntime]:
    virtual = VirtualRuntime()
    yield virtual
    virtual.close()


async def hang() -> None:
    await asyncio.sleep(60)  # noqa: TID251  a user's own wait


@both_colours
def test_a_breaker_inside_a_retry_sees_each_attempt(world: VirtualRuntime, call: Call[Any]) -> None:
    breaker = CircuitBreaker(minimum_calls=3)
    fn = Always()

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await call(Stack(Retry(3), breaker), fn)
        assert breaker.state is BreakerState.OPEN
        assert fn.calls == 3

    world.run(main())


@both_colours
def test_a_retry_stops_at_once_when_the_breaker_inside_opens(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    breaker, fn = CircuitBreaker(minimum_calls=2), Always()
    with pytest.raises(CircuitOpen) as caught:
        world.run(call(Stack(Retry(9, rng=LONGEST), breaker), fn))
    assert fn.calls == 2
    assert world.now() == pytest.approx(0.1 + 0.2)
    assert caught.value.retry_after == pytest.approx(5.0 - 0.2)


@both_colours
def test_a_breaker_around_a_retry_sees_the_outcome_only(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    breaker = CircuitBreaker(minimum_calls=2)

    async def main() -> None:
        for _ in range(2):
            assert await call(Stack(breaker, Retry(3)), Flaky(ConnectionError(), ConnectionError()))
        assert breaker.state.value == "closed"
        fn = Always()
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await call(Stack(breaker, Retry(3)), fn)
        assert breaker.state is BreakerState.OPEN
        assert fn.calls == 6

    world.run(main())


def test_a_timeout_inside_a_retry_is_for_each_attempt(world: VirtualRuntime) -> None:
    stack = Stack(Retry(3, base=0), Timeout("1s"))
    with pytest.raises(DeadlineExceeded, match="one attempt took longer than 1s") as caught:
        world.run(stack.acall(hang))
    assert world.now() == pytest.approx(3.0)
    assert "3 attempts in 3 s" in caught.value.__notes__[0]


def test_a_timeout_around_a_retry_is_for_all_attempts(world: VirtualRuntime) -> None:
    calls = 0

    async def flaky() -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.4)  # noqa: TID251  a user's own wait
        raise ConnectionError

    with pytest.raises(DeadlineExceeded, match="one attempt took longer than 1s"):
        world.run(Stack(Timeout("1s"), Retry(9, base=0)).acall(flaky))
    assert world.now() == pytest.approx(1.0)
    assert calls == 3


@both_colours
def test_a_full_bulkhead_inside_is_neither_repeated_nor_held_against_anyone(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    breaker, bulkhead = CircuitBreaker(minimum_calls=1), Bulkhead(slots=1)

    async def main() -> None:
        async with bulkhead:
            with pytest.raises(BulkheadFull):
                await call(Stack(Retry(), breaker, bulkhead), Flaky())
        assert world.now() == 0.0
        assert breaker.state is BreakerState.CLOSED

    world.run(main())


@pytest.mark.parametrize("outside", [True, False], ids=["bulkhead outside", "bulkhead inside"])
def test_a_bulkhead_outside_a_retry_keeps_its_slot_through_the_backoff(
    world: VirtualRuntime, outside: bool
) -> None:
    bulkhead, retry = Bulkhead(slots=1), Retry(2, base=1, rng=LONGEST)
    guarded = Stack(bulkhead, retry) if outside else Stack(retry, bulkhead)

    async def main() -> None:
        task = world.spawn(guarded.acall(Flaky(ConnectionError()).awaited))
        await asyncio.sleep(0.5)  # noqa: TID251  in the middle of the backoff
        assert bulkhead.free == (0 if outside else 1)
        assert await task == "well"
        assert bulkhead.free == 1

    world.run(main())


@both_colours
def test_a_limiter_inside_a_retry_counts_each_attempt_and_is_not_repeated(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    fn = Always()
    with pytest.raises(RateLimited):
        world.run(call(Stack(Retry(9, base=0), TokenBucket("1/h", burst=3)), fn))
    assert fn.calls == 3


@both_colours
def test_a_limiter_around_a_retry_counts_calls(world: VirtualRuntime, call: Call[Any]) -> None:
    fn = Always()
    stack = Stack(TokenBucket("1/h", burst=3), Retry(4, base=0))

    async def main() -> None:
        for expected in (ConnectionError, ConnectionError, ConnectionError, RateLimited):
            with pytest.raises(expected):
                await call(stack, fn)

    world.run(main())
    assert fn.calls == 12


def test_a_timeout_outside_a_bulkhead_bounds_the_wait_in_its_queue(world: VirtualRuntime) -> None:
    bulkhead = Bulkhead(slots=1, queue=1)

    async def main() -> None:
        inside = world.spawn(bulkhead.acall(hang))
        await asyncio.sleep(0)  # noqa: TID251  one turn
        with pytest.raises(DeadlineExceeded, match=r"^timeout: "):
            await Stack(Timeout("1s"), bulkhead).acall(hang)
        assert world.now() == pytest.approx(1.0)
        with pytest.raises(DeadlineExceeded, match=r"^timeout: "):
            await Stack(bulkhead, Timeout("1s")).acall(hang)
        assert world.now() == pytest.approx(61.0), "inside, it begins when the slot has come"
        await inside
        assert bulkhead.free == 1

    world.run(main())


def whole_stack(**kept: Any) -> Stack:
    return Stack(
        kept.get("limiter") or TokenBucket("1000/s"),
        Deadline("10s"),
        kept.get("retry") or Retry(3, base="100ms", budget=None),
        kept.get("breaker") or CircuitBreaker(minimum_calls=50),
        kept.get("bulkhead") or Bulkhead(slots=2, queue=2),
        Timeout("1s"),
    )


@pytest.mark.parametrize("seed", range(3))
def test_cancelled_anywhere_in_the_whole_stack_nothing_is_lost(seed: int) -> None:
    async def scenario(trial: Trial) -> None:
        bulkhead, breaker = Bulkhead(slots=1, queue=2), CircuitBreaker(minimum_calls=50)
        retry = Retry(3, rng=LONGEST)
        stack = whole_stack(bulkhead=bulkhead, breaker=breaker, retry=retry)
        calls = 0

        async def flaky() -> None:
            nonlocal calls
            calls += 1
            await trial.world.sleep(0.3)
            if calls < 3:
                raise ConnectionError

        before = trial.world.spawn(bulkhead.acall(trial.world.sleep, 0.5))
        await trial.world.sleep(0)
        victim = trial.victim(stack.acall(flaky))
        await asyncio.wait({before, victim})
        assert victim.cancelled() is trial.reached
        assert (bulkhead.free, bulkhead.waiting) == (1, 0)
        assert retry.budget is not None
        assert retry.budget.under_way == 0
        assert breaker.state is BreakerState.CLOSED

    assert cancel_everywhere(scenario, seed=seed) == 13


def test_an_outer_timeout_of_the_users_own_is_obeyed_at_once(world: VirtualRuntime) -> None:
    async def main() -> None:
        for stack in (whole_stack(), Stack(*reversed(whole_stack().policies))):
            start = world.now()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await stack.acall(hang)
            assert world.now() - start == pytest.approx(0.1)

    world.run(main())


@both_colours
def test_a_stack_in_a_stack_reads_as_one(world: VirtualRuntime, call: Call[Any]) -> None:
    inner = Stack(Retry(2, base=0), Timeout("1s"))
    assert world.run(call(Stack(Deadline("3s"), inner), Flaky(ConnectionError()))) == "well"
    with pytest.raises(TypeError, match="may run its call again"), Stack(inner):
        pass


def test_decorates_methods_of_both_colours() -> None:
    class Shop:
        def __init__(self) -> None:
            self.tries = 0

        @whole_stack()
        def price(self, item: str, *, times: int = 1) -> int:
            """What it costs."""
            self.tries += 1
            if self.tries % 2:
                raise ConnectionError
            return len(item) * times

        @whole_stack(retry=Retry(2, base=0))
        async def stock(self, item: str) -> int:
            self.tries += 1
            if self.tries % 2:
                raise ConnectionError
            return len(item)

        @staticmethod
        @whole_stack()
        def name() -> str:
            return "shop"

        @classmethod
        @whole_stack()
        async def kind(cls) -> str:
            return cls.__name__

    world = VirtualRuntime()
    shop = Shop()

    async def main() -> None:
        assert shop.price("tea", times=2) == 6
        assert await shop.stock("tea") == 3
        assert Shop.name() == "shop"
        assert await Shop.kind() == "Shop"

    world.run(main())
    assert shop.tries == 4
    assert Shop.price.__doc__ == "What it costs."
    assert Shop.price.__name__ == "price"


@pytest.mark.parametrize("policy", whole_stack().policies, ids=repr)
def test_generators_are_refused(policy: Any) -> None:
    def generate() -> Iterator[int]:
        yield 1

    async def agenerate() -> Any:
        yield 1

    for fn in (generate, agenerate, functools.partial(generate)):
        with pytest.raises(TypeError, match="is a generator"):
            policy(fn)


def test_with_blocks_of_several_policies() -> None:
    bulkhead, breaker = Bulkhead(slots=1), CircuitBreaker(minimum_calls=1)
    guard = Stack(Deadline("1s"), breaker, bulkhead)

    def block() -> None:
        with guard:
            assert bulkhead.free == 0
            raise ConnectionError

    with pytest.raises(ConnectionError):
        block()
    assert bulkhead.free == 1
    assert breaker.state is BreakerState.OPEN
    with pytest.raises(CircuitOpen):
        block()
