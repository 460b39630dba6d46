"""`Timeout` and `Deadline`: who ends the call, and who says so."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import Flaky

from escala.errors import ConfigError, DeadlineExceeded
from escala.kernel.context import deadline
from escala.kernel.policy import Policy
from escala.kernel.runtime import LoopRuntime
from escala.kernel.stack import Stack
from escala.resilience import Deadline, Retry, Timeout
from escala.testing import Trial, VirtualRuntime, cancel_everywhere

both_limits = pytest.mark.parametrize("limit", [Timeout, Deadline])


async def hang() -> None:
    await asyncio.sleep(60)  # noqa: TID251  a user's own wait


@both_limits
@both_colours
def test_a_call_that_is_in_time(world: VirtualRuntime, call: Call[Any], limit: Any) -> None:
    assert world.run(call(limit("1s"), Flaky())) == "well"
    assert world.run(call(limit("1s"), deadline)) == world.now() + 1.0
    assert deadline() == math.inf


def test_ends_an_attempt_and_says_which_limit_and_what_to_do(world: VirtualRuntime) -> None:
    with pytest.raises(TimeoutError) as caught:
        world.run(Timeout("250ms").acall(hang))
    assert isinstance(caught.value, DeadlineExceeded)
    assert str(caught.value) == (
        "timeout: one attempt took longer than 250ms; give it more time, or find what makes it slow"
    )
    assert world.now() == 0.25
    assert isinstance(caught.value.__cause__, asyncio.CancelledError), "it shows where it hung"


def test_ends_the_whole_call_and_says_so(world: VirtualRuntime) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        world.run(Deadline(2, name="orders.deadline").acall(hang))
    assert str(caught.value) == (
        "orders.deadline: the call with all its attempts and waits took longer than 2s; "
        "give it more time, or fewer and shorter attempts"
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("stack", "ended_by", "at"),
    [
        (Stack(Deadline("1s"), Timeout("5s")), "deadline: ", 1.0),
        (Stack(Deadline("5s"), Timeout("1s")), "timeout: ", 1.0),
        (Stack(Timeout("1s"), Deadline("5s")), "timeout: ", 1.0),
        (Stack(Timeout("5s"), Deadline("1s")), "deadline: ", 1.0),
        (Stack(Deadline("1s"), Timeout("1s")), "deadline: ", 1.0),
        (Stack(Deadline("3s"), Timeout("2s"), Timeout("1s", name="inner")), "inner: ", 1.0),
        (Stack(Deadline("1s"), Timeout("2s"), Timeout("3s", name="inner")), "deadline: ", 1.0),
        (Stack(Deadline("2s"), Timeout("1s"), Timeout("3s", name="inner")), "timeout: ", 1.0),
    ],
    ids=repr,
)
def test_nested_limits_the_nearest_one_ends_the_call(
    stack: Policy, ended_by: str, at: float, seed: int
) -> None:
    world = VirtualRuntime(seed)
    with pytest.raises(DeadlineExceeded) as caught:
        world.run(stack.acall(hang))
    assert str(caught.value).startswith(ended_by)
    assert world.now() == pytest.approx(at)


@both_limits
@both_colours
def test_an_inner_deadline_only_shortens(
    world: VirtualRuntime, call: Call[Any], limit: Any
) -> None:
    assert world.run(call(Stack(Deadline("1s"), limit("5s")), deadline)) == 1.0
    assert world.run(call(Stack(Deadline("5s"), limit("1s")), deadline)) == 1.0


@both_limits
def test_a_task_inherits_the_limit_and_obeys_it(world: VirtualRuntime, limit: Any) -> None:
    async def main() -> None:
        async with Deadline("2s"):
            task = asyncio.ensure_future(limit("5s", name="mine").acall(hang))
        with pytest.raises(DeadlineExceeded) as caught:
            await task
        assert str(caught.value) == (
            "mine: the deadline around the call came before its own limit of 5s; "
            "give the whole call more time"
        )

    world.run(main())
    assert world.now() == 2.0


@both_limits
@both_colours
def test_a_time_that_is_up_lets_nothing_begin(
    world: VirtualRuntime, call: Call[Any], limit: Any
) -> None:
    fn = Flaky()

    async def main() -> None:
        async with Deadline("1s"):
            world.advance(1)
            with pytest.raises(DeadlineExceeded, match="the deadline around the call"):
                await call(limit("5s"), fn)

    with pytest.raises(DeadlineExceeded, match=r"^deadline: "):
        world.run(_and_then_suspend(main()))
    assert fn.calls == 0


async def _and_then_suspend(main: Any) -> None:
    async with Deadline("1s"):
        await main
        await hang()


@both_limits
def test_other_errors_pass_even_when_time_is_up(world: VirtualRuntime, limit: Any) -> None:
    async def late() -> None:
        world.advance(5)
        raise ValueError

    with pytest.raises(ValueError):
        world.run(limit("1s").acall(late))


@both_limits
def test_a_sync_call_that_is_late_returns_what_it_has(world: VirtualRuntime, limit: Any) -> None:
    def slow() -> str:
        world.advance(5)
        return "late"

    async def main() -> str:
        return limit("1s").call(slow)

    assert world.run(main()) == "late"


@both_limits
def test_a_deadline_error_from_further_in_keeps_its_name(world: VirtualRuntime, limit: Any) -> None:
    inner = DeadlineExceeded("a socket's")

    async def main() -> None:
        with pytest.raises(DeadlineExceeded) as caught:
            await limit("1s").acall(Flaky(inner).awaited)
        assert caught.value is inner

    world.run(main())


@both_limits
def test_a_leaf_that_obeyed_this_limit_is_its_cause(world: VirtualRuntime, limit: Any) -> None:
    leaf = DeadlineExceeded("a socket's")

    def obey() -> None:
        world.advance(1)
        raise leaf

    async def main() -> None:
        with pytest.raises(DeadlineExceeded, match=r"longer than 1s") as caught:
            limit("1s").call(obey)
        assert caught.value.__cause__ is leaf

    world.run(main())


@both_limits
def test_what_was_noted_further_in_stays(world: VirtualRuntime, limit: Any) -> None:
    def obey() -> None:
        world.advance(1)
        raise DeadlineExceeded("a socket's")

    async def main() -> None:
        with pytest.raises(DeadlineExceeded, match=r"longer than 1s") as caught:
            Stack(limit("1s"), Retry()).call(obey)
        assert caught.value.__notes__ == [
            "1 attempt in 1 s; retry gave up: the next attempt would begin after the deadline"
        ]

    world.run(main())


@both_limits
@both_colours
def test_a_with_block(world: VirtualRuntime, call: Call[Any], limit: Any) -> None:
    async def main() -> None:
        if call.__name__ == "_sync":
            with limit("1s"):
                assert deadline() == 1.0
        else:
            block = limit("1s")
            await block.__aenter__()
            assert deadline() == 1.0
            with pytest.raises(asyncio.CancelledError) as cut:
                await hang()
            assert world.now() == 1.0
            with pytest.raises(DeadlineExceeded):
                await block.__aexit__(asyncio.CancelledError, cut.value, None)
        assert deadline() == math.inf

    world.run(main())


@both_limits
def test_a_cancellation_from_outside_stays_one(limit: Any) -> None:
    async def scenario(trial: Trial) -> None:
        async def two_waits() -> None:
            await trial.world.sleep(1)
            await trial.world.sleep(1)

        victim = trial.victim(limit("5s").acall(two_waits))
        await asyncio.wait({victim})
        assert victim.cancelled() is trial.reached
        assert trial.world.now() <= 2.0
        assert deadline() == math.inf

    assert cancel_everywhere(scenario) == 5


@pytest.mark.parametrize("after", [0, -1, "0s", math.nan, math.inf, None, "soon", True])
@both_limits
def test_bad_limits(limit: Any, after: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{limit.__name__}: after: expected a duration above"):
        limit(after)


class Coarse(LoopRuntime):
    """Its timers count whole milliseconds, so they may fire a little too soon."""

    time = 0.0

    def __init__(self, early: float) -> None:
        super().__init__(now=lambda: self.time)
        self.early = early

    async def timed(self, call: Any, until: float) -> Any:
        call.close()
        self.time = until - self.early
        raise DeadlineExceeded("time is up")


@both_limits
@pytest.mark.parametrize(
    ("early", "told"), [(0.0, "longer than 1s"), (0.0019, "longer than 1s"), (0.003, "^time is up")]
)
def test_a_timer_that_fires_a_little_early_is_still_this_limits_own(
    limit: Any, early: float, told: str
) -> None:
    with pytest.raises(DeadlineExceeded, match=told):
        asyncio.run(limit("1s").around(hang, Coarse(early)))
