"""A function of the user's that fails does not change how the call ends, and is told of."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import LONGEST, Always, Flaky, notes

from escala import (
    AdaptiveLimit,
    AdaptiveThrottle,
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Hedge,
    Policy,
    Retry,
)
from escala.errors import ConfigError
from escala.kernel.events import Event
from escala.resilience import BreakerState, FunctionFailed, Retried, Standard
from escala.testing import VirtualRuntime

OPEN, CLOSED = BreakerState.OPEN, BreakerState.CLOSED


def raises(*_: object) -> Any:
    raise LookupError("a bug in it")


async def unawaited(*_: object) -> None:
    pass


def later(outcome: object) -> Awaitable[None]:
    """A sync function, as far as one can see, that has to be awaited."""
    return unawaited(outcome)


class Undecided:
    def __bool__(self) -> bool:
        raise ValueError("neither true nor false")


def told(events: list[Event]) -> list[tuple[str, str, str]]:
    return [(e.name, e.function, e.cause) for e in events if isinstance(e, FunctionFailed)]


# What can be seen to be wrong is refused when the policy is built

FALLBACK = partial(Fallback, value=1)
MAKERS: list[tuple[Callable[..., Policy], str]] = [
    *((Retry, word) for word in ("judge", "hint", "discard")),
    *((Hedge, word) for word in ("judge", "discard")),
    (CircuitBreaker, "judge"),
    (FALLBACK, "judge"),
    (AdaptiveLimit, "judge"),
    (AdaptiveThrottle, "judge"),
    *((Standard, word) for word in ("judge", "hint", "discard")),
]
FUNCTIONS: list[tuple[Callable[..., Policy], str]] = [
    *MAKERS,
    (Retry, "backoff"),
    *((make, "on") for make in (Retry, CircuitBreaker, FALLBACK, AdaptiveLimit, AdaptiveThrottle)),
    *((make, "key") for make in (Bulkhead, CircuitBreaker)),
    (partial(Fallback, last_good="1m"), "key"),
]


def named(make: Any) -> str:
    return getattr(make, "func", make).__name__


def ids(makers: list[tuple[Callable[..., Policy], str]]) -> list[str]:
    return [f"{named(make)}-{word}-{number}" for number, (make, word) in enumerate(makers)]


@pytest.mark.parametrize(("make", "word"), MAKERS, ids=ids(MAKERS))
def test_what_cannot_be_called_is_refused(make: Callable[..., Policy], word: str) -> None:
    whose = "Retry" if make is Standard else named(make)
    with pytest.raises(ConfigError, match=f"^{whose}: {word}: expected a function, found 3$"):
        make(**{word: 3})


@pytest.mark.parametrize(("make", "word"), FUNCTIONS, ids=ids(FUNCTIONS))
def test_an_async_function_is_refused(make: Callable[..., Policy], word: str) -> None:
    whose = "Retry" if make is Standard else named(make)
    with pytest.raises(
        ConfigError, match=f"^{whose}: {word}: expected a sync function, found async unawaited$"
    ):
        make(**{word: unawaited})


# One that fails is as if it had not been given

BAD = pytest.mark.parametrize(
    ("function", "cause"),
    [(raises, "LookupError"), (later, "TypeError"), (lambda _: Undecided(), "ValueError")],
    ids=["raises", "unawaited", "undecided"],
)
JUDGED: list[Callable[..., Policy]] = [
    Retry,
    partial(Hedge, "1s"),
    partial(Hedge, 0),
    CircuitBreaker,
    partial(CircuitBreaker, key="host", slow="1s"),
    partial(CircuitBreaker, statuses=[503]),
    FALLBACK,
    partial(Fallback, last_good="1m", key=lambda _: "all"),
    AdaptiveLimit,
    AdaptiveThrottle,
    Standard,
]
LABELS = [f"{named(make)}-{number}" for number, make in enumerate(JUDGED)]


@both_colours
@BAD
@pytest.mark.parametrize("make", JUDGED, ids=LABELS)
def test_a_value_is_returned_whatever_the_judge_does(
    world: VirtualRuntime,
    events: list[Event],
    shown: list[BaseException],
    call: Call[Any],
    *,
    make: Callable[..., Policy],
    function: Any,
    cause: str,
) -> None:
    policy: Any = make(judge=function)
    assert world.run(call(policy, Flaky("tea"))) == "tea"
    names = (
        {policy.name} if make is not Standard else {"standard.retry", "standard.circuit_breaker"}
    )
    assert {(name, "judge", cause) for name in names} == set(told(events))
    assert {type(error).__name__ for error in shown} == {cause}
    assert len(shown) == len(told(events))


ON: list[tuple[Callable[..., Policy], bool]] = [
    (partial(Retry, attempts=1), False),
    (CircuitBreaker, True),
    (partial(CircuitBreaker, statuses=[503]), True),
    (AdaptiveLimit, True),
    (AdaptiveThrottle, True),
]


@both_colours
@BAD
@pytest.mark.parametrize(
    "make", [make for make, _ in ON], ids=[f"{named(make)}-{n}" for n, (make, _) in enumerate(ON)]
)
def test_an_error_is_raised_whatever_the_predicate_does(
    world: VirtualRuntime,
    events: list[Event],
    shown: list[BaseException],
    call: Call[Any],
    *,
    make: Callable[..., Policy],
    function: Any,
    cause: str,
) -> None:
    policy: Any = make(on=function)
    error = ConnectionError("reset")
    with pytest.raises(ConnectionError) as caught:
        world.run(call(policy, Flaky(error)))
    assert caught.value is error
    assert caught.value.__context__ is None
    note = f"{policy.name}: on failed with {cause}, so it was as if none had been given"
    assert note in notes(error)
    assert told(events) == [(policy.name, "on", cause)]
    assert [type(each).__name__ for each in shown] == [cause]


@both_colours
def test_what_on_is_by_default_holds_in_its_place(
    world: VirtualRuntime, shown: list[BaseException], call: Call[Any]
) -> None:
    async def main() -> None:
        retry = Retry(on=raises)
        assert await call(retry, Flaky(ConnectionError())) == "well"
        with pytest.raises(KeyError):
            await call(retry, fn := Flaky(KeyError()))
        assert fn.calls == 1

        breaker = CircuitBreaker(consecutive=1, on=raises)
        with pytest.raises(KeyError):
            await call(breaker, Flaky(KeyError()))
        assert breaker.state is OPEN
        world.advance(5)
        with pytest.raises(KeyError):
            await call(breaker, Flaky(KeyError()))
        assert breaker.state is OPEN, "its probe came back"

        fallback = Fallback(value="instead", on=raises)
        assert await call(fallback, Flaky(ConnectionError())) == "instead"
        with pytest.raises(KeyError):
            await call(fallback, Flaky(KeyError()))

        limit = AdaptiveLimit(on=raises)
        with pytest.raises(ConnectionError):
            await call(limit, Always())
        assert limit.snapshot()["in_use"] == 0

        throttle = AdaptiveThrottle(on=raises, rng=LONGEST)
        for _ in range(5):
            with pytest.raises(ConnectionError):
                await call(throttle, Always())
        assert throttle.snapshot()["chance"] > 0

    world.run(main())


@both_colours
def test_a_value_that_could_not_be_judged_is_a_good_one(
    world: VirtualRuntime, shown: list[BaseException], call: Call[Any]
) -> None:
    async def main() -> None:
        for breaker in (
            CircuitBreaker(consecutive=1, judge=raises),
            CircuitBreaker(consecutive=1, judge=raises, key="host"),
        ):
            assert await call(breaker, Flaky("tea")) == "tea"
            assert breaker.state is CLOSED
        last_good = Fallback(last_good="1m", key=lambda _: "all", judge=raises)
        assert await call(last_good, Flaky("tea")) == "tea"
        assert await call(last_good, Always()) == "tea"

    world.run(main())


# Retry


@both_colours
@pytest.mark.parametrize(
    ("backoff", "cause"),
    [
        (raises, "LookupError"),
        (lambda _: None, "TypeError"),
        (lambda _: "1s", "TypeError"),
        (lambda _: math.nan, "ValueError"),
        (lambda _: -0.5, "ValueError"),
        (later, "TypeError"),
    ],
    ids=["raises", "none", "text", "nan", "negative", "unawaited"],
)
def test_a_backoff_that_makes_no_sense_grows_as_by_default(
    world: VirtualRuntime,
    events: list[Event],
    shown: list[BaseException],
    call: Call[Any],
    *,
    backoff: Any,
    cause: str,
) -> None:
    retry = Retry(4, base="1s", cap="3s", backoff=backoff, jitter="none", budget=None)
    with pytest.raises(ConnectionError):
        world.run(call(retry, Always()))
    assert [event.delay for event in events if isinstance(event, Retried)] == [1.0, 2.0, 3.0]
    assert world.now() == 6
    assert set(told(events)) == {("retry", "backoff", cause)}


@both_colours
@pytest.mark.parametrize(("said", "wait"), [(0, 0.0), (2, 2.0), (math.inf, 4.0), (10**400, 4.0)])
def test_a_backoff_that_makes_sense_is_bounded_by_the_cap(
    world: VirtualRuntime, events: list[Event], call: Call[Any], said: float, wait: float
) -> None:
    retry = Retry(2, cap="4s", backoff=lambda _: said, rng=LONGEST)
    world.run(call(retry, Flaky(ConnectionError())))
    assert world.now() == wait
    assert told(events) == []


@both_colours
@pytest.mark.parametrize(
    ("hint", "cause"),
    [
        (raises, "LookupError"),
        (lambda _: "3", "TypeError"),
        (lambda _: math.nan, "ValueError"),
        (later, "TypeError"),
    ],
    ids=["raises", "text", "nan", "unawaited"],
)
def test_a_hint_that_makes_no_sense_is_none(
    world: VirtualRuntime,
    events: list[Event],
    shown: list[BaseException],
    call: Call[Any],
    *,
    hint: Any,
    cause: str,
) -> None:
    first, last = ConnectionError("first"), ConnectionError("last")
    retry = Retry(2, base="1s", jitter="none", hint=hint)
    with pytest.raises(ConnectionError) as caught:
        world.run(call(retry, Flaky(first, last)))
    assert caught.value is last
    assert world.now() == 1
    assert told(events) == [("retry", "hint", cause)] * 2
    note = f"retry: hint failed with {cause}, so it was as if none had been given"
    assert notes(first) == [note]
    assert notes(last)[0] == note
    assert "retry gave up" in notes(last)[1]


class Busy(ConnectionError):
    retry_after = 3.0


class Broken(ConnectionError):
    @property
    def retry_after(self) -> float:
        raise AttributeError if self.args else LookupError


@both_colours
def test_what_the_error_asks_for_holds_where_the_hint_fails(
    world: VirtualRuntime, shown: list[BaseException], call: Call[Any]
) -> None:
    world.run(call(Retry(2, base=0, hint=raises), Flaky(Busy())))
    assert world.now() == 3


@both_colours
def test_an_error_that_cannot_say_is_one_that_says_nothing(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    for error in (Broken(), Broken("again")):
        assert world.run(call(Retry(2, base=0), Flaky(error))) == "well"
    assert world.now() == 0


@both_colours
@pytest.mark.parametrize(("discard", "cause"), [(raises, "LookupError"), (later, "TypeError")])
def test_a_discard_that_fails_keeps_no_call_from_its_next_attempt(
    world: VirtualRuntime,
    events: list[Event],
    shown: list[BaseException],
    call: Call[Any],
    *,
    discard: Any,
    cause: str,
) -> None:
    retry = Retry(base=0, judge=lambda value: value == 500, discard=discard)
    assert world.run(call(retry, Flaky(500))) == "well"
    assert told(events) == [("retry", "discard", cause)]


def test_the_same_fault_is_noted_once_on_the_same_error(
    world: VirtualRuntime, shown: list[BaseException]
) -> None:
    error = ConnectionError()
    with pytest.raises(ConnectionError):
        Retry(3, base=0, budget=None, hint=raises).call(Flaky(error, error, error))
    assert len(shown) == 3
    assert [note for note in notes(error) if "hint" in note] == [
        "retry: hint failed with LookupError, so it was as if none had been given"
    ]


# Hedge


def test_copies_are_told_apart_without_a_judge(
    world: VirtualRuntime, shown: list[BaseException]
) -> None:
    dropped, values, waits = list[object](), iter("ab"), iter([3.0, 1.0])

    async def fetch() -> str:
        value = next(values)
        await world.sleep(next(waits))
        return value

    hedge = Hedge("1s", judge=raises, discard=dropped.append, budget=None)
    assert world.run(hedge.acall(fetch)) == "b"
    assert dropped == []
    assert len(shown) == 1


# Keys are asked for before the call

KEYED: list[Callable[..., Policy]] = [
    Bulkhead,
    CircuitBreaker,
    partial(Fallback, value="instead", last_good="1m"),
]


@both_colours
@pytest.mark.parametrize("key", [raises, later, lambda _: []], ids=["raises", "unawaited", "list"])
@pytest.mark.parametrize("make", KEYED, ids=[named(make) for make in KEYED])
def test_a_key_that_fails_is_raised_and_no_call_is_made(
    world: VirtualRuntime, call: Call[Any], make: Callable[..., Policy], key: Any
) -> None:
    policy: Any = make(key=key)
    with pytest.raises((LookupError, TypeError)):
        world.run(call(policy, fn := Flaky()))
    assert fn.calls == 0
    assert not policy.snapshot().get("in_use") if isinstance(policy, Bulkhead) else True


# What is no bug in the function goes its way


@pytest.mark.parametrize("make", [make for make in JUDGED if make is not Standard], ids=LABELS[:-1])
@pytest.mark.parametrize("end", [KeyboardInterrupt, asyncio.CancelledError])
def test_what_ends_a_program_or_a_task_is_not_held_back(
    world: VirtualRuntime, make: Callable[..., Policy], end: type[BaseException]
) -> None:
    def judge(_: object) -> bool:
        raise end

    with pytest.raises(end):
        world.run(make(judge=judge).acall(Flaky("tea").awaited))


def test_a_status_that_cannot_be_read_is_none(world: VirtualRuntime) -> None:
    class Odd(Exception):
        @property
        def response(self) -> object:
            raise RuntimeError("there is none")

        def code(self, page: int) -> int:
            return page

    breaker = CircuitBreaker(consecutive=1, statuses=[503], on=KeyError)
    with pytest.raises(Odd):
        world.run(breaker.acall(Flaky(Odd()).awaited))
    assert breaker.state is CLOSED
