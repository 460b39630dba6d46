"""`CircuitBreaker` switched by hand: shadow, disabled, forced open, and back; what it tells."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import Always, Flaky

from escala.errors import CircuitOpen, ConfigError
from escala.kernel.events import Event
from escala.resilience import BreakerChanged, BreakerState, CircuitBreaker
from escala.testing import VirtualRuntime

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
NOTHING = dict.fromkeys(("open", "half_open", "forced_open", "disabled", "would_refuse"), 0.0)


async def fail(call: Call[Any], breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(ConnectionError):
            await call(breaker, Always())


def told(events: list[Event]) -> list[BreakerChanged]:
    return [event for event in events if isinstance(event, BreakerChanged)]


@both_colours
def test_a_shadow_counts_and_tells_and_lets_every_call_pass(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    breaker = CircuitBreaker(minimum_calls=2, mode="shadow")

    async def main() -> None:
        await fail(call, breaker, times=6)
        assert breaker.state is OPEN
        assert breaker.snapshot() == NOTHING | {"open": 1.0, "would_refuse": 4.0}
        world.advance(5)
        assert await call(breaker, Flaky()) == "well"
        assert breaker.state is CLOSED

    world.run(main())
    steps = [(each.before, each.after, each.shadow) for each in told(events)]
    assert steps == [(CLOSED, OPEN, True), (OPEN, HALF_OPEN, True), (HALF_OPEN, CLOSED, True)]


def test_in_a_shadow_only_the_probes_tell_how_things_stand(world: VirtualRuntime) -> None:
    breaker = CircuitBreaker(minimum_calls=1, mode="shadow")

    async def main() -> None:
        await fail_async(breaker)
        world.advance(5)
        probe = world.spawn(breaker.acall(asyncio.sleep, 1))  # noqa: TID251
        await asyncio.sleep(0)  # noqa: TID251  let it begin
        await fail_async(breaker)
        assert breaker.state is HALF_OPEN, "an enforcing one would have refused that call"
        await probe
        assert breaker.state is CLOSED

    async def fail_async(breaker: CircuitBreaker) -> None:
        with pytest.raises(ConnectionError):
            await breaker.acall(Always().awaited)

    world.run(main())


@both_colours
def test_disabled_does_nothing(world: VirtualRuntime, call: Call[Any], events: list[Event]) -> None:
    breaker = CircuitBreaker(minimum_calls=1, mode="disabled")

    async def main() -> None:
        await fail(call, breaker, times=5)
        assert await call(breaker, Flaky()) == "well"
        assert breaker.state is BreakerState.DISABLED
        assert breaker.snapshot() == NOTHING | {"disabled": 1.0}

    world.run(main())
    assert told(events) == []


@both_colours
def test_forced_open_refuses_every_call_for_ever(world: VirtualRuntime, call: Call[Any]) -> None:
    breaker = CircuitBreaker(mode="forced_open", name="shop")

    async def main() -> None:
        for _ in range(3):
            fn = Flaky()
            with pytest.raises(CircuitOpen) as caught:
                await call(breaker, fn)
            assert fn.calls == 0
            assert str(caught.value) == "shop: the circuit was switched to forced_open"
            assert caught.value.retry_after is None
            world.advance(86_400)
        assert breaker.snapshot() == NOTHING | {"forced_open": 1.0}

    world.run(main())


@both_colours
@pytest.mark.parametrize("options", [{}, {"slow": "1s"}, {"key": "tenant"}], ids=repr)
def test_switched_at_run_time(
    world: VirtualRuntime, call: Call[Any], events: list[Event], options: dict[str, Any]
) -> None:
    breaker = CircuitBreaker(minimum_calls=1, **options)

    async def main() -> None:
        assert await call(breaker, Flaky()) == "well"
        breaker.switch("forced_open")
        with pytest.raises(CircuitOpen):
            await call(breaker, Flaky())
        breaker.switch("disabled")
        await fail(call, breaker, times=3)
        breaker.switch("shadow")
        await fail(call, breaker, times=3)
        breaker.switch("enforce")
        await fail(call, breaker)
        with pytest.raises(CircuitOpen):
            await call(breaker, Flaky())
        breaker.switch("enforce")
        assert await call(breaker, Flaky()) == "well", "closed by hand"
        assert breaker.mode == "enforce"

    world.run(main())
    assert [(each.after.value, each.shadow) for each in told(events)] == [
        ("forced-open", False),
        ("disabled", False),
        ("closed", True),
        ("open", True),
        ("closed", False),
        ("open", False),
        ("closed", False),
    ]
    assert told(events)[0].reason == "it was switched to forced_open"


@pytest.mark.parametrize("mode", ["enforce", "shadow", "disabled", "forced_open"])
def test_a_call_that_began_in_another_mode_changes_nothing(
    world: VirtualRuntime, mode: Any
) -> None:
    breaker = CircuitBreaker(minimum_calls=1)

    async def late() -> None:
        await asyncio.sleep(1)  # noqa: TID251  a user's own wait
        raise ConnectionError

    async def main() -> None:
        calls = [world.spawn(breaker.acall(late)) for _ in range(3)]
        await asyncio.sleep(0)  # noqa: TID251  let them begin
        breaker.switch(mode)
        state = breaker.state
        await asyncio.wait(calls)
        assert breaker.state is state
        for call in calls:
            call.exception()

    world.run(main())


def test_another_word_is_refused_and_changes_nothing() -> None:
    breaker = CircuitBreaker(name="shop")
    with pytest.raises(ConfigError) as caught:
        breaker.switch("on")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "shop: expected a mode of enforce, shadow, disabled, forced_open, found 'on'"
    )
    assert (breaker.mode, breaker.state) == ("enforce", CLOSED)
