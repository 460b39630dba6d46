"""`Retry` in virtual time, in both colours."""

from __future__ import annotations

import asyncio
import random
import traceback
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import LONGEST, Always, Flaky, notes

from escala.errors import (
    BackendError,
    CircuitOpen,
    ConfigError,
    RateLimited,
    Rejected,
    WouldBlock,
)
from escala.kernel.context import Request, serving
from escala.kernel.events import Event
from escala.kernel.runtime import Runtime, ThreadRuntime, drive
from escala.kernel.stack import Stack
from escala.resilience import GiveUp, Retried, Retry, RetryBudget, RetryGaveUp
from escala.testing import Trial, VirtualRuntime, cancel_everywhere


@both_colours
def test_tries_again_until_it_works(world: VirtualRuntime, call: Call[Any]) -> None:
    fn = Flaky(ConnectionError(), TimeoutError())
    assert world.run(call(Retry(rng=LONGEST), fn)) == "well"
    assert fn.calls == 3
    assert world.now() == pytest.approx(0.1 + 0.2)


@both_colours
def test_the_waits_are_drawn_from_zero_to_a_growing_ceiling(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    retry = Retry(attempts=6, base=1, cap=6, budget=None, rng=random.Random(5))
    same = random.Random(5)
    assert world.run(call(retry, Flaky(*[ConnectionError()] * 5))) == "well"
    assert world.now() == pytest.approx(sum(same.random() * top for top in (1, 2, 4, 6, 6)))


@both_colours
def test_raises_the_last_error_itself_with_one_note(world: VirtualRuntime, call: Call[Any]) -> None:
    first, last = ConnectionError("first"), BackendError("last")
    with pytest.raises(BackendError) as caught:
        world.run(call(Retry(attempts=2, base=1.2, rng=LONGEST), Flaky(first, last)))
    assert caught.value is last
    assert notes(last) == ["2 attempts in 1.2 s; retry gave up: no attempt is left"]
    assert notes(first) == []
    assert last.__context__ is None, "the attempts before are not its cause"


@both_colours
def test_an_error_that_is_raised_again_and_again_keeps_one_note(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    same = ConnectionError()
    same.add_note("the user's own")
    retry = Retry(attempts=2, base=0)
    for _ in range(3):
        with pytest.raises(ConnectionError):
            world.run(call(retry, Always(lambda: same)))
    with pytest.raises(ConnectionError):
        world.run(call(Retry(attempts=1), Always(lambda: same)))
    assert notes(same) == [
        "the user's own",
        "1 attempt in 0 s; retry gave up: no attempt is left",
    ]


def test_nested_retries_with_names_both_leave_their_notes(world: VirtualRuntime) -> None:
    stack = Stack(Retry(2, base=0, name="outer"), Retry(3, base=0, name="inner"))
    with pytest.raises(ConnectionError) as caught:
        world.run(stack.acall(Always().awaited))
    assert [note.split(";")[0] for note in notes(caught.value)] == [
        "3 attempts in 0 s",
        "2 attempts in 0 s",
    ]


@both_colours
@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        RateLimited("limit", "used up", 0.1),
        CircuitOpen("breaker", "open"),
        Rejected("other", "no"),
        WouldBlock("would"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_accident_is_raised_as_it_is(
    world: VirtualRuntime, call: Call[Any], error: Exception
) -> None:
    on = ConnectionError if isinstance(error, ValueError) else Exception
    fn = Flaky(error)
    with pytest.raises(type(error)) as caught:
        world.run(call(Retry(on=on), fn))
    assert caught.value is error
    assert fn.calls == 1
    assert notes(error) == []


@both_colours
def test_a_function_may_say_which_errors_are_worth_it(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    retry = Retry(on=lambda error: "again" in str(error), base=0)
    fn = Flaky(ValueError("again"), KeyError("again"), ValueError("no"))
    with pytest.raises(ValueError, match="no") as caught:
        world.run(call(retry, fn))
    assert fn.calls == 3
    assert notes(caught.value) == []
    assert [type(event) for event in events] == [Retried, Retried]
    for error in (CircuitOpen("again", "open"), WouldBlock("again")):
        fn = Flaky(error)
        with pytest.raises(type(error)):
            world.run(call(retry, fn))
        assert fn.calls == 1


@both_colours
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()], ids=["ctrl-c", "exit"])
def test_what_ends_the_program_is_never_repeated(call: Call[Any], error: BaseException) -> None:
    fn = Flaky(error)
    with pytest.raises(type(error)):
        drive(call(Retry(on=Exception), fn))
    assert fn.calls == 1


def test_a_cancellation_is_never_repeated(world: VirtualRuntime) -> None:
    calls = 0

    async def slow() -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(60)  # noqa: TID251  a user's own wait

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await Retry(on=Exception).acall(slow)
        return world.now()

    assert world.run(main()) == pytest.approx(0.1)
    assert calls == 1


# Requests


class Streamed(Request):
    """A request whose body went through our hands and is gone."""

    @property
    def repeatable(self) -> bool:
        return False


@both_colours
@pytest.mark.parametrize(
    ("request_", "unsafe", "calls"),
    [
        (Request(idempotent=True), False, 2),
        (Request(idempotent=None), False, 2),
        (Request(idempotent=False), False, 1),
        (Request(idempotent=False), True, 2),
        (Streamed(idempotent=True), False, 1),
        (Streamed(idempotent=True), True, 1),
        (Streamed(idempotent=None), False, 1),
        (Streamed(idempotent=False), True, 1),
    ],
)
def test_only_requests_that_may_be_repeated_are(
    world: VirtualRuntime, call: Call[Any], request_: Request, unsafe: bool, calls: int
) -> None:
    fn = Flaky(ConnectionError())

    async def main() -> None:
        with serving(request_):
            await call(Retry(unsafe=unsafe), fn)

    if calls == 1:
        with pytest.raises(ConnectionError) as caught:
            world.run(main())
        assert "not safe to repeat" in notes(caught.value)[0]
    else:
        world.run(main())
    assert fn.calls == calls
    assert request_.notes["attempts"] == str(calls)


@both_colours
def test_what_is_not_safe_to_repeat_is_told(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    async def main() -> None:
        with serving(Request(idempotent=False)):
            await call(Retry(), Flaky(ConnectionError()))

    with pytest.raises(ConnectionError):
        world.run(main())
    assert events == [RetryGaveUp(name="retry", at=0.0, attempts=1, reason=GiveUp.UNSAFE)]


@both_colours
def test_counts_the_attempts_of_a_request(world: VirtualRuntime, call: Call[Any]) -> None:
    async def main() -> list[str]:
        counts = []
        for failures in range(3):
            with serving(Request()) as request:
                await call(Retry(), Flaky(*[ConnectionError()] * failures))
                counts.append(request.notes["attempts"])
        return counts

    assert world.run(main()) == ["1", "2", "3"]


# Budget and events


@both_colours
def test_tells_each_retry_and_the_end(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    retry = Retry(rng=LONGEST, name="shop.retry")
    with pytest.raises(ConnectionResetError):
        world.run(call(retry, Flaky(BackendError(), TimeoutError(), ConnectionResetError())))
    assert events == [
        Retried(name="shop.retry", at=0.0, attempt=1, delay=0.1, cause="BackendError"),
        Retried(name="shop.retry", at=0.1, attempt=2, delay=0.2, cause="TimeoutError"),
        RetryGaveUp(name="shop.retry", at=0.1 + 0.2, attempts=3, reason=GiveUp.ATTEMPTS),
    ]


def test_a_crowd_that_fails_retries_within_the_budget(
    world: VirtualRuntime, events: list[Event]
) -> None:
    retry, fn = Retry(2), Always()

    async def main() -> list[BaseException | object]:
        calls = (retry.acall(fn.awaited) for _ in range(100))
        return await asyncio.gather(*calls, return_exceptions=True)

    errors = world.run(main())
    reasons = [event.reason for event in events if isinstance(event, RetryGaveUp)]
    assert fn.calls == 120
    assert reasons.count(GiveUp.BUDGET) == 80
    assert sum("budget is used up" in notes(error)[0] for error in errors) == 80  # type: ignore[arg-type]


def test_policies_share_a_budget(world: VirtualRuntime) -> None:
    budget = RetryBudget("10%", floor=0)
    retries = [Retry(2, budget=budget), Retry(2, budget=budget)]
    fn = Always()

    async def main() -> None:
        calls = (retries[number % 2].acall(fn.awaited) for number in range(100))
        await asyncio.gather(*calls, return_exceptions=True)

    world.run(main())
    assert fn.calls == 110
    assert budget.under_way == 0


def test_without_a_budget_everyone_retries(world: VirtualRuntime) -> None:
    retry, fn = Retry(3, budget=None), Always()

    async def main() -> None:
        calls = (retry.acall(fn.awaited) for _ in range(100))
        await asyncio.gather(*calls, return_exceptions=True)

    world.run(main())
    assert fn.calls == 300
    assert retry.budget is None


def test_a_retry_that_is_cancelled_anywhere_gives_its_budget_back() -> None:
    async def scenario(trial: Trial) -> None:
        budget = RetryBudget()
        calls = 0

        async def flaky() -> None:
            nonlocal calls
            calls += 1
            await trial.world.sleep(1)
            if calls < 3:
                raise ConnectionError

        victim = trial.victim(Retry(budget=budget, hint=lambda _: 1.0).acall(flaky))
        await asyncio.wait({victim})
        assert budget.under_way == 0
        assert victim.cancelled() is trial.reached

    assert cancel_everywhere(scenario) == 11, "before the start, and twice in five waits"


# Uses


def test_a_with_block_is_refused() -> None:
    with pytest.raises(TypeError, match="may run its call again"), Retry():
        pass


def test_a_sync_call_in_a_running_loop_runs_unless_it_has_to_wait() -> None:
    fn = Flaky(ConnectionError())

    async def main() -> None:
        assert Retry(base=0).call(fn) == "well"
        assert Retry().call(fn) == "well"
        with pytest.raises(WouldBlock, match="await the `a` twin"):
            Retry(rng=LONGEST).call(Flaky(ConnectionError()))

    asyncio.run(main())


def test_the_traceback_leads_to_the_function() -> None:
    def broken() -> None:
        raise ConnectionError("here")

    with pytest.raises(ConnectionError) as caught:
        Retry(2, base=0).call(broken)
    text = "".join(traceback.format_exception(caught.value))
    assert text.count('raise ConnectionError("here")') == 1
    assert "During handling" not in text


def test_without_parentheses_it_says_so() -> None:
    def price() -> int:
        return 3

    with pytest.raises(ConfigError) as caught:
        Retry(price)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "Retry: expected its options, found the function "
        "test_without_parentheses_it_says_so.<locals>.price: "
        "to decorate it, write @Retry() with parentheses"
    )
    with pytest.raises(ConfigError, match="found the function <tests"):
        Retry(Flaky())  # type: ignore[arg-type]


Options = dict[str, Any]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"attempts": 0}, "attempts: expected an integer from 1 to 1000000, found 0"),
        ({"base": -1}, "base: expected a duration"),
        ({"cap": "5 parsecs"}, "cap: expected a duration"),
        ({"budget": "120%"}, "budget: expected a share"),
        ({"backoff": "quadratic"}, "backoff: expected "),
        ({"jitter": "some"}, "jitter: expected "),
        ({"jitter": None}, "jitter: expected "),
        (
            {"jitter": "decorrelated", "backoff": "linear"},
            "expected no backoff beside decorrelated jitter, which grows by itself; found linear",
        ),
        (
            {"jitter": "decorrelated", "backoff": len},
            "expected no backoff beside decorrelated jitter, which grows by itself; found len",
        ),
        ({"on": BaseException}, "on: expected exception classes"),
        (
            {"on": [ConnectionError, OSError]},
            "on: expected an exception class or a tuple of them, found a list: write (Connection",
        ),
        (
            {"on": {ValueError}},
            "on: expected an exception class or a tuple of them, found a set: write (ValueError,)",
        ),
        ({"on": (asyncio.CancelledError,)}, "on: expected exception classes"),
        ({"on": (ConnectionError, "x")}, "on: expected exception classes"),
        ({"on": (CircuitOpen,)}, "on: CircuitOpen is a refusal by Escala"),
        ({"on": (Exception, Rejected)}, "on: Rejected is a refusal by Escala"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value),
)
def test_bad_arguments(given: Options, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Retry(**given)
    assert str(caught.value).startswith(f"Retry: {message}")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"floor": -1}, "floor: expected an integer from 0 to 1000000, found -1"),
        ({"window": 0}, "window: expected a duration above zero"),
        ({"share": 2}, "share: expected a share"),
    ],
    ids=repr,
)
def test_bad_budgets(given: Options, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RetryBudget(**given)
    assert str(caught.value).startswith(f"RetryBudget: {message}")


def test_the_runtime_is_all_it_asks_of_the_world() -> None:
    waits: list[float] = []

    class Counting(ThreadRuntime):
        async def sleep(self, seconds: float) -> None:
            waits.append(seconds)

    runtime: Runtime = Counting()
    assert drive(Retry(rng=LONGEST).around(Flaky(ConnectionError()).awaited, runtime)) == "well"
    assert waits == [0.1]
