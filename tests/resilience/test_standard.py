"""`standard()`: five policies in one order, with one word for each thing to set."""

from __future__ import annotations

from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import Always, Flaky

from escala import Bulkhead, CircuitBreaker, Deadline, Retry, Stack, Timeout, standard
from escala.errors import BulkheadFull, CircuitOpen, ConfigError, DeadlineExceeded
from escala.kernel.policy import Scope
from escala.resilience import BreakerState, RetryBudget
from escala.testing import VirtualRuntime


def test_the_order_and_the_names() -> None:
    stack = standard(name="shop")
    assert isinstance(stack, Stack)
    kinds = [type(policy) for policy in stack.policies]
    assert kinds == [Deadline, Retry, CircuitBreaker, Bulkhead, Timeout]
    assert [getattr(policy, "name", "") for policy in stack.policies] == [
        "shop.deadline",
        "shop.retry",
        "shop.circuit_breaker",
        "shop.bulkhead",
        "shop.timeout",
    ]


def test_each_word_reaches_its_policy() -> None:
    budget = RetryBudget("5%")
    stack = standard(
        deadline="7s",
        attempts=5,
        budget=budget,
        unsafe=True,
        failure_rate="25%",
        cooldown="2s",
        slots=3,
        queue=4,
        timeout="1s",
    )
    limit, retry, breaker, bulkhead, timeout = (getattr(p, "options", None) for p in stack.policies)
    assert limit == Deadline("7s").options
    assert retry == Retry(5, budget=budget, unsafe=True).options
    assert stack.policies[1].budget is budget  # type: ignore[attr-defined]
    assert breaker == CircuitBreaker(failure_rate="25%", cooldown="2s", probes=3).options
    assert bulkhead == Bulkhead(3, queue=4).options
    assert timeout == Timeout("1s").options


def test_left_out_words_are_the_defaults_that_the_docs_argue() -> None:
    deadline, retry, breaker, bulkhead, timeout = standard().policies
    assert repr(deadline) == "Deadline('10s', name='standard.deadline')"
    assert repr(retry) == "Retry(name='standard.retry')"
    assert repr(breaker) == "CircuitBreaker(probes=3, name='standard.circuit_breaker')"
    assert repr(bulkhead) == "Bulkhead(queue=100, name='standard.bulkhead')"
    assert repr(timeout) == "Timeout('3s', name='standard.timeout')"


@both_colours
def test_a_call_that_fails_by_chance_is_repeated(world: VirtualRuntime, call: Call[Any]) -> None:
    stack, fn = standard(), Flaky(ConnectionError(), ConnectionError())

    async def main() -> None:
        assert await call(stack, fn) == "well"

    world.run(main())
    assert fn.calls == 3


@both_colours
def test_a_dependency_that_stays_down_is_left_alone(world: VirtualRuntime, call: Call[Any]) -> None:
    stack = standard(attempts=1)

    async def main() -> None:
        for _ in range(20):
            with pytest.raises(ConnectionError):
                await call(stack, Always())
        fn = Flaky()
        with pytest.raises(CircuitOpen):
            await call(stack, fn)
        assert fn.calls == 0
        world.advance(5)
        for _ in range(3):
            assert await call(stack, fn) == "well"
        assert stack.policies[2].state is BreakerState.CLOSED  # type: ignore[attr-defined]

    world.run(main())


@both_colours
def test_on_and_judge_are_those_of_retry_and_breaker(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    stack = standard(attempts=2, on=LookupError, judge=lambda status: status == 503)
    breaker: Any = stack.policies[2]

    async def main() -> None:
        fn = Flaky(503, LookupError())
        with pytest.raises(LookupError):
            await call(stack, fn)
        assert fn.calls == 2
        assert (breaker._machine._window.calls, breaker._machine._window.marked) == (2, 2)
        other = Flaky(ConnectionError())
        with pytest.raises(ConnectionError):
            await call(stack, other)
        assert other.calls == 1
        assert breaker._machine._window.marked == 2

    world.run(main())


def test_slow_attempts_end_and_the_whole_call_too(world: VirtualRuntime) -> None:
    stack = standard(deadline="5s", timeout="2s", attempts=9, budget=None)

    async def slow() -> None:
        await world.sleep(60)

    async def main() -> None:
        with pytest.raises(DeadlineExceeded):
            await stack.acall(slow)
        assert 4 < world.now() <= 5

    world.run(main())


def test_a_queue_that_is_full_refuses(world: VirtualRuntime) -> None:
    stack = standard(slots=1, queue=1)

    async def slow() -> str:
        await world.sleep(1)
        return "well"

    async def main() -> None:
        first, second = world.spawn(stack.acall(slow)), world.spawn(stack.acall(slow))
        await world.sleep(0.1)
        with pytest.raises(BulkheadFull):
            await stack.acall(slow)
        assert [await first, await second] == ["well", "well"]

    world.run(main())


def test_processes_share_the_slots() -> None:
    made = standard.build(standard(slots=10, queue=5).options, Scope(name="/shop", share=4))
    bulkhead: Any = made.policies[3]
    assert (bulkhead.options.slots, bulkhead.options.queue) == (3, 2)
    assert bulkhead.name == "/shop.standard.bulkhead"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"attempts": 0}, "standard: attempts: expected an integer from 1 to"),
        ({"timeout": "0s"}, "standard: timeout: expected a duration above"),
        ({"slots": -1}, "standard: slots: expected an integer from 1 to"),
        ({"failure_rate": "0%"}, "standard: failure_rate: expected a share above"),
    ],
)
def test_a_wrong_word_is_told_by_its_own_name(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        standard(**given)
