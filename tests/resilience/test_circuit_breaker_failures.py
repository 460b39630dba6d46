"""What `CircuitBreaker` takes for a failure: by class, predicate, status and time."""

from __future__ import annotations

import asyncio
import importlib
from functools import partial
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import requests
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import Always, Flaky

from escala.errors import ConfigError, DeadlineExceeded
from escala.kernel.policy import Scope
from escala.kernel.stack import Stack
from escala.resilience import BreakerState, CircuitBreaker, Deadline
from escala.resilience.breaker_options import BreakerOptions
from escala.testing import VirtualRuntime

grpc: Any = importlib.import_module("grpc")  # it says nothing about its types
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def is_refusal(error: Exception) -> bool:
    return "refused" in str(error)


@both_colours
def test_a_function_says_which_errors_are_failures(world: VirtualRuntime, call: Call[Any]) -> None:
    breaker = CircuitBreaker(minimum_calls=1, on=is_refusal)

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await call(breaker, Flaky(ConnectionError("reset")))
        assert breaker.state is CLOSED
        with pytest.raises(ConnectionError):
            await call(breaker, Flaky(ConnectionError("refused")))
        assert breaker.state is OPEN

    world.run(main())


def test_a_predicate_is_not_asked_about_what_says_nothing(world: VirtualRuntime) -> None:
    breaker = CircuitBreaker(minimum_calls=1, on=lambda error: True)

    async def main() -> None:
        with pytest.raises(KeyboardInterrupt):
            breaker.call(Flaky(KeyboardInterrupt()))
        with pytest.raises(DeadlineExceeded):
            await Stack(Deadline("1s"), breaker).acall(asyncio.sleep, 60)  # noqa: TID251
        assert breaker.state is CLOSED

    world.run(main())


class Rpc(grpc.RpcError):  # type: ignore[misc]
    def __init__(self, status: object) -> None:
        self._status = status

    def code(self) -> object:
        return self._status


def http_error(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://shop")
    response = httpx.Response(status, request=request)
    return httpx.HTTPStatusError("status", request=request, response=response)


def requests_error(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError("status", response=response)


class Told(Exception):
    def __init__(self, **fields: object) -> None:
        super().__init__(fields)
        self.__dict__.update(fields)


ENDS: list[tuple[str, Any, bool]] = [
    ("httpx 503", httpx.Response(503), True),
    ("httpx 500", httpx.Response(500), False),
    ("httpx 504", httpx.Response(504), True),
    ("httpx 505", httpx.Response(505), False),
    ("status 503", SimpleNamespace(status=503), True),
    ("status 200", SimpleNamespace(status=200), False),
    ("status 429", SimpleNamespace(status=429), True),
    ("no status", SimpleNamespace(), False),
    ("no answer", None, False),
    ("a flag is no status", SimpleNamespace(status=True, status_code=False), False),
    ("httpx error 503", http_error(503), True),
    ("httpx error 404", http_error(404), False),
    ("requests error 502", requests_error(502), True),
    ("requests error 400", requests_error(400), False),
    ("aiohttp error 503", Told(status=503), True),
    ("aiohttp error 401", Told(status=401), False),
    ("urllib error 503", Told(code=503), True),
    ("urllib error 404", Told(code=404), False),
    ("gRPC unavailable", Rpc(grpc.StatusCode.UNAVAILABLE), True),
    ("gRPC not found", Rpc(grpc.StatusCode.NOT_FOUND), False),
    ("an error without a status", ConnectionError(), True),
    ("one of another class", Told(code=lambda: None), False),
]


@both_colours
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end[0])
def test_by_status(world: VirtualRuntime, call: Call[Any], end: tuple[str, Any, bool]) -> None:
    breaker = CircuitBreaker(
        minimum_calls=1, statuses=[429, "502..504", "UNAVAILABLE"], on=ConnectionError
    )
    _, how, fails = end

    async def main() -> None:
        if isinstance(how, Exception):
            with pytest.raises(type(how)):
                await call(breaker, Flaky(how))
        else:
            assert await call(breaker, Flaky(how)) is how
        assert (breaker.state is OPEN) is fails

    world.run(main())


@pytest.mark.parametrize(("answer", "fails"), [(503, True), ("bad", True), ("good", False)])
def test_a_judge_is_asked_about_what_has_no_status(answer: Any, fails: bool) -> None:
    breaker = CircuitBreaker(
        minimum_calls=1, statuses=["503"], judge=lambda found: found in ("bad", 200)
    )
    breaker.call(Flaky(SimpleNamespace(status=answer) if answer == 503 else answer))
    assert (breaker.state is OPEN) is fails


def test_statuses_of_stack_yaml_stand_over_the_judge_of_the_gateway() -> None:
    made = CircuitBreaker.build(
        CircuitBreaker(statuses=[404], minimum_calls=1).options,
        Scope(judge=lambda answer: answer.status >= 500),
    )
    made.call(Flaky(SimpleNamespace(status=500)))
    assert made.state is CLOSED
    made.call(Flaky(SimpleNamespace(status=404)))
    assert made.state is OPEN


@both_colours
@pytest.mark.parametrize(("takes", "state"), [(1.999, CLOSED), (2.0, OPEN)])
def test_slow_calls_open_it(
    world: VirtualRuntime, call: Call[Any], takes: float, state: BreakerState
) -> None:
    breaker = CircuitBreaker(minimum_calls=4, slow="2s", slow_rate="75%")

    async def main() -> None:
        for seconds in (takes, takes, 0.0, takes):
            await call(breaker, partial(world.advance, seconds))
        assert breaker.state is state

    world.run(main())


@both_colours
def test_a_slow_failure_is_both_and_a_slow_answer_is_no_failure(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    def slow_failure() -> None:
        world.advance(3)
        raise ConnectionError

    def slow_answer() -> None:
        world.advance(3)
        raise KeyError("an answer")

    async def main() -> None:
        for fn, reason in (
            (slow_failure, "1 of 1 calls in 10 s failed"),
            (slow_answer, "1 of 1 calls in 10 s were slow"),
        ):
            breaker = CircuitBreaker(minimum_calls=1, slow=3, slow_rate=1, on=ConnectionError)
            with pytest.raises((ConnectionError, KeyError)):
                await call(breaker, fn)
            assert (breaker.state, breaker._machine.reason) == (OPEN, reason)
        only_slow = CircuitBreaker(failure_rate=None, minimum_calls=1, slow=3)
        with pytest.raises(ConnectionError):
            await call(only_slow, Always())
        assert only_slow.state is CLOSED
        with pytest.raises(ConnectionError):
            await call(only_slow, slow_failure)
        assert only_slow.state is OPEN

    world.run(main())


@both_colours
def test_a_slow_probe_opens_it_again(world: VirtualRuntime, call: Call[Any]) -> None:
    breaker = CircuitBreaker(consecutive=1, slow="2s")

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await call(breaker, Always())
        world.advance(5)
        await call(breaker, lambda: world.advance(2))
        assert (breaker.state, breaker._machine.reason) == (OPEN, "a probe was slow")

    world.run(main())


@both_colours
def test_a_cancelled_slow_call_says_nothing(world: VirtualRuntime, call: Call[Any]) -> None:
    breaker = CircuitBreaker(minimum_calls=1, slow="2s")

    def interrupted() -> None:
        world.advance(3)
        raise KeyboardInterrupt

    async def main() -> None:
        with pytest.raises(KeyboardInterrupt):
            await call(breaker, interrupted)
        assert breaker.state is CLOSED

    world.run(main())


@both_colours
def test_the_cooldown_grows_while_probes_fail(world: VirtualRuntime, call: Call[Any]) -> None:
    breaker = CircuitBreaker(consecutive=1, cooldown="5s", cooldown_cap="12s")

    async def main() -> None:
        waits = []
        for _ in range(4):
            with pytest.raises(ConnectionError):
                await call(breaker, Always())
            waits.append(breaker._machine.stay_away(world.now()))
            world.advance(waits[-1] or 0)
        assert waits == [5.0, 10.0, 12.0, 12.0]

    world.run(main())


@both_colours
def test_of_the_last_calls(world: VirtualRuntime, call: Call[Any]) -> None:
    breaker = CircuitBreaker(window="4 calls")

    async def main() -> None:
        for end in (None, None, ConnectionError, None):
            await call(breaker, Flaky()) if end is None else await fails(call, breaker)
            world.advance(3600)
        await fails(call, breaker)
        assert breaker.state is OPEN, "two of the last four"
        assert breaker._machine.reason == "2 of the last 4 calls failed"

    world.run(main())


async def fails(call: Call[Any], breaker: CircuitBreaker) -> None:
    with pytest.raises(ConnectionError):
        await call(breaker, Always())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"window": "0 calls"}, "window: expected a duration above zero such as '10s', or"),
        ({"window": "100000 calls"}, "window: expected a duration above zero such as '10s', or"),
        ({"window": "ten calls"}, "window: expected a duration above zero such as '10s', or"),
        ({"window": True}, "window: expected a duration above zero such as '10s', or"),
        ({"consecutive": 0}, "consecutive: expected an integer from 1"),
        ({"slow": 0}, "slow: expected a duration above zero"),
        ({"slow_rate": 0}, "slow_rate: expected a share above 0"),
        ({"failure_rate": None}, "expected failure_rate, consecutive or slow, found nothing"),
        (
            {"cooldown": "10s", "cooldown_cap": "9s"},
            "expected a cooldown_cap of at least the cooldown, 10s, found 9s",
        ),
        ({"statuses": ["5xx"]}, "statuses[0]: expected an HTTP status, a range of them or a gRPC"),
        ({"statuses": ["504..500"]}, "statuses[0]: expected an HTTP status, a range of them"),
        ({"statuses": [600]}, "statuses[0]: expected an HTTP status"),
        ({"statuses": [True]}, "statuses[0]: expected an HTTP status"),
        ({"statuses": 503}, "statuses: expected a list"),
        ({"max_keys": 0}, "max_keys: expected an integer from 1"),
        ({"mode": "on"}, "mode: expected one of 'disabled', 'enforce', 'forced_open', 'shadow'"),
        ({"on": 5}, "on: expected exception classes"),
        ({"on": BaseException}, "on: expected exception classes"),
    ],
    ids=repr,
)
def test_bad_arguments(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CircuitBreaker(**given)
    assert str(caught.value).startswith(f"CircuitBreaker: {message}")


def test_a_cap_may_be_the_cooldown_itself() -> None:
    assert BreakerOptions(cooldown_cap=BreakerOptions().cooldown).rules().cooldown_cap == 5.0


@pytest.mark.parametrize(("window", "minimum"), [("10 calls", 10), ("40 calls", 20), ("1s", 20)])
def test_a_window_of_few_calls_needs_no_more_of_them(window: str, minimum: int) -> None:
    assert CircuitBreaker(window=window).options.rules().minimum_calls == minimum
