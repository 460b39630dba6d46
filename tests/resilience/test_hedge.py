"""`Hedge` between tasks, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import Always, Flaky

from escala.errors import BackendError, BulkheadFull, ConfigError, DeadlineExceeded
from escala.kernel.context import Request, deadline, serving
from escala.kernel.events import Event
from escala.kernel.stack import Stack
from escala.resilience import Bulkhead, Deadline, Hedge, Hedged, Retry, RetryBudget, Timeout
from escala.testing import Trial, VirtualRuntime, cancel_everywhere

FREE: dict[str, Any] = {"budget": None}


class Copies:
    """An async function whose nth call takes the nth number of seconds, and ends as it is told."""

    def __init__(self, world: VirtualRuntime, *steps: float | tuple[float, Any]) -> None:
        self.world, self.steps = world, list(steps)
        self.began: list[float] = []
        self.ended: list[float] = []
        self.cancelled: list[int] = []

    async def __call__(self) -> Any:
        number = len(self.began) + 1
        step = self.steps[number - 1]
        seconds, outcome = step if isinstance(step, tuple) else (step, f"copy {number}")
        self.began.append(self.world.now())
        try:
            await self.world.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        finally:
            self.ended.append(self.world.now())
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def run(world: VirtualRuntime, policy: Any, fn: Callable[[], Awaitable[Any]]) -> Any:
    return world.run(policy.acall(fn))


def test_a_fast_call_has_no_copy(world: VirtualRuntime, events: list[Event]) -> None:
    fn = Copies(world, 0.5)
    assert run(world, Hedge("1s", **FREE), fn) == "copy 1"
    assert world.now() == 0.5
    assert fn.began == [0.0]
    assert events == []


def test_a_copy_is_started_when_the_call_is_slow_and_the_loser_is_cancelled(
    world: VirtualRuntime, events: list[Event]
) -> None:
    fn, hedge = Copies(world, 60.0, 0.5), Hedge("1s", **FREE)
    assert run(world, hedge, fn) == "copy 2"
    assert world.now() == 1.5
    assert fn.began == [0.0, 1.0]
    assert fn.cancelled == [1]
    assert fn.ended == [1.5, 1.5]
    assert events == [Hedged(name="hedge", at=1.0, copy=2, after=1.0)]
    assert hedge.snapshot() == {"copies": 1.0, "won": 1.0, "after": 1.0}


def test_the_call_itself_may_still_win(world: VirtualRuntime) -> None:
    fn, hedge = Copies(world, 1.2, 0.5), Hedge("1s", **FREE)
    assert run(world, hedge, fn) == "copy 1"
    assert world.now() == 1.2
    assert fn.cancelled == [2]
    assert hedge.snapshot() == {"copies": 1.0, "won": 0.0, "after": 1.0}


def test_at_most_so_many_each_as_long_after_the_one_before(
    world: VirtualRuntime, events: list[Event]
) -> None:
    fn = Copies(world, 60.0, 60.0, 60.0)
    assert run(world, Hedge("1s", most=3, **FREE), fn) == "copy 1"
    assert fn.began == [0.0, 1.0, 2.0]
    assert world.now() == 60.0
    assert [event.copy for event in events if isinstance(event, Hedged)] == [2, 3]


def test_no_delay_at_all_starts_both_at_once(world: VirtualRuntime) -> None:
    fn = Copies(world, 2.0, 1.0)
    assert run(world, Hedge(0, **FREE), fn) == "copy 2"
    assert fn.began == [0.0, 0.0]


# Failures


def test_a_failure_before_the_delay_is_raised_at_once(world: VirtualRuntime) -> None:
    broken = ConnectionError("refused")
    fn = Copies(world, (0.2, broken))
    with pytest.raises(ConnectionError) as caught:
        run(world, Hedge("1s", **FREE), fn)
    assert caught.value is broken
    assert world.now() == 0.2


def test_a_failure_waits_for_the_copies_that_still_run(world: VirtualRuntime) -> None:
    fn = Copies(world, (1.2, ConnectionError()), 5.0)
    assert run(world, Hedge("1s", **FREE), fn) == "copy 2"
    assert world.now() == 6.0


def test_a_failure_does_not_keep_the_next_copy_from_starting(world: VirtualRuntime) -> None:
    fn = Copies(world, (1.2, ConnectionError()), 60.0, 0.1)
    assert run(world, Hedge("1s", most=3, **FREE), fn) == "copy 3"
    assert fn.began == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("steps", [(1.2, 0.5), (5.0, 0.5)], ids=["first", "last"])
def test_when_all_fail_the_error_is_that_of_the_call_itself(
    world: VirtualRuntime, steps: tuple[float, float]
) -> None:
    own, copys = ConnectionError("own"), BackendError("the copy's")
    fn = Copies(world, (steps[0], own), (steps[1], copys))
    with pytest.raises(ConnectionError) as caught:
        run(world, Hedge("1s", **FREE), fn)
    assert caught.value is own
    assert caught.value.__context__ is None
    assert world.now() == max(steps[0], 1.0 + steps[1])


def test_a_copy_that_finds_no_place_fails_alone(world: VirtualRuntime) -> None:
    bulkhead = Bulkhead(slots=1)
    fn = Copies(world, 3.0, 0.1)
    assert run(world, Stack(Hedge("1s", **FREE), bulkhead), fn) == "copy 1"
    assert world.now() == 3.0
    assert fn.began == [0.0]
    assert bulkhead.free == 1
    full = Copies(world, 60.0)

    async def main() -> None:
        async with bulkhead:
            with pytest.raises(BulkheadFull):
                await Stack(Hedge("1s", **FREE), bulkhead).acall(full)

    world.run(main())
    assert full.began == []


def test_a_call_that_cancels_itself_ends_it_and_its_copies(world: VirtualRuntime) -> None:
    fn = Copies(world, (2.0, asyncio.CancelledError()), 60.0)

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await Hedge("1s", **FREE).acall(fn)

    world.run(main())
    assert fn.cancelled == [2]
    assert world.now() == 2.0


# Values


def test_a_failing_value_loses_to_a_good_one_and_is_let_go(world: VirtualRuntime) -> None:
    dropped: list[Any] = []
    hedge = Hedge("1s", judge=lambda value: value == 500, discard=dropped.append, **FREE)
    assert run(world, hedge, Copies(world, (1.2, 500), 2.0)) == "copy 2"
    assert dropped == [500]
    assert run(world, hedge, Copies(world, 5.0, (0.5, 500))) == "copy 1"
    assert dropped == [500, 500]


def test_when_all_values_fail_it_is_that_of_the_call_itself(world: VirtualRuntime) -> None:
    dropped: list[Any] = []
    hedge = Hedge("1s", judge=lambda value: value >= 500, discard=dropped.append, **FREE)
    assert run(world, hedge, Copies(world, (1.2, 500), (0.5, 503))) == 500
    assert run(world, hedge, Copies(world, (1.2, 500), (0.1, 503))) == 500
    assert dropped == [503, 503]
    assert run(world, hedge, Copies(world, (1.2, 500), (0.5, ConnectionError()))) == 500
    with pytest.raises(ConnectionError):
        run(world, hedge, Copies(world, (1.2, ConnectionError()), (0.1, 503)))
    assert dropped == [503, 503, 503]


def test_two_answers_of_one_moment_are_one_answer_and_one_let_go(world: VirtualRuntime) -> None:
    dropped: list[Any] = []
    hedge = Hedge("1s", discard=dropped.append, **FREE)
    answer = run(world, hedge, Copies(world, 2.0, 1.0))
    assert {answer, *dropped} == {"copy 1", "copy 2"}
    assert len(dropped) == 1


def test_a_loser_that_answers_though_it_was_cancelled_is_let_go(world: VirtualRuntime) -> None:
    dropped: list[Any] = []
    calls = 0

    async def stubborn() -> str:
        nonlocal calls
        calls += 1
        if calls > 1:
            return "quick"
        try:
            await world.sleep(60)
        except asyncio.CancelledError:
            await world.sleep(5)
        return "late"

    async def main() -> float:
        assert await Hedge("1s", discard=dropped.append, **FREE).acall(stubborn) == "quick"
        answered = world.now()
        await world.sleep(10)
        return answered

    assert world.run(main()) == 1.0, "its cleaning up kept no one waiting"
    assert dropped == ["late"]


def test_a_discard_that_fails_is_shown_and_harms_no_one(
    world: VirtualRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("sys.excepthook", lambda *error: shown.append(error[1]))
    broken = ValueError("broken")

    def discard(_: object) -> None:
        raise broken

    hedge = Hedge("1s", judge=lambda value: value == 500, discard=discard, **FREE)
    assert run(world, hedge, Copies(world, (1.2, 500), 2.0)) == "copy 2"
    assert shown == [broken]


def test_a_judge_that_is_interrupted_ends_the_call_and_drops_the_value(
    world: VirtualRuntime,
) -> None:
    def judge(_: object) -> bool:
        raise KeyboardInterrupt

    fn, dropped = Copies(world, 1.2, 60.0), list[object]()
    with pytest.raises(KeyboardInterrupt):
        run(world, Hedge("1s", judge=judge, discard=dropped.append, **FREE), fn)
    assert fn.cancelled == [2]
    assert dropped == ["copy 1"]


# What may be made twice


class Streamed(Request):
    """A request whose body went through our hands and is gone."""

    @property
    def repeatable(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("request_", "copies"),
    [
        (Request(idempotent=True), 2),
        (Request(), 2),
        (Request(idempotent=False), 1),
        (Streamed(idempotent=True), 1),
    ],
)
def test_only_requests_that_may_be_repeated_are_hedged(
    world: VirtualRuntime, request_: Request, copies: int
) -> None:
    fn = Copies(world, 3.0, 3.0)

    async def main() -> Any:
        with serving(request_):
            return await Hedge("1s", **FREE).acall(fn)

    assert world.run(main()) == "copy 1"
    assert len(fn.began) == copies
    assert request_.notes == ({"copies": "2"} if copies == 2 else {})


# The budget


def test_a_crowd_has_copies_within_the_budget(world: VirtualRuntime, events: list[Event]) -> None:
    hedge = Hedge("1s", budget="5%")

    async def main() -> None:
        calls = (hedge.acall(world.sleep, 3) for _ in range(100))
        await asyncio.gather(*calls)

    world.run(main())
    assert len(events) == 5
    assert hedge.budget is not None
    assert hedge.budget.under_way == 0


def test_a_lone_slow_call_may_have_its_copy(world: VirtualRuntime, events: list[Event]) -> None:
    hedge = Hedge("1s", most=3)

    async def main() -> None:
        await hedge.acall(world.sleep, 5)

    world.run(main())
    assert len(events) == 1, "beyond one at once, it is the share that counts"


def test_a_refused_copy_is_not_asked_for_again(world: VirtualRuntime) -> None:
    budget = RetryBudget("0%", floor=0)
    hedge, fn = Hedge("1s", most=9, budget=budget), Copies(world, 60.0)
    asked: list[float] = []
    take = RetryBudget.take

    def counted(self: RetryBudget, now: float) -> bool:
        asked.append(now)
        return take(self, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RetryBudget, "take", counted)
        run(world, hedge, fn)
    assert asked == [1.0]
    assert hedge.budget is budget


def test_retries_and_copies_can_share_a_budget(world: VirtualRuntime) -> None:
    budget = RetryBudget("10%", floor=0)
    stack = Stack(Retry(2, budget=budget, base=0), Hedge("1s", budget=budget))

    async def main() -> None:
        await asyncio.gather(*(stack.acall(world.sleep, 3) for _ in range(100)))

    world.run(main())
    assert budget.under_way == 0


# The percentile


def test_a_percentile_is_learnt_from_the_calls_that_succeed(
    world: VirtualRuntime, events: list[Event]
) -> None:
    hedge = Hedge("p95", **FREE)
    seconds = 0.1

    async def fn() -> None:
        await world.sleep(seconds)

    async def fails() -> None:
        await world.sleep(0.001)
        raise ConnectionError

    async def main() -> None:
        nonlocal seconds
        for _ in range(100):
            with pytest.raises(ConnectionError):
                await hedge.acall(fails)
        assert hedge.after is None
        for _ in range(19):
            await hedge.acall(fn)
        assert hedge.after is None
        assert hedge.snapshot() == {"copies": 0.0, "won": 0.0}
        await hedge.acall(fn)
        assert hedge.after == pytest.approx(0.1, rel=0.04)
        assert events == []
        seconds = 1.0
        await hedge.acall(fn)

    world.run(main())
    (hedged,) = events
    assert isinstance(hedged, Hedged)
    assert hedged.after == hedge.snapshot()["after"] == pytest.approx(0.1, rel=0.04)


def test_values_that_were_judged_failures_teach_nothing(world: VirtualRuntime) -> None:
    hedge = Hedge("p50", judge=lambda value: value == 500, **FREE)

    async def main() -> None:
        for _ in range(30):
            await hedge.acall(Copies(world, (0.1, 500)))

    world.run(main())
    assert hedge.after is None


def test_a_call_that_lost_counts_as_long_as_it_took_until_then(world: VirtualRuntime) -> None:
    hedge = Hedge("p50", **FREE)

    async def main() -> None:
        for _ in range(20):
            await hedge.acall(Copies(world, 1.0))
        for _ in range(40):
            await hedge.acall(Copies(world, 60.0, 2.0))

    world.run(main())
    assert hedge.after is not None
    assert 2.9 < hedge.after < 3.3, "1 s, and 2 s of the copy"


def test_a_call_that_failed_teaches_nothing_when_its_copy_wins(world: VirtualRuntime) -> None:
    hedge = Hedge("p50", **FREE)

    async def main() -> None:
        for _ in range(20):
            await hedge.acall(Copies(world, 1.0))
        for _ in range(40):
            await hedge.acall(Copies(world, (1.5, ConnectionError()), 60.0))

    world.run(main())
    assert hedge.after == pytest.approx(1.0, rel=0.04)


# Context, deadlines and cancellation

where: ContextVar[str] = ContextVar("where", default="outside")


def test_copies_have_a_copy_of_the_context_and_the_deadline(world: VirtualRuntime) -> None:
    seen: list[tuple[str, float]] = []

    async def fn() -> str:
        seen.append((where.get(), deadline()))
        where.set(f"copy {len(seen)}")
        await world.sleep(5 - len(seen))
        return where.get()

    async def main() -> str:
        where.set("caller")
        answer = await Stack(Deadline("9s"), Hedge("1s", **FREE)).acall(fn)
        assert where.get() == "caller"
        return answer

    assert world.run(main()) == "copy 1"
    assert seen == [("caller", 9.0), ("caller", 9.0)]


def test_a_deadline_around_it_ends_all_copies(world: VirtualRuntime) -> None:
    fn = Copies(world, 60.0, 60.0)
    with pytest.raises(DeadlineExceeded, match=r"^deadline: "):
        run(world, Stack(Deadline("3s"), Hedge("1s", **FREE)), fn)
    assert world.now() == 3.0
    assert sorted(fn.cancelled) == [1, 2]


def test_a_timeout_inside_it_is_for_each_copy(world: VirtualRuntime) -> None:
    fn = Copies(world, 60.0, 60.0)
    with pytest.raises(DeadlineExceeded, match=r"^timeout: "):
        run(world, Stack(Hedge("1s", **FREE), Timeout("3s")), fn)
    assert fn.ended == [3.0, 4.0]
    assert world.now() == 4.0


def test_a_cancelled_call_waits_for_the_cleaning_up_of_its_copies(world: VirtualRuntime) -> None:
    cleaned: list[float] = []

    async def fn() -> None:
        try:
            await world.sleep(60)
        finally:
            await world.sleep(0.5)
            cleaned.append(world.now())

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await Hedge("1s", **FREE).acall(fn)
        assert world.now() == 3.5
        assert cleaned == [3.5, 3.5]

    world.run(main())


@pytest.mark.parametrize("steps", [(0.5,), (5.0, 1.0), (2.0, 1.0), (1.5, 5.0)], ids=repr)
def test_cancelled_anywhere_no_copy_goes_on_and_nothing_is_lost(steps: tuple[float, ...]) -> None:
    async def scenario(trial: Trial) -> None:
        dropped: list[Any] = []
        budget, bulkhead = RetryBudget("50%", floor=1), Bulkhead(slots=2)
        fn = Copies(trial.world, *steps)
        hedge = Hedge("1s", budget=budget, discard=dropped.append)
        victim = trial.victim(Stack(hedge, bulkhead).acall(fn))
        await asyncio.wait({victim})
        assert len(fn.began) == len(fn.ended), "no copy runs on"
        assert bulkhead.free == 2
        await trial.world.sleep(0)
        assert budget.under_way == 0
        read = [] if victim.cancelled() else [victim.result()]
        answered = len(fn.began) - len(fn.cancelled)
        assert len(read) + len(dropped) == answered, "each answer is read or let go"

    assert cancel_everywhere(scenario) >= 3


@pytest.mark.parametrize("seed", range(5))
def test_cancelled_anywhere_in_a_hedge_of_hedges(seed: int) -> None:
    async def scenario(trial: Trial) -> None:
        fn = Copies(trial.world, 60.0, 60.0, 60.0, 1.0)
        inner, outer = Hedge("1s", name="inner", **FREE), Hedge("2s", name="outer", **FREE)
        victim = trial.victim(Stack(outer, inner).acall(fn))
        await asyncio.wait({victim})
        for _ in range(20):
            await trial.world.sleep(0)
        assert len(fn.began) == len(fn.ended)

    assert cancel_everywhere(scenario, seed=seed) >= 3


def test_a_call_that_is_closed_from_outside_cancels_its_copies(world: VirtualRuntime) -> None:
    fn = Copies(world, 60.0, 60.0)

    async def main() -> None:
        abandoned = Hedge(0, **FREE).acall(fn)
        abandoned.send(None)  # as the garbage collector finds it: begun, and never to go on
        await world.sleep(1)
        abandoned.close()
        await world.sleep(1)
        assert fn.cancelled == [1, 2]

    world.run(main())


# Both colours, where a call in a running loop has no copy


@both_colours
def test_answers_and_errors_pass(world: VirtualRuntime, call: Call[Any]) -> None:
    hedge = Hedge("1s", **FREE)
    assert world.run(call(hedge, Flaky())) == "well"
    with pytest.raises(ConnectionError):
        world.run(call(hedge, Always()))


@both_colours
def test_a_fast_call_teaches_the_percentile(world: VirtualRuntime, call: Call[Any]) -> None:
    hedge = Hedge(**FREE)

    async def main() -> None:
        for _ in range(40):
            await call(hedge, Flaky())

    world.run(main())
    assert hedge.after == pytest.approx(1e-6)


def test_a_with_block_is_refused() -> None:
    with pytest.raises(TypeError, match="may run its call again"), Hedge():
        pass


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"after": "p49"}, "after: expected a duration such as '50ms', or a percentile"),
        ({"after": "p100"}, "after: expected a duration such as '50ms', or a percentile"),
        ({"after": "p99.99"}, "after: expected a duration such as '50ms', or a percentile"),
        ({"after": -1}, "after: expected a duration such as '50ms', or a percentile"),
        ({"most": 1}, "most: expected an integer from 2 to 10, found 1"),
        ({"most": 11}, "most: expected an integer from 2 to 10, found 11"),
        ({"threads": 0}, "threads: expected an integer from 1 to 10000, found 0"),
        ({"budget": "101%"}, "budget: expected a share"),
    ],
    ids=repr,
)
def test_bad_arguments(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Hedge(**given)
    assert str(caught.value).startswith(f"Hedge: {message}")


def test_without_parentheses_it_says_so() -> None:
    def price() -> int:
        return 3

    with pytest.raises(ConfigError) as caught:
        Hedge(price)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "Hedge: expected its options, found the function "
        "test_without_parentheses_it_says_so.<locals>.price: "
        "to decorate it, write @Hedge() with parentheses"
    )
