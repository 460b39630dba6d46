"""How long `Retry` waits: what failures ask for, and never past a deadline."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import LONGEST, Always, Drawn, Flaky, notes

from escala.errors import DeadlineExceeded
from escala.kernel.events import Event
from escala.kernel.runtime import ThreadRuntime, drive
from escala.kernel.stack import Stack
from escala.resilience import Deadline, Retried, Retry, RetryGaveUp, Timeout
from escala.testing import VirtualRuntime


class Busy(ConnectionError):
    def __init__(self, retry_after: object) -> None:
        self.retry_after = retry_after


@both_colours
@pytest.mark.parametrize(
    ("given", "waits"),
    [
        ({}, [1, 2, 4, 6]),
        ({"backoff": "linear"}, [1, 2, 3, 4]),
        ({"backoff": "constant"}, [1, 1, 1, 1]),
        ({"backoff": lambda attempt: attempt**2}, [1, 4, 6, 6]),
        ({"jitter": "equal"}, [1, 2, 4, 6]),
        ({"jitter": "none", "rng": Drawn(0.0)}, [1, 2, 4, 6]),
        ({"jitter": "equal", "rng": Drawn(0.0)}, [0.5, 1, 2, 3]),
        ({"jitter": "equal", "backoff": "constant", "rng": Drawn(0.5)}, [0.75] * 4),
        ({"jitter": "decorrelated"}, [3, 6, 6, 6]),
        ({"jitter": "decorrelated", "rng": Drawn(0.5)}, [2, 3.5, 5.75, 6]),
        ({"jitter": "decorrelated", "rng": Drawn(0.0)}, [1, 1, 1, 1]),
    ],
)
def test_backoff_and_jitter(
    world: VirtualRuntime, call: Call[Any], events: list[Event], given: Any, waits: list[float]
) -> None:
    retry = Retry(5, base=1, cap=6, **{"rng": LONGEST, **given})
    assert world.run(call(retry, Flaky(*[ConnectionError()] * 4))) == "well"
    delays = [event.delay for event in events if isinstance(event, Retried)]
    assert delays == pytest.approx(waits)
    assert world.now() == pytest.approx(sum(waits))


@both_colours
def test_what_a_failure_asks_for_makes_no_later_wait_longer(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    retry = Retry(3, base=1, cap=600, jitter="decorrelated", rng=LONGEST)
    world.run(call(retry, Flaky(Busy(100), ConnectionError())))
    assert [event.delay for event in events if isinstance(event, Retried)] == [103.0, 9.0]


@both_colours
def test_waits_as_long_as_the_error_asks_for_and_jitter_on_top(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    assert world.run(call(Retry(rng=LONGEST), Flaky(Busy(7)))) == "well"
    assert world.now() == pytest.approx(7.1)


@both_colours
def test_waits_as_long_as_the_result_asks_for(world: VirtualRuntime, call: Call[Any]) -> None:
    retry = Retry(judge=lambda result: result == 503, hint=lambda result: 4.0, rng=Drawn(0.0))
    assert world.run(call(retry, Flaky(503))) == "well"
    assert world.now() == pytest.approx(4.0)


@both_colours
@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        (-5, 0.1),
        (math.nan, 0.1),
        ("120", 0.1),
        (None, 0.1),
        (0, 0.1),
        (2.5, 2.6),
        (86_400, 86_400.1),
    ],
)
def test_odd_hints(world: VirtualRuntime, call: Call[Any], asked: object, waits: float) -> None:
    assert world.run(call(Retry(rng=LONGEST), Flaky(Busy(asked)))) == "well"
    assert world.now() == pytest.approx(waits)


@both_colours
@pytest.mark.parametrize("asked", [math.inf, 1e300, 10**400])
def test_a_hint_of_never_ends_it(world: VirtualRuntime, call: Call[Any], asked: float) -> None:
    with pytest.raises(Busy) as caught:
        world.run(call(Retry(), Flaky(Busy(asked))))
    assert notes(caught.value) == [
        "1 attempt in 0 s; retry gave up: the next attempt would begin after the deadline"
    ]


@both_colours
def test_the_hint_of_an_error_comes_first_from_the_function_then_from_itself(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    retry = Retry(hint=lambda failure: {"a": 3.0}.get(failure.args[0]), rng=Drawn(0.0))
    told, silent = Busy(9.0), Busy(2.0)
    told.args, silent.args = ("a",), ("b",)
    assert world.run(call(retry, Flaky(told, silent))) == "well"
    assert world.now() == pytest.approx(5.0)


def test_is_never_too_early_even_when_timers_are() -> None:
    class Hasty(ThreadRuntime):
        """Wakes a millisecond too soon, as event loops with coarse timers do."""

        time = 100.0

        def __init__(self) -> None:
            super().__init__(now=lambda: self.time)

        async def sleep(self, seconds: float) -> None:
            self.time += max(seconds - 0.001, 0.0002)

    runtime = Hasty()
    retry, fn = Retry(rng=Drawn(0.0)), Flaky(Busy(2.0))
    assert drive(retry.around(fn.awaited, runtime)) == "well"
    assert 102.0 <= runtime.now() < 102.001


@both_colours
def test_a_hint_beyond_the_deadline_ends_it_at_once(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    with pytest.raises(Busy) as caught:
        world.run(call(Stack(Deadline("3s"), Retry()), Flaky(Busy(3.5))))
    assert world.now() == 0.0
    assert "would begin after the deadline" in notes(caught.value)[0]
    assert [type(event) for event in events] == [RetryGaveUp]


@both_colours
def test_a_backoff_never_outlasts_the_deadline(world: VirtualRuntime, call: Call[Any]) -> None:
    retry = Retry(attempts=50, base=1, cap=1, budget=None, rng=LONGEST)
    fn = Always()
    with pytest.raises(ConnectionError) as caught:
        world.run(call(Stack(Deadline("3.5s"), retry), fn))
    assert fn.calls == 4
    assert world.now() == pytest.approx(3.0)
    assert notes(caught.value) == [
        "4 attempts in 3 s; retry gave up: the next attempt would begin after the deadline"
    ]


# Deadlines inside and outside


def test_an_inner_timeout_is_tried_again_while_there_is_time(world: VirtualRuntime) -> None:
    calls = 0

    async def slow() -> str:
        nonlocal calls
        calls += 1
        if calls < 3:
            await asyncio.sleep(60)  # noqa: TID251  a user's own wait
        return "well"

    stack = Stack(Deadline("10s"), Retry(base=0), Timeout("1s"))
    assert world.run(stack.acall(slow)) == "well"
    assert world.now() == pytest.approx(2.0)


@pytest.mark.parametrize("seed", range(6))
def test_the_outer_deadline_is_not_mistaken_for_an_inner_timeout(seed: int) -> None:
    world, calls = VirtualRuntime(seed), 0

    async def slow() -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(60)  # noqa: TID251  a user's own wait

    stack = Stack(Deadline("2.5s"), Retry(9, base=0, budget=None), Timeout("1s"))
    with pytest.raises(DeadlineExceeded, match=r"^deadline: .* longer than 2500ms"):
        world.run(stack.acall(slow))
    assert world.now() == pytest.approx(2.5)
    assert calls == 3


def test_a_task_that_only_inherits_the_deadline_does_not_retry_after_it(
    world: VirtualRuntime,
) -> None:
    calls = 0

    async def slow() -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(60)  # noqa: TID251  a user's own wait

    async def main() -> None:
        async with Deadline("2s"):
            inner = Stack(Retry(9, base=0), Timeout("5s"))
            task = asyncio.ensure_future(inner.acall(slow))
        with pytest.raises(DeadlineExceeded, match="timeout: the deadline around the call"):
            await task

    world.run(main())
    assert world.now() == pytest.approx(2.0)
    assert calls == 1
