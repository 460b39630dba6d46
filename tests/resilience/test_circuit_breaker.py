"""`CircuitBreaker` around calls: what counts, who passes, and what is told."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import Always, Flaky

from escala.errors import (
    BulkheadFull,
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    RateLimited,
    WouldBlock,
)
from escala.kernel.events import Event
from escala.kernel.stack import Stack
from escala.resilience import BreakerChanged, BreakerState, CircuitBreaker, Deadline, Timeout
from escala.testing import Trial, VirtualRuntime, cancel_everywhere

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


async def hang() -> None:
    await asyncio.sleep(60)  # noqa: TID251  a user's own wait


async def fail(call: Call[Any], breaker: CircuitBreaker, times: int = 2) -> None:
    for _ in range(times):
        with pytest.raises(ConnectionError):
            await call(breaker, Always())


@both_colours
def test_opens_refuses_probes_and_closes(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    breaker = CircuitBreaker(minimum_calls=2, name="shop")

    async def main() -> None:
        await fail(call, breaker)
        world.advance(1.5)
        fn = Flaky()
        with pytest.raises(CircuitOpen) as caught:
            await call(breaker, fn)
        assert fn.calls == 0
        assert caught.value.policy == "shop"
        assert caught.value.retry_after == 3.5
        assert "the circuit is open, since 2 of 2 calls in 10 s failed" in str(caught.value)
        world.advance(3.5)
        assert await call(breaker, fn) == "well"
        assert breaker.state is CLOSED
        assert await call(breaker, fn) == "well"

    world.run(main())
    steps = [(e.before, e.after, e.at) for e in events if isinstance(e, BreakerChanged)]
    assert steps == [(CLOSED, OPEN, 0.0), (OPEN, HALF_OPEN, 5.0), (HALF_OPEN, CLOSED, 5.0)]
    assert {event.name for event in events} == {"shop"}


@both_colours
def test_a_failed_probe_opens_it_again(world: VirtualRuntime, call: Call[Any]) -> None:
    breaker = CircuitBreaker(minimum_calls=2)

    async def main() -> None:
        await fail(call, breaker)
        world.advance(5)
        await fail(call, breaker, times=1)
        assert breaker.state is OPEN
        with pytest.raises(CircuitOpen) as caught:
            await call(breaker, Flaky())
        assert caught.value.retry_after == 5.0

    world.run(main())


@both_colours
@pytest.mark.parametrize(
    "error",
    [BulkheadFull("b", "full"), RateLimited("r", "used up"), WouldBlock(), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
def test_what_says_nothing_about_the_dependency_does_not_count(
    world: VirtualRuntime, call: Call[Any], error: BaseException
) -> None:
    breaker = CircuitBreaker(minimum_calls=2, probes=1)

    async def main() -> None:
        for _ in range(5):
            with pytest.raises(type(error)):
                await call(breaker, Flaky(error))
        assert breaker.state is CLOSED
        await fail(call, breaker)
        assert breaker.state is OPEN, "the five before count neither as calls nor as successes"
        world.advance(5)
        for _ in range(5):
            with pytest.raises(type(error)):
                await call(breaker, Flaky(error))
            assert breaker.state is HALF_OPEN, "each gave its permit back"
        assert await call(breaker, Flaky()) == "well"
        assert breaker.state is CLOSED

    world.run(main())


@both_colours
def test_only_the_given_errors_are_failures_others_are_answers(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    breaker = CircuitBreaker(minimum_calls=2, on=ConnectionError)

    async def main() -> None:
        for _ in range(5):
            with pytest.raises(ValueError):
                await call(breaker, Always(ValueError))
        assert breaker.state is CLOSED
        await fail(call, breaker, times=4)
        assert breaker.state is CLOSED, "four of nine"
        await fail(call, breaker, times=1)
        assert breaker.state is OPEN, "five of ten"

    world.run(main())


@both_colours
def test_a_judged_result_is_a_failure_and_still_returned(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    breaker = CircuitBreaker(minimum_calls=2, judge=lambda status: status >= 500)

    async def main() -> None:
        assert await call(breaker, Flaky(503)) == 503
        assert breaker.state is CLOSED
        assert await call(breaker, Flaky(200)) == 200
        assert breaker.state is OPEN

    world.run(main())


def test_an_inner_timeout_counts_and_the_callers_own_deadline_does_not(
    world: VirtualRuntime,
) -> None:
    async def main() -> None:
        inner = CircuitBreaker(minimum_calls=1)
        with pytest.raises(DeadlineExceeded):
            await Stack(inner, Timeout("1s")).acall(hang)
        assert inner.state is OPEN
        outer = CircuitBreaker(minimum_calls=1)
        for stack in (
            Stack(Deadline("1s"), outer),
            Stack(Deadline("1s"), outer, Timeout("5s")),
            Stack(Timeout("1s"), outer, Timeout("1s")),
        ):
            with pytest.raises(DeadlineExceeded):
                await stack.acall(hang)
            assert outer.state is CLOSED

    world.run(main())


def test_the_callers_own_deadline_does_not_count_in_sync_code_either(
    world: VirtualRuntime,
) -> None:
    breaker = CircuitBreaker(minimum_calls=1)

    def slow() -> None:
        world.advance(2)
        raise DeadlineExceeded("a socket that obeys the deadline")

    async def main() -> None:
        with pytest.raises(DeadlineExceeded, match=r"^deadline:"):
            Stack(Deadline("1s"), breaker).call(slow)
        assert breaker.state is CLOSED
        with pytest.raises(DeadlineExceeded, match=r"^timeout:"):
            Stack(breaker, Timeout("1s")).call(slow)
        assert breaker.state is OPEN

    world.run(main())


@pytest.mark.parametrize("probes", [1, 3])
def test_a_thousand_callers_meet_so_many_probes(world: VirtualRuntime, probes: int) -> None:
    breaker = CircuitBreaker(minimum_calls=1, probes=probes)
    entered = 0

    async def slow() -> None:
        nonlocal entered
        entered += 1
        await asyncio.sleep(1)  # noqa: TID251  a user's own wait

    async def main() -> list[BaseException | None]:
        with pytest.raises(ConnectionError):
            await breaker.acall(Always().awaited)
        world.advance(5)
        calls = (breaker.acall(slow) for _ in range(1000))
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = world.run(main())
    assert entered == probes
    assert sum(isinstance(answer, CircuitOpen) for answer in answers) == 1000 - probes
    refused = next(answer for answer in answers if isinstance(answer, CircuitOpen))
    assert "half-open" in str(refused)
    assert refused.retry_after == 5.0
    assert breaker.state is CLOSED


@pytest.mark.parametrize("options", [{}, {"slow": "1m"}, {"key": "tenant"}], ids=repr)
def test_a_probe_that_is_cancelled_anywhere_gives_its_permit_back(options: dict[str, Any]) -> None:
    async def scenario(trial: Trial) -> None:
        breaker = CircuitBreaker(minimum_calls=1, **options)
        with pytest.raises(ConnectionError):
            await breaker.acall(Always().awaited)
        trial.world.advance(5)

        async def probe() -> None:
            await trial.world.sleep(1)
            await trial.world.sleep(1)

        victim = trial.victim(breaker.acall(probe))
        await asyncio.wait({victim})
        assert victim.cancelled() is trial.reached
        await breaker.acall(Flaky().awaited)
        assert breaker.state is CLOSED

    assert cancel_everywhere(scenario) == 5


def test_a_late_result_changes_nothing(world: VirtualRuntime) -> None:
    breaker = CircuitBreaker(minimum_calls=1)

    async def late(fails: bool) -> None:
        await asyncio.sleep(7)  # noqa: TID251  a user's own wait
        if fails:
            raise ConnectionError

    async def main() -> None:
        calls = [world.spawn(breaker.acall(late, fails)) for fails in (True, False) * 3]
        await asyncio.sleep(1)  # noqa: TID251  let them begin
        with pytest.raises(ConnectionError):
            await breaker.acall(Always().awaited)
        world.advance(5.5)
        probe = world.spawn(breaker.acall(hang))
        await asyncio.wait(calls)
        assert all(call.done() for call in calls)
        assert breaker.state is HALF_OPEN
        assert not probe.done()
        await probe
        assert breaker.state is CLOSED
        for call in calls:
            call.exception()

    world.run(main())


def test_a_probe_that_never_returns_does_not_hold_it_for_ever(
    world: VirtualRuntime, events: list[Event]
) -> None:
    breaker = CircuitBreaker(minimum_calls=1, probe_lease="20s")

    async def never() -> None:
        await asyncio.Future[None]()

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await breaker.acall(Always().awaited)
        world.advance(5)
        lost = world.spawn(breaker.acall(never))
        await asyncio.sleep(19)  # noqa: TID251  the lease is not over
        with pytest.raises(CircuitOpen) as caught:
            await breaker.acall(Flaky().awaited)
        assert caught.value.retry_after == 1.0
        await asyncio.sleep(1)  # noqa: TID251  now it is
        assert await breaker.acall(Flaky().awaited) == "well"
        assert breaker.state is CLOSED
        lost.cancel()

    world.run(main())
    assert [event.reason for event in events if isinstance(event, BreakerChanged)] == [
        "1 of 1 calls in 10 s failed",
        "the cooldown is over",
        "no probe came back within 20 s",
        "1 of 1 probes passed",
    ]


def test_an_abandoned_probe_gives_its_permit_back_when_it_is_collected(
    world: VirtualRuntime,
) -> None:
    breaker = CircuitBreaker(minimum_calls=1)

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await breaker.acall(Always().awaited)
        world.advance(5)
        abandoned: Any = breaker.acall(hang)
        abandoned.send(None)
        with pytest.raises(CircuitOpen):
            await breaker.acall(Flaky().awaited)
        del abandoned
        gc.collect()
        assert await breaker.acall(Flaky().awaited) == "well"

    world.run(main())


def test_events_are_told_without_the_lock(world: VirtualRuntime) -> None:
    from escala.kernel.events import subscribe

    breaker = CircuitBreaker(minimum_calls=1)
    free: list[bool] = []

    def listen(_: BreakerChanged) -> None:
        free.append(breaker._lock._is_owned() is False)  # type: ignore[attr-defined]

    stop = subscribe(BreakerChanged, listen)
    try:
        with pytest.raises(ConnectionError):
            breaker.call(Always())
    finally:
        stop()
    assert free == [True]


def test_with_blocks_count(world: VirtualRuntime) -> None:
    breaker = CircuitBreaker(minimum_calls=2)

    def sync_block() -> None:
        with breaker:
            raise ConnectionError

    async def async_block() -> None:
        async with breaker:
            raise ConnectionError

    async def main() -> None:
        with pytest.raises(ConnectionError):
            sync_block()
        with pytest.raises(ConnectionError):
            await async_block()
        assert breaker.state is OPEN
        with pytest.raises(CircuitOpen):
            sync_block()
        with pytest.raises(CircuitOpen):
            await async_block()

    world.run(main())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"failure_rate": 0}, "failure_rate: expected a share above 0"),
        ({"failure_rate": float("nan")}, "failure_rate: expected a share above 0"),
        ({"window": "0s"}, "window: expected a duration above zero"),
        ({"minimum_calls": 0}, "minimum_calls: expected an integer from 1"),
        ({"cooldown": -1}, "cooldown: expected a duration above zero"),
        ({"probes": 0}, "probes: expected an integer from 1"),
        ({"probe_lease": None}, "probe_lease: expected a duration above zero"),
        ({"on": "ValueError"}, "on: expected exception classes"),
    ],
    ids=repr,
)
def test_bad_arguments(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CircuitBreaker(**given)
    assert str(caught.value).startswith(f"CircuitBreaker: {message}")


@both_colours
@pytest.mark.parametrize("end", [Flaky(), Always()], ids=["well", "failing"])
@pytest.mark.parametrize("seen", ["open", "closed", "closed by another probe"])
def test_an_end_that_comes_late_changes_nothing(
    world: VirtualRuntime, call: Call[Any], end: Flaky, seen: str
) -> None:
    breaker = CircuitBreaker(minimum_calls=1)

    def open_it() -> None:
        with pytest.raises(ConnectionError):
            breaker.call(Always())

    def late() -> object:
        if seen == "closed by another probe":
            world.advance(30)
            assert breaker.call(Flaky()) == "well", "the lease was over"
        else:
            open_it()
        if seen == "closed":
            world.advance(5)
            breaker.call(Flaky())
        return end()

    async def main() -> None:
        if seen == "closed by another probe":
            open_it()
            world.advance(5)
        with contextlib.suppress(ConnectionError):
            await call(breaker, late)
        assert breaker.state.value == seen.split(maxsplit=1)[0]

    world.run(main())


@both_colours
@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_step_of_the_wall_clock_changes_no_decision(
    world: VirtualRuntime, call: Call[Any], monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    real, real_ns = time.time, time.time_ns  # noqa: TID251  this is the clock that steps

    async def decisions(*, stepping: bool) -> list[tuple[str, float | None]]:
        breaker = CircuitBreaker(minimum_calls=2, cooldown_cap="1m", slow="2s")
        seen = []
        for at in range(120):
            if stepping and at == 7:
                monkeypatch.setattr(time, "time", lambda: real() + step)
                monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(step * 1e9))
            world.advance(0.5)
            left = None
            try:
                await call(breaker, Always() if at % 40 < 20 else Flaky())
            except ConnectionError:
                pass
            except CircuitOpen as error:
                left = error.retry_after
            seen.append((breaker.state.value, left))
        return seen

    async def main() -> None:
        usual = await decisions(stepping=False)
        assert {state for state, _ in usual} == {"closed", "open"}
        assert await decisions(stepping=True) == usual

    world.run(main())
