"""`Fallback` in virtual time, in both colours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import LONGEST, Always, Flaky

from escala.errors import (
    BulkheadFull,
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    RateLimited,
    StoreUnavailable,
    WouldBlock,
)
from escala.kernel.context import Request, serving
from escala.kernel.events import Event
from escala.kernel.runtime import drive
from escala.kernel.stack import Stack
from escala.resilience import CircuitBreaker, Deadline, Fallback, FellBack, Retry, Timeout
from escala.testing import Trial, VirtualRuntime, cancel_everywhere


@both_colours
def test_a_call_that_answers_is_left_alone(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    assert world.run(call(Fallback(value=7), Flaky())) == "well"
    assert events == []


@both_colours
@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        DeadlineExceeded(),
        StoreUnavailable(),
        CircuitOpen("breaker", "open"),
        BulkheadFull("bulkhead", "full"),
        RateLimited("limit", "used up", 1.0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_answers_for_a_dependency_that_does_not(
    world: VirtualRuntime, call: Call[Any], error: Exception, events: list[Event]
) -> None:
    assert world.run(call(Fallback(value=7), Flaky(error))) == 7
    assert events == [FellBack(name="fallback", at=0.0, cause=type(error).__name__, source="value")]


@both_colours
@pytest.mark.parametrize("error", [ValueError(), OSError(), WouldBlock("would")], ids=repr)
def test_other_errors_are_raised_as_they_are(
    world: VirtualRuntime, call: Call[Any], error: Exception, events: list[Event]
) -> None:
    with pytest.raises(type(error)) as caught:
        world.run(call(Fallback(value=7), Flaky(error)))
    assert caught.value is error
    assert events == []


@both_colours
@pytest.mark.parametrize("on", [ValueError, (OSError, ValueError), lambda e: e.args == ("x",)])
def test_on_says_for_which(world: VirtualRuntime, call: Call[Any], on: Any) -> None:
    fallback = Fallback(value=7, on=on)
    assert world.run(call(fallback, Flaky(ValueError("x")))) == 7
    with pytest.raises(KeyError):
        world.run(call(fallback, Flaky(KeyError("y"))))


@both_colours
@pytest.mark.parametrize("on", [Exception, lambda _: True], ids=["class", "function"])
def test_a_mistake_and_an_end_are_never_hidden(call: Call[Any], on: Any) -> None:
    for error in (WouldBlock("would"), KeyboardInterrupt(), SystemExit()):
        with pytest.raises(type(error)):
            drive(call(Fallback(value=7, on=on), Flaky(error)))


def test_a_cancellation_is_never_hidden(world: VirtualRuntime) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await Fallback(value=7, on=lambda _: True).acall(world.sleep, 60)

    world.run(main())
    assert world.now() == pytest.approx(0.1)


@both_colours
def test_none_is_an_answer(world: VirtualRuntime, call: Call[Any]) -> None:
    assert world.run(call(Fallback(value=None), Always())) is None


# Functions


@both_colours
def test_a_function_is_given_the_error(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    error = ConnectionError("refused")
    assert world.run(call(Fallback(function=lambda failure: [failure]), Flaky(error))) == [error]
    assert [event.source for event in events if isinstance(event, FellBack)] == ["function"]


def test_an_async_function_is_awaited(world: VirtualRuntime) -> None:
    async def ask_elsewhere(_: object) -> str:
        await world.sleep(2)
        return "elsewhere"

    assert world.run(Fallback(function=ask_elsewhere).acall(Always().awaited)) == "elsewhere"
    assert world.now() == 2.0


def test_an_async_function_has_no_place_in_sync_code() -> None:
    async def ask_elsewhere(_: object) -> None: ...

    with pytest.raises(TypeError) as caught:
        Fallback(function=ask_elsewhere).call(Always())
    assert str(caught.value) == (
        "fallback: function is async, and this call is not: give it a sync one"
    )


@both_colours
def test_an_error_in_the_function_is_raised_with_the_first_as_its_context(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    first = ConnectionError()

    def broken(_: object) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken") as caught:
        world.run(call(Fallback(function=broken), Flaky(first)))
    assert caught.value.__context__ is first
    assert events == []


def test_is_cancelled_in_its_function() -> None:
    async def scenario(trial: Trial) -> None:
        fallback = Fallback(function=lambda _: trial.world.sleep(1))
        victim = trial.victim(fallback.acall(Always().awaited))
        await asyncio.wait({victim})
        assert victim.cancelled() is trial.reached

    assert cancel_everywhere(scenario) == 3


# Values


@both_colours
def test_a_failing_value_is_replaced(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    fallback = Fallback(function=lambda value: -value, judge=lambda value: value == 503)
    assert world.run(call(fallback, Flaky(503))) == -503
    assert world.run(call(fallback, Flaky(200))) == 200
    assert events == [FellBack(name="fallback", at=0.0, cause="result", source="function")]


# The last good value


def asked(call: Call[Any], policy: Any, fn: Any, key: str | None = "tea") -> Any:
    async def served() -> Any:
        with serving(Request(key=key)):
            return await call(policy, fn)

    return served()


@both_colours
def test_the_last_good_value_of_the_same_key(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    fallback = Fallback(last_good="5m", key="key")
    for key, price in (("tea", 3), ("cup", 9), ("tea", 4)):
        assert world.run(asked(call, fallback, Flaky(price), key)) == price
    assert world.run(asked(call, fallback, Always(), "tea")) == 4
    assert world.run(asked(call, fallback, Always(), "cup")) == 9
    with pytest.raises(ConnectionError):
        world.run(asked(call, fallback, Always(), "pot"))
    assert [event.source for event in events if isinstance(event, FellBack)] == ["last_good"] * 2


@both_colours
def test_is_not_older_than_it_may_be(world: VirtualRuntime, call: Call[Any]) -> None:
    fallback = Fallback(last_good="5m", key="key", value="gone")
    world.run(asked(call, fallback, Flaky("price")))
    world.advance(300.0)
    assert world.run(asked(call, fallback, Always())) == "price"
    assert world.run(asked(call, fallback, Always())) == "price", "which makes it no younger"
    world.advance(0.001)
    assert world.run(asked(call, fallback, Always())) == "gone"


@both_colours
def test_without_a_last_value_it_is_the_other_source(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    fallback = Fallback(last_good="5m", key="key", function=lambda _: "none yet")
    assert world.run(asked(call, fallback, Always())) == "none yet"
    assert world.run(asked(call, fallback, Flaky("price"))) == "price"
    assert world.run(asked(call, fallback, Always())) == "price"
    assert [event.source for event in events if isinstance(event, FellBack)] == [
        "function",
        "last_good",
    ]


@both_colours
def test_a_failing_value_is_not_kept(world: VirtualRuntime, call: Call[Any]) -> None:
    fallback = Fallback(last_good="5m", key="key", judge=lambda value: value == 503)
    assert world.run(asked(call, fallback, Flaky(503))) == 503, "there is nothing better"
    world.run(asked(call, fallback, Flaky(200)))
    assert world.run(asked(call, fallback, Flaky(503))) == 200
    assert world.run(asked(call, fallback, Always())) == 200


@both_colours
def test_for_a_call_without_a_key_nothing_is_kept(world: VirtualRuntime, call: Call[Any]) -> None:
    fallback = Fallback(last_good="5m", key="key")
    world.run(asked(call, fallback, Flaky("price"), None))
    with pytest.raises(ConnectionError):
        world.run(asked(call, fallback, Always(), None))
    world.run(call(fallback, Flaky("price")))
    with pytest.raises(ConnectionError):
        world.run(call(fallback, Always()))


@both_colours
def test_a_function_may_say_the_key(world: VirtualRuntime, call: Call[Any]) -> None:
    shared = Fallback(last_good="5m", key=lambda _: "all")
    world.run(call(shared, Flaky("price")))
    assert world.run(call(shared, Always())) == "price"
    none = Fallback(last_good="5m", key=lambda _: None)
    world.run(call(none, Flaky("price")))
    with pytest.raises(ConnectionError):
        world.run(call(none, Always()))


@both_colours
def test_for_so_many_keys(world: VirtualRuntime, call: Call[Any]) -> None:
    fallback = Fallback(last_good="5m", key="key", max_keys=2)
    for key in "abc":
        world.run(asked(call, fallback, Flaky(key), key))
    with pytest.raises(ConnectionError):
        world.run(asked(call, fallback, Always(), "a"))
    assert world.run(asked(call, fallback, Always(), "b")) == "b"


# In stacks


@both_colours
def test_around_a_retry_it_answers_once_all_tries_have_failed(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    fn = Always()
    assert world.run(call(Stack(Fallback(value=7), Retry(3, rng=LONGEST)), fn)) == 7
    assert fn.calls == 3


@both_colours
def test_inside_a_retry_nothing_is_left_to_repeat(world: VirtualRuntime, call: Call[Any]) -> None:
    fn = Always()
    assert world.run(call(Stack(Retry(3), Fallback(value=7)), fn)) == 7
    assert fn.calls == 1


@both_colours
def test_around_a_breaker_it_answers_while_that_is_open(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    fn, stack = Always(), Stack(Fallback(value=7), CircuitBreaker(minimum_calls=1))

    async def main() -> None:
        assert [await call(stack, fn) for _ in range(3)] == [7, 7, 7]

    world.run(main())
    assert fn.calls == 1


def test_around_time_limits_it_answers_when_they_come(world: VirtualRuntime) -> None:
    stack = Stack(Fallback(value=7), Deadline("3s"), Timeout("9s"))
    assert world.run(stack.acall(world.sleep, 60)) == 7
    assert world.now() == 3.0


def test_a_with_block_ends_without_its_error(events: list[Event]) -> None:
    with Fallback(value=None):
        raise ConnectionError
    assert len(events) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "expected value=, function= or last_good=, found none"),
        ({"value": 1, "function": len}, "expected a value or a function, found both"),
        ({"function": 3}, "function: expected a function of the error, found 3"),
        ({"last_good": "5m"}, "key: expected beside last_good, found none"),
        ({"value": 1, "key": "key"}, "last_good: expected beside key, found none"),
        ({"last_good": 0, "key": "key"}, "last_good: expected a duration above zero"),
        ({"last_good": 1, "key": "", "value": 1}, "key: expected "),
        ({"last_good": 1, "key": "key", "max_keys": 0}, "max_keys: expected an integer from 1"),
        ({"value": 1, "on": [OSError]}, "on: expected an exception class or a tuple of them"),
        ({"value": 1, "on": asyncio.CancelledError}, "on: expected exception classes"),
    ],
    ids=repr,
)
def test_bad_arguments(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Fallback(**given)
    assert str(caught.value).startswith(f"Fallback: {message}")


def test_a_large_value_reads_short() -> None:
    assert repr(Fallback(value="x" * 10_000)) == "Fallback(value='xxxxxxxxxxxx...xxxxxxxxxxxxx')"
