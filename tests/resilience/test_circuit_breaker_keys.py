"""A breaker for each key: who shares one, what the others feel, and what is forgotten."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, cast

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import Always, Flaky

from escala.errors import CircuitOpen
from escala.kernel.context import Request, serving
from escala.kernel.events import Event
from escala.kernel.stack import Stack
from escala.resilience import BreakerChanged, BreakerState, CircuitBreaker, Retry, Timeout
from escala.testing import VirtualRuntime

CLOSED, OPEN = BreakerState.CLOSED, BreakerState.OPEN


async def fail(call: Call[Any], breaker: CircuitBreaker, key: str | None) -> None:
    with serving(Request(key=key)), pytest.raises(ConnectionError):
        await call(breaker, Always())


@both_colours
def test_states_are_independent(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    breaker = CircuitBreaker(minimum_calls=1, key="key", name="shop")

    async def main() -> None:
        await fail(call, breaker, "a")
        with serving(Request(key="b")):
            assert await call(breaker, Flaky()) == "well"
            assert breaker.state is CLOSED
        with serving(Request(key="a")):
            assert breaker.state is OPEN
            with pytest.raises(CircuitOpen) as caught:
                await call(breaker, Flaky())
        assert str(caught.value).startswith("shop: the circuit for this key is open, since 1 of 1")
        assert await call(breaker, Flaky()) == "well", "no request: they share one"
        assert breaker.snapshot() == {
            "open": 1.0,
            "half_open": 0.0,
            "forced_open": 0.0,
            "disabled": 0.0,
            "would_refuse": 0.0,
            "keys": 3.0,
        }
        assert breaker.state_of("a") is OPEN
        assert breaker.state_of("new") is CLOSED
        assert breaker.snapshot()["keys"] == 3.0, "to ask is not to use"

    world.run(main())
    assert [(e.key, e.after) for e in events if isinstance(e, BreakerChanged)] == [("a", OPEN)]


@both_colours
def test_calls_without_a_value_share_one(world: VirtualRuntime, call: Call[Any]) -> None:
    breaker = CircuitBreaker(minimum_calls=2, key="tenant")

    async def main() -> None:
        await fail(call, breaker, None)
        await fail(call, breaker, "a key is no tenant")
        with pytest.raises(CircuitOpen, match=r"^circuit_breaker: the circuit is open"):
            await call(breaker, Flaky())

    world.run(main())


@both_colours
def test_a_function_of_the_request_says_the_key(world: VirtualRuntime, call: Call[Any]) -> None:
    seen: list[Request | None] = []

    def grouping(request: Request | None) -> Hashable:
        seen.append(request)
        return None if request is None else ("pair", len(request.key or ""))

    breaker = CircuitBreaker(minimum_calls=1, key=grouping)

    async def main() -> None:
        await fail(call, breaker, "aa")
        with serving(Request(key="bb")), pytest.raises(CircuitOpen, match="for this key is open"):
            await call(breaker, Flaky())
        with serving(Request(key="bbb")):
            await call(breaker, Flaky())
        await call(breaker, Flaky())
        assert seen[-1] is None
        assert breaker.state_of("") is CLOSED
        assert breaker.state_of(("pair", 2)) is OPEN

    world.run(main())


@both_colours
def test_in_a_stack(world: VirtualRuntime, call: Call[Any]) -> None:
    breaker = CircuitBreaker(consecutive=3, key="key", slow="1m")
    stack: Any = Stack(Retry(3, base=0, budget=None, unsafe=True), breaker, Timeout("1s"))

    async def main() -> None:
        with serving(Request(key="a")):
            with pytest.raises(ConnectionError):
                await call(stack, Always())
            assert breaker.state is OPEN, "each attempt was counted"
            with pytest.raises(CircuitOpen):
                await call(stack, Flaky())
        assert await call(stack, Flaky()) == "well"

    world.run(main())


def test_a_key_that_cannot_be_one_is_an_error_before_the_call() -> None:
    breaker, fn = CircuitBreaker(key=cast("Any", lambda request: ["a"])), Flaky()
    with pytest.raises(TypeError, match=r"^key: expected a key of text, .* found list: make"):
        breaker.call(fn)
    assert fn.calls == 0


def test_a_long_key_is_kept_as_a_digest(events: list[Event]) -> None:
    breaker = CircuitBreaker(minimum_calls=1, key="key", max_keys=2)
    with serving(Request(key="x" * 1_000_000)), pytest.raises(ConnectionError):
        breaker.call(Always())
    with serving(Request(key="x" * 64)):
        breaker.call(Flaky())
    (changed,) = [event for event in events if isinstance(event, BreakerChanged)]
    assert changed.key.startswith("sha256:")
    assert breaker.state_of("x" * 1_000_000) is OPEN
    assert breaker.state_of("x" * 64) is CLOSED


def test_what_a_function_returns_is_told_in_short(events: list[Event]) -> None:
    breaker = CircuitBreaker(minimum_calls=1, key=lambda request: ("a" * 1000,))
    with pytest.raises(ConnectionError):
        breaker.call(Always())
    (changed,) = [event for event in events if isinstance(event, BreakerChanged)]
    assert changed.key.startswith("sha256:")


@both_colours
def test_a_new_key_takes_the_place_of_a_closed_one(world: VirtualRuntime, call: Call[Any]) -> None:
    breaker = CircuitBreaker(minimum_calls=1, key="key", max_keys=3)

    async def main() -> None:
        await fail(call, breaker, "ill")
        for key in ("a", "b", "c", "d"):
            world.advance(0.5)
            with serving(Request(key=key)):
                await call(breaker, Flaky())
        assert breaker.snapshot()["keys"] == 3.0
        assert breaker.state_of("ill") is OPEN

    world.run(main())


@both_colours
def test_a_call_under_way_outlives_its_breaker(world: VirtualRuntime, call: Call[Any]) -> None:
    breaker = CircuitBreaker(minimum_calls=1, key="key", max_keys=1)

    def other() -> None:
        with serving(Request(key="b")):
            breaker.call(Flaky())
        raise ConnectionError

    async def main() -> None:
        with serving(Request(key="a")), pytest.raises(ConnectionError):
            await call(breaker, other)
        assert breaker.state_of("a") is breaker.state_of("b") is CLOSED

    world.run(main())


@pytest.mark.parametrize("mode", ["shadow", "disabled", "forced_open"])
def test_a_new_key_begins_in_the_present_mode(mode: Any) -> None:
    breaker = CircuitBreaker(key="key")
    breaker.switch(mode)
    closed = BreakerState("closed" if mode == "shadow" else mode.replace("_", "-"))
    assert breaker.state is closed
    with serving(Request(key="new")):
        if mode == "forced_open":
            with pytest.raises(CircuitOpen):
                breaker.call(Flaky())
        else:
            breaker.call(Flaky())
    assert breaker.state_of("new") is closed
