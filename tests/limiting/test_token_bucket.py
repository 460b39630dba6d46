"""`TokenBucket` as a policy and as a limiter: who passes, who waits, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import Flaky

from escala.errors import ConfigError, DeadlineExceeded, RateLimited, WouldBlock
from escala.kernel.context import Request, serving
from escala.kernel.policy import Scope
from escala.kernel.runtime import Parker, ThreadRuntime, colours
from escala.limiting import Decision, TokenBucket
from escala.resilience import Deadline
from escala.testing import Trial, VirtualRuntime, cancel_everywhere


async def turn() -> None:
    await asyncio.sleep(0)  # noqa: TID251  one turn of the loop


# As a policy


@both_colours
def test_lets_a_burst_pass_and_then_the_rate(world: VirtualRuntime, call: Call[Any]) -> None:
    limiter, fn = TokenBucket("10/s", burst=3), Flaky()

    async def main() -> None:
        for _ in range(3):
            assert await call(limiter, fn) == "well"
        with pytest.raises(RateLimited) as caught:
            await call(limiter, fn)
        assert str(caught.value) == ("rate_limit: the limit of 10/s is used up; try again in 0.1 s")
        assert caught.value.policy == "rate_limit"
        assert caught.value.retry_after == pytest.approx(0.1)
        world.advance(caught.value.retry_after or 0.0)
        assert await call(limiter, fn) == "well"

    world.run(main())
    assert fn.calls == 4


@pytest.mark.parametrize(
    ("limit", "burst"), [("200/s", 200), ("2.5/s", 2), ("0.1/s", 1), ("10/30s", 10), (7, 7)]
)
def test_the_burst_is_the_count_unless_said_otherwise(
    world: VirtualRuntime, limit: str | float, burst: int
) -> None:
    async def main() -> int:
        limiter = TokenBucket(limit)
        return sum(limiter.acquire().allowed for _ in range(300))

    assert world.run(main()) == burst


@both_colours
def test_counts_apart_what_the_key_tells_apart(world: VirtualRuntime, call: Call[Any]) -> None:
    by_tenant = TokenBucket("1/s", key="tenant")
    by_function = TokenBucket("1/s", key=lambda request: request and request.priority)

    async def passes(limiter: TokenBucket, request: Request | None) -> bool:
        context = contextlib.nullcontext() if request is None else serving(request)
        with context:
            try:
                await call(limiter, Flaky())
            except RateLimited:
                return False
            return True

    async def main() -> None:
        ann, bob, no_one = Request(tenant="ann"), Request(tenant="bob"), Request()
        assert [await passes(by_tenant, ann) for _ in range(2)] == [True, False]
        assert [await passes(by_tenant, bob) for _ in range(2)] == [True, False]
        assert [await passes(by_tenant, no_one), await passes(by_tenant, None)] == [True, False]
        high, low = Request(priority=2), Request(priority=1)
        assert [await passes(by_function, high) for _ in range(2)] == [True, False]
        assert [await passes(by_function, low) for _ in range(2)] == [True, False]
        assert [await passes(by_function, None) for _ in range(2)] == [True, False]

    world.run(main())


def test_a_refusal_names_the_kind_of_key_and_never_the_key(world: VirtualRuntime) -> None:
    limiter = TokenBucket("1/min", key="tenant", name="shop.rate_limit")

    async def main() -> None:
        with serving(Request(tenant="a-secret-token")):
            limiter.call(Flaky())
            with pytest.raises(RateLimited) as caught:
                limiter.call(Flaky())
        assert str(caught.value) == (
            "shop.rate_limit: the limit of 1/min is used up for this tenant; try again in 60 s"
        )

    world.run(main())


@pytest.mark.parametrize(
    ("limit", "burst", "share", "at_once"),
    [("100/s", 10, 2, 5), ("100/s", None, 4, 25), ("8/s", 3, 4, 1), ("8/s", 4, 1, 4)],
)
def test_each_of_several_processes_gets_its_part(
    world: VirtualRuntime, limit: str, burst: int | None, share: int, at_once: int
) -> None:
    async def main() -> None:
        options = TokenBucket(limit, burst=burst).options
        limiter = TokenBucket.build(options, Scope(name="shop", share=share))
        assert limiter.name == "shop.rate_limit"
        for _ in range(2):
            assert sum(limiter.acquire().allowed for _ in range(200)) == at_once
            world.advance(1)
        assert limiter.acquire(cost=at_once)
        wait = limiter.acquire().retry_after
        assert wait == pytest.approx(share / float(limit.partition("/")[0]))
        part = f" (1 of {share} processes' shares)" if share > 1 else ""
        with pytest.raises(RateLimited) as caught:
            limiter.call(Flaky())
        assert caught.value.reason == f"the limit of {limit}{part} is used up"

    world.run(main())


def test_with_blocks(world: VirtualRuntime) -> None:
    limiter = TokenBucket("2/s")

    async def main() -> None:
        with limiter:
            async with limiter:
                with pytest.raises(RateLimited):
                    limiter.__enter__()

    world.run(main())


# As a limiter


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_decision_says_how_things_stand(world: VirtualRuntime, colour: str) -> None:
    limiter = TokenBucket("10/s", burst=5)

    async def acquire(*args: Any) -> Decision:
        return limiter.acquire(*args) if colour == "sync" else await limiter.aacquire(*args)

    async def main() -> None:
        first = await acquire("ann", 3)
        assert first
        assert (first.limit, first.remaining, first.retry_after) == (5, 2, 0.0)
        assert first.reset_after == pytest.approx(0.3)
        second = await acquire("ann", 3)
        assert not second
        assert (second.limit, second.remaining) == (5, 2)
        assert second.retry_after == pytest.approx(0.1)
        assert (await acquire("bob")).remaining == 4

    world.run(main())


@pytest.mark.parametrize("cost", [0, -1, 1.0, math.nan, True, "1"])
@pytest.mark.parametrize("wait", [None, "1s"])
def test_a_cost_below_one_is_a_mistake(world: VirtualRuntime, cost: Any, wait: str | None) -> None:
    async def main() -> None:
        limiter = TokenBucket("1/s")
        with pytest.raises(ValueError, match=f"rate_limit: expected a cost .* found {cost!r}"):
            limiter.acquire(cost=cost, wait=wait)
        with pytest.raises(ValueError, match="expected a cost"):
            await limiter.aacquire(cost=cost, wait=wait)

    world.run(main())


def test_a_key_that_cannot_be_one_is_a_mistake(world: VirtualRuntime) -> None:
    async def main() -> None:
        limiter = TokenBucket("1/s", key=lambda _: ["a", "list"])  # type: ignore[arg-type,return-value]
        message = "^rate_limit: expected a key of text, bytes, .*; found list: make it text"
        with pytest.raises(TypeError, match=message):
            limiter.acquire(["a", "list"])  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=message):
            await limiter.aacquire(["a", "list"])  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=message):
            limiter.call(Flaky())

    world.run(main())


# Waiting


@pytest.mark.parametrize("seed", range(4))
def test_waiters_are_served_in_order_at_exactly_the_rate(seed: int) -> None:
    world = VirtualRuntime(seed)
    limiter = TokenBucket("100/s", burst=1)
    served: list[tuple[int, float]] = []

    async def one(number: int) -> None:
        decision = await limiter.aacquire(wait="10s")
        assert decision.allowed
        served.append((number, world.now()))

    async def main() -> None:
        tasks = []
        for number in range(50):
            tasks.append(world.spawn(one(number)))
            await turn()
        await asyncio.gather(*tasks)

    world.run(main())
    assert [number for number, _ in served] == list(range(50))
    assert [at for _, at in served] == pytest.approx([number / 100 for number in range(50)])


@pytest.mark.parametrize("seed", range(4))
def test_those_who_stop_waiting_lose_no_token(seed: int) -> None:
    world = VirtualRuntime(seed)
    limiter = TokenBucket("100/s", burst=1)
    served: list[tuple[int, float]] = []

    async def one(number: int) -> None:
        await limiter.aacquire(wait="10s")
        served.append((number, world.now()))

    async def main() -> None:
        assert limiter.acquire()
        tasks = []
        for number in range(50):
            tasks.append(world.spawn(one(number)))
            await turn()
        gone = world.rng.sample(range(50), 25)
        for number in gone:
            tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [number for number, _ in served] == sorted(set(range(50)) - set(gone))
        assert limiter.acquire().retry_after == pytest.approx(0.01)

    world.run(main())
    assert [at for _, at in served] == pytest.approx([number / 100 for number in range(1, 26)])


def test_a_newcomer_does_not_overtake_those_who_wait(world: VirtualRuntime) -> None:
    limiter = TokenBucket("1/s", burst=1)

    async def main() -> None:
        assert limiter.acquire()
        waiter = world.spawn(limiter.aacquire(wait="5s"))
        await turn()
        world.advance(1.0)
        newcomer = limiter.acquire()
        assert not newcomer
        assert newcomer.retry_after == pytest.approx(1.0)
        assert (await waiter).allowed

    world.run(main())


def test_a_wait_that_cannot_succeed_is_not_begun(world: VirtualRuntime) -> None:
    limiter = TokenBucket("1/s", burst=1)

    async def main() -> None:
        assert limiter.acquire()
        refused = await limiter.aacquire(wait="900ms")
        assert not refused
        assert refused.retry_after == pytest.approx(1.0)
        async with Deadline("900ms"):
            refused = await limiter.aacquire(wait="1h")
        assert not refused
        assert world.now() == 0.0
        assert (await limiter.aacquire(wait=1)).allowed, "nothing was reserved by those"
        assert world.now() == pytest.approx(1.0)

    world.run(main())


def test_a_wait_costs_what_it_asks_for(world: VirtualRuntime) -> None:
    limiter = TokenBucket("10/s", burst=5)

    async def main() -> None:
        assert limiter.acquire(cost=5)
        decision = await limiter.aacquire(cost=4, wait="1s")
        assert world.now() == pytest.approx(0.4)
        assert (decision.allowed, decision.remaining, decision.retry_after) == (True, 0, 0.0)
        assert decision.reset_after == pytest.approx(0.5)

    world.run(main())


@pytest.mark.parametrize("seed", range(3))
def test_a_waiter_that_is_cancelled_anywhere_gives_its_token_back(seed: int) -> None:
    async def scenario(trial: Trial) -> None:
        limiter = TokenBucket("1/s", burst=1)
        assert limiter.acquire()
        first = trial.world.spawn(limiter.aacquire(wait="9s"))
        await turn()
        victim = trial.victim(limiter.aacquire(wait="9s"))
        await turn()
        last = trial.world.spawn(limiter.aacquire(wait="9s"))
        await asyncio.wait({first, victim, last})
        assert (await first).allowed
        assert (await last).allowed
        assert victim.cancelled() is trial.reached
        # Cancelled as its token came, it may have to hand it on a moment later than it was due.
        expected = 2.0 if trial.reached else 3.0
        assert trial.world.now() == pytest.approx(expected, abs=0.01)
        assert limiter.acquire().retry_after == pytest.approx(1.0, abs=0.01)

    assert cancel_everywhere(scenario, seed=seed) == 3


def test_early_timers_do_not_make_a_turn_early(world: VirtualRuntime) -> None:
    class Hasty(ThreadRuntime):
        """Wakes a millisecond too soon, as event loops with coarse timers do."""

        time = 50.0

        def __init__(self) -> None:
            super().__init__(now=lambda: self.time)

        def parker(self) -> Parker:
            runtime = self

            class Place:
                async def park(self, timeout: float | None = None) -> bool:
                    assert timeout is not None
                    runtime.time += max(timeout - 0.001, 0.0003)
                    return False

                def unpark(self) -> bool:
                    return True

            return Place()

    runtime, before = Hasty(), colours.thread
    limiter = TokenBucket("1/s", burst=1)
    colours.thread = runtime
    try:
        assert limiter.acquire()
        assert limiter.acquire(wait="5s")
    finally:
        colours.thread = before
    assert 51.0 - 1e-6 <= runtime.now() < 51.001


def test_a_waiter_whose_loop_is_closed_holds_up_no_one() -> None:
    limiter = TokenBucket("1/h", burst=1)
    assert limiter.acquire()
    alive, dead = asyncio.new_event_loop(), asyncio.new_event_loop()

    def wait(loop: asyncio.AbstractEventLoop) -> asyncio.Task[Decision]:
        task = loop.create_task(limiter.aacquire(wait="9h"))
        loop.run_until_complete(turn())
        return task

    def next_one_waits() -> float:
        return limiter.acquire().retry_after / 3600

    first, gone, last = wait(alive), wait(dead), wait(alive)
    dead.close()
    assert next_one_waits() == pytest.approx(4, abs=0.01)
    first.cancel()
    alive.run_until_complete(turn())
    assert next_one_waits() == pytest.approx(2, abs=0.01), "two gave their tokens back"
    assert limiter.snapshot()["waiting"] == 1
    _bury(gone)
    assert next_one_waits() == pytest.approx(2, abs=0.01), "and none of them twice"
    last.cancel()
    alive.run_until_complete(turn())
    assert next_one_waits() == pytest.approx(1, abs=0.01)
    alive.close()


def _bury(task: Any) -> None:
    task._log_destroy_pending = False  # it was abandoned on purpose
    task.get_coro().close()


def test_in_a_running_loop_a_sync_acquire_answers_unless_it_has_to_wait() -> None:
    async def main() -> None:
        limiter = TokenBucket("1/h", burst=1)
        assert limiter.acquire(wait="1ms")
        assert not limiter.acquire(wait="1ms")
        with pytest.raises(WouldBlock, match="aacquire"):
            limiter.acquire(wait="2h")
        assert limiter.acquire().retry_after == pytest.approx(3600, abs=1), "nothing is reserved"

    asyncio.run(main())


def test_a_deadline_that_comes_while_waiting(world: VirtualRuntime) -> None:
    limiter = TokenBucket("1/s", burst=1)

    async def main() -> None:
        assert limiter.acquire()
        with pytest.raises(DeadlineExceeded):
            await Deadline("500ms").acall(late)
        assert limiter.acquire().retry_after == pytest.approx(0.5)

    async def late() -> None:
        waiting = asyncio.ensure_future(limiter.aacquire(wait=None))
        await waiting
        await asyncio.sleep(9)  # noqa: TID251  a user's own wait

    world.run(main())


# Keys


def test_the_map_of_keys_is_bounded_and_forgets_only_full_buckets(world: VirtualRuntime) -> None:
    limiter = TokenBucket("1/s", burst=1, max_keys=8)

    async def main() -> None:
        for number in range(7):
            assert limiter.acquire(f"old {number}")
        world.advance(1)
        assert limiter.acquire("live")
        for number in range(7):
            assert limiter.acquire(f"new {number}")
        assert not limiter.acquire("live"), "the others were full again, this one was not"
        assert len(limiter._machine.keys) <= 8

    world.run(main())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"limit": "0/s"}, "limit: expected a rate"),
        ({"limit": math.nan}, "limit: expected a rate"),
        ({"limit": "ten a day"}, "limit: expected a rate"),
        ({"limit": "1/s", "burst": 0}, "burst: expected an integer from 1"),
        ({"limit": "1/s", "key": 5}, "key: expected text"),
        ({"limit": "1/s", "max_keys": 0}, "max_keys: expected an integer from 1"),
    ],
    ids=repr,
)
def test_bad_arguments(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TokenBucket(**given)
    assert str(caught.value).startswith(f"TokenBucket: {message}")


def test_a_long_key_is_kept_as_a_digest_and_counts_as_itself() -> None:
    limiter = TokenBucket("1/h", burst=1, key="tenant")
    with serving(Request(tenant="x" * 1_000_000)):
        limiter.call(len, "")
        with pytest.raises(RateLimited):
            limiter.call(len, "")
    with serving(Request(tenant="x" * 999_999)):
        limiter.call(len, "")
    assert not limiter.acquire("x" * 1_000_000)
    assert limiter.acquire("y" * 1_000_000)
    assert limiter.acquire(b"y" * 1_000_000), "bytes are another key than text"
    assert not limiter.acquire(b"y" * 1_000_000)
    assert limiter.acquire("\ud800" * 1_000_000)
    assert limiter.acquire("z" * 64)
    assert limiter.acquire("z" * 65)
    assert "z" * 64 in limiter._machine.keys.states
    assert all(len(str(key)) <= 200 for key in limiter._machine.keys.states)
