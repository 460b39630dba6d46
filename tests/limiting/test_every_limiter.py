"""What all limiters share: asking, looking, giving back, several limits, waiting, bad input."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest
from tests.limiting.limiters import Make, alone, every_limiter
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import Flaky

from escala.errors import ConfigError, RateLimited
from escala.kernel.policy import Scope
from escala.limiting import Decision, RateLimiter
from escala.testing import Trial, VirtualRuntime, cancel_everywhere

colours = pytest.mark.parametrize("colour", ["sync", "async"])


async def turn() -> None:
    await asyncio.sleep(0)  # noqa: TID251  one turn of the loop


async def ask(limiter: RateLimiter, verb: str, colour: str, *args: Any, **named: Any) -> Any:
    if colour == "sync":
        return getattr(limiter, verb)(*args, **named)
    return await getattr(limiter, "a" + verb)(*args, **named)


@every_limiter
@both_colours
def test_as_a_policy_it_lets_so_many_pass(
    world: VirtualRuntime, make: Make, call: Call[Any]
) -> None:
    limiter, fn = make("3/10s"), Flaky()

    async def main() -> None:
        for _ in range(3):
            assert await call(limiter, fn) == "well"
        with pytest.raises(RateLimited) as caught:
            await call(limiter, fn)
        assert caught.value.policy == limiter.kind == limiter.name
        assert caught.value.reason == "the limit of 3/10s is used up"
        assert fn.calls == 3
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 14
        world.advance(caught.value.retry_after)
        assert await call(limiter, fn) == "well"

    world.run(main())


@every_limiter
@colours
def test_asks_looks_gives_back_and_forgets(world: VirtualRuntime, make: Make, colour: str) -> None:
    limiter = make("5/10s")

    async def main() -> None:
        assert (await ask(limiter, "peek", colour, "ann")).remaining == 5
        assert len(limiter._machine.keys) == 0, "to look leaves nothing behind"
        taken: Decision = await ask(limiter, "acquire", colour, "ann", 3)
        assert (taken.allowed, taken.limit, taken.remaining) == (True, 5, 2)
        assert taken.standings == ((2, taken.reset_after),)
        assert await ask(limiter, "peek", colour, "ann") == taken
        refused: Decision = await ask(limiter, "acquire", colour, "ann", cost=3)
        assert (refused.allowed, refused.remaining) == (False, 2)
        assert refused.retry_after > 0
        assert await ask(limiter, "refund", colour, "ann", 2) is None
        assert (await ask(limiter, "peek", colour, "ann")).remaining == 4
        assert await ask(limiter, "acquire", colour, "ann", 4)
        none_left = await ask(limiter, "peek", colour, "ann")
        assert (none_left.allowed, none_left.remaining) == (False, 0)
        assert none_left.retry_after > 0
        assert (await ask(limiter, "peek", colour, "bob")).remaining == 5
        assert await ask(limiter, "reset", colour, "ann") is None
        assert (await ask(limiter, "peek", colour, "ann")).remaining == 5
        assert await ask(limiter, "acquire", colour)
        assert await ask(limiter, "refund", colour) is None
        assert await ask(limiter, "reset", colour) is None
        assert (await ask(limiter, "peek", colour)).remaining == 5
        assert limiter.snapshot() == {"keys": 1.0, "waiting": 0.0}

    world.run(main())


@every_limiter
@colours
def test_a_thousand_an_hour_are_not_used_up_by_what_a_second_refuses(
    world: VirtualRuntime, make: Make, colour: str
) -> None:
    limiter = make("10/s; 1000/h")

    async def main() -> None:
        decisions = [await ask(limiter, "acquire", colour) for _ in range(3_000)]
        assert sum(decision.allowed for decision in decisions) == 10
        last = decisions[-1]
        assert [left for left, _ in last.standings] == [0, 990]
        assert (last.decided_by, last.limit, last.remaining) == (0, 10, 0)
        assert limiter.plan.limits[1].text == "1000/h"

    world.run(main())


@every_limiter
def test_a_refusal_names_the_limit_that_decided(world: VirtualRuntime, make: Make) -> None:
    limiter = make("3/s; 4/h")

    async def main() -> None:
        for _ in range(3):
            limiter.call(Flaky())
        with pytest.raises(RateLimited, match="the limit of 3/s is used up"):
            limiter.call(Flaky())
        world.advance(3)
        limiter.call(Flaky())
        with pytest.raises(RateLimited, match="the limit of 4/h is used up"):
            limiter.call(Flaky())

    world.run(main())


@every_limiter
def test_a_key_function_that_cannot_be_asked_is_refused(make: Make) -> None:
    async def later(_: object) -> str:
        return "ann"

    with pytest.raises(ConfigError) as caught:
        make("10/s", key=later)
    found = f"{make.__name__}: key: expected a sync function, found async "
    assert str(caught.value).startswith(found)


# Waiting


@every_limiter
def test_waits_for_its_turn_if_told_to(world: VirtualRuntime, make: Make) -> None:
    limiter = make("1/s", wait="5s")

    async def main() -> None:
        assert await limiter.aacquire()
        assert await limiter.aacquire()
        assert 0 < world.now() <= 2
        at = world.now()
        assert not await limiter.aacquire(wait=0), "unless told otherwise"
        assert not await limiter.aacquire(wait="1ms")
        assert world.now() == at, "a wait that could not succeed is not begun"
        assert limiter.acquire(), "and so does a sync call, which moves the clock"
        assert at < world.now() <= 5
        assert limiter.snapshot()["waiting"] == 0

    world.run(main())


@every_limiter
def test_a_thread_waits_for_its_turn_too(make: Make) -> None:
    limiter = make("1/s", wait="5s")
    with alone() as thread:
        assert limiter.acquire()
        assert limiter.acquire()
        assert 50 < thread.now() <= 52.01
        at = thread.now()
        assert not limiter.acquire(wait=0)
        assert not limiter.acquire(wait="1ms")
        assert thread.now() == at
        assert limiter.call(len, "abc") == 3
        assert at < thread.now() <= at + 2.01


@every_limiter
def test_as_a_policy_it_waits_too(world: VirtualRuntime, make: Make) -> None:
    limiter = make("1/s", wait="2s")

    async def main() -> None:
        await limiter.acall(turn)
        await limiter.acall(turn)
        assert 0 < world.now() <= 2
        limiter.reset()
        limiter.acquire()
        waiting = [world.spawn(limiter.aacquire(wait=9)) for _ in range(5)]
        await turn()
        with pytest.raises(RateLimited) as caught:
            await limiter.acall(turn)
        assert (caught.value.retry_after or 0) > 2
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    world.run(main())


@every_limiter
@pytest.mark.parametrize("seed", range(3))
def test_who_waits_is_served_in_order_and_who_leaves_costs_no_one(make: Make, seed: int) -> None:
    world = VirtualRuntime(seed)
    limiter = make("5/s")
    served: dict[int, float] = {}

    async def one(number: int) -> None:
        assert await limiter.aacquire(wait="1h")
        served[number] = world.now()

    async def main() -> tuple[float, float]:
        for _ in range(5):
            assert limiter.acquire()
        tasks = []
        for number in range(20):
            tasks.append(world.spawn(one(number)))
            await turn()
        gone = world.rng.sample(range(20), 10)
        for number in gone:
            tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert served.keys() == set(range(20)) - set(gone)
        moments = [served[number] for number in sorted(served)]
        assert moments == sorted(moments)
        took = world.now()
        assert limiter.snapshot()["waiting"] == 0
        # The same without those who left, on a limiter of its own.
        other, began = make("5/s"), world.now()
        while other.peek():
            assert other.acquire()
        for _ in range(10):
            assert await other.aacquire(wait="1h")
        return took, world.now() - began

    took, alone = world.run(main())
    period = 0.0 if make.__name__ in {"TokenBucket", "LeakyBucket"} else 1.0
    assert took == pytest.approx(alone, abs=period + 0.01)
    world.close()


@every_limiter
def test_a_newcomer_does_not_overtake_and_looking_says_so(
    world: VirtualRuntime, make: Make
) -> None:
    limiter = make("2/s")

    async def main() -> None:
        assert limiter.acquire(cost=2)
        waiter = world.spawn(limiter.aacquire(cost=2, wait="9s"))
        await turn()
        assert limiter.snapshot()["waiting"] == 1
        world.advance(0.75)
        assert not limiter.peek(), "a token may be there, and it is for the one who waits"
        assert not limiter.acquire()
        with pytest.raises(RateLimited):
            limiter.call(Flaky())
        assert limiter.acquire("someone else")
        assert (await waiter).allowed

    world.run(main())


@every_limiter
@pytest.mark.parametrize("verb", ["reset", "refund"])
def test_tokens_that_come_back_go_to_the_first_in_line(
    world: VirtualRuntime, make: Make, verb: str
) -> None:
    limiter = make("2/h")

    async def main() -> None:
        assert limiter.acquire(cost=2)
        tasks = [world.spawn(limiter.aacquire(wait="9h")) for _ in range(2)]
        await turn()
        getattr(limiter, verb)()
        await turn()
        assert (await tasks[0]).allowed
        assert world.now() == pytest.approx(0, abs=0.01)
        assert (await tasks[1]).allowed
        assert (world.now() < 1) is (verb == "reset"), "one token came back, or two"

    world.run(main())


@every_limiter
@pytest.mark.parametrize("seed", range(2))
def test_a_waiter_that_is_cancelled_anywhere_loses_nothing(make: Make, seed: int) -> None:
    async def scenario(trial: Trial) -> None:
        limiter = make("1/s", wait="99s")
        assert limiter.acquire()
        first = trial.world.spawn(limiter.aacquire())
        await turn()
        victim = trial.victim(limiter.aacquire())
        await turn()
        last = trial.world.spawn(limiter.aacquire())
        await asyncio.wait({first, victim, last})
        assert (await first).allowed
        assert (await last).allowed
        assert victim.cancelled() is trial.reached
        assert limiter.snapshot()["waiting"] == 0

    assert cancel_everywhere(scenario, seed=seed) >= 2


@every_limiter
def test_a_wait_that_others_make_too_long_ends_when_it_should(
    world: VirtualRuntime, make: Make
) -> None:
    limiter = make("2/s")

    async def main() -> None:
        assert limiter.acquire(cost=2)
        waiter = world.spawn(limiter.aacquire(wait="1.2s"))
        await turn()
        limiter._memory.machine.take("", 2, 1.0)  # what the line cannot foresee
        decision = await waiter
        assert world.now() <= 1.21
        assert decision.allowed or decision.retry_after > 0
        assert limiter.snapshot()["waiting"] == 0

    world.run(main())


# The clock on the wall


@every_limiter
@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_step_of_the_wall_clock_changes_no_decision(
    make: Make, step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = make("2/d")
    assert [limiter.acquire().allowed for _ in range(3)] == [True, True, False]
    wait = limiter.acquire().retry_after
    real = time.time  # noqa: TID251  the clock that is moved
    monkeypatch.setattr(time, "time", lambda: real() + step)
    monkeypatch.setattr("escala.kernel.runtime.wall", lambda: real() + step)
    after = limiter.acquire()
    assert not after
    assert after.retry_after == pytest.approx(wait, abs=5)
    assert limiter.acquire("new")


# Bad input


@every_limiter
@pytest.mark.parametrize(
    ("limit", "found"),
    [
        ("0/s", "'0/s'"),
        ("1/0s", "'1/0s'"),
        ("-1/s", "'-1/s'"),
        (0, "0"),
        (-1, "-1"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        ("1000000000000001/s", "'1000000000000001/s'"),
        ("1/36501d", "'1/36501d'"),
        ("", "''"),
        ("10/s;", "'10/s;'"),
        ("10/s; x", "'10/s; x'"),
        ("1/s;" * 8 + "1/s", "'1/s;1/s;1/s;1/s;1/s;1/s;1/s;1/s;1/s'"),
        (None, "nothing"),
        (True, "true"),
        (["1/s"], "a list"),
    ],
)
def test_a_limit_that_is_none(make: Make, limit: Any, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(limit)
    name = make.__name__
    assert str(caught.value) == (
        f"{name}: limit: expected a rate such as '100/min', or several such as "
        f"'10/s; 1000/h'; found {found}"
    )


@every_limiter
@pytest.mark.parametrize(
    "given",
    [
        {"wait": "-1s"},
        {"wait": math.nan},
        {"max_keys": 0},
        {"max_keys": -5},
        {"key": 7},
        {"away": "shut"},
        {"store": 5},
    ],
    ids=repr,
)
def test_an_option_that_is_none(make: Make, given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(ConfigError, match=f"^{make.__name__}: {name}: expected "):
        make("1/s", **given)


@every_limiter
@pytest.mark.parametrize("verb", ["acquire", "refund"])
@pytest.mark.parametrize("cost", [0, -1, 1.0, math.nan, True, "1", None])
@colours
def test_a_cost_that_is_none(
    world: VirtualRuntime, make: Make, verb: str, cost: Any, colour: str
) -> None:
    limiter = make("5/s")

    async def main() -> None:
        with pytest.raises(ValueError) as caught:
            await ask(limiter, verb, colour, "k", cost)
        assert str(caught.value) == (
            f"{limiter.name}: expected a cost of at least 1 that is a whole number, found {cost!r}"
        )

    world.run(main())


@every_limiter
@pytest.mark.parametrize("wait", [None, 0, "1h"])
@colours
def test_a_cost_that_can_never_be_granted(
    world: VirtualRuntime, make: Make, wait: Any, colour: str
) -> None:
    limiter = make("7/s; 5/h")

    async def main() -> None:
        assert await ask(limiter, "acquire", colour, cost=5)
        with pytest.raises(ValueError) as caught:
            await ask(limiter, "acquire", colour, cost=6, wait=wait)
        assert str(caught.value) == (
            f"{limiter.name}: a cost of 6 can never be granted, since at most 5 may pass at once; "
            "split it, or raise the burst"
        )

    world.run(main())


@every_limiter
@pytest.mark.parametrize("verb", ["acquire", "peek", "reset", "refund"])
@colours
def test_what_is_no_key_in_memory_is_none_over_a_store(
    world: VirtualRuntime, make: Make, verb: str, colour: str
) -> None:
    limiter = make("5/s", name="mine")
    stored = make("5/s", name="mine", store="redis://127.0.0.1:1")

    async def main() -> None:
        keys: list[Any] = [["a"], {}, {1}, None, 2.5, frozenset(), ("a", 2.5)]
        for each in (limiter, stored):
            for key in keys:
                found = "float" if isinstance(key, tuple) else type(key).__name__
                with pytest.raises(TypeError) as caught:
                    await ask(each, verb, colour, key)
                assert str(caught.value).startswith(
                    "mine: expected a key of text, bytes, a whole number or a tuple of those; "
                    f"found {found}: "
                )
        stored.close()

    world.run(main())


@every_limiter
def test_a_bad_wait(make: Make) -> None:
    limiter = make("5/s")
    for wait in (-1, math.nan, math.inf, "soon", True):
        with pytest.raises(ValueError, match="expected a duration"):
            limiter.acquire(wait=wait)


@every_limiter
@colours
def test_a_key_of_a_megabyte_is_kept_as_a_digest(
    world: VirtualRuntime, make: Make, colour: str
) -> None:
    limiter = make("1/h")

    async def main() -> None:
        for letter in "xy":
            assert await ask(limiter, "acquire", colour, letter * 1_000_000)
            assert not await ask(limiter, "acquire", colour, letter * 1_000_000)
            assert not await ask(limiter, "peek", colour, letter * 1_000_000)
        assert [len(key) for key in limiter._machine.keys.states] == [71, 71]
        await ask(limiter, "reset", colour, "x" * 1_000_000)
        assert await ask(limiter, "acquire", colour, "x" * 1_000_000)
        assert await ask(limiter, "acquire", colour, ("a", 1))
        assert ("a", 1) in limiter._machine.keys.states

    world.run(main())


@every_limiter
def test_keys_in_memory_are_bounded(world: VirtualRuntime, make: Make) -> None:
    limiter = make("1/h", max_keys=10)

    async def main() -> None:
        for number in range(500):
            assert limiter.acquire(number)
            assert limiter.snapshot()["keys"] <= 10
        assert not limiter.acquire(499), "the newest is known"

    world.run(main())


# Several processes


@every_limiter
@pytest.mark.parametrize(("share", "each"), [(1, 8), (2, 4), (3, 2), (16, 1)])
def test_each_of_several_processes_gets_its_part(
    world: VirtualRuntime, make: Any, share: int, each: int
) -> None:
    async def main() -> None:
        options = make("8/s", wait="1ms").options
        limiter = make.build(options, Scope(name="shop", share=share))
        assert limiter.name == f"shop.{limiter.kind}"
        assert limiter.options == options
        assert sum(limiter.acquire().allowed for _ in range(99)) == each
        part = f" (1 of {share} processes' shares)" if share > 1 else ""
        with pytest.raises(RateLimited) as caught:
            limiter.call(Flaky())
        assert caught.value.reason == f"the limit of 8/s{part} is used up"
        with pytest.raises(ValueError, match="at most " + str(each)):
            limiter.acquire(cost=each + 1)

    world.run(main())


@every_limiter
def test_a_waiter_that_is_settled_by_a_newcomer_keeps_its_turn(
    world: VirtualRuntime, make: Make
) -> None:
    limiter = make("1/s")

    async def main() -> None:
        assert limiter.acquire()
        waiter = world.spawn(limiter.aacquire(wait="9s"))
        await turn()
        world.advance(5.0)
        newcomer = limiter.acquire()
        assert not waiter.done()
        assert (await waiter).allowed
        charged_now = limiter.plan.strict
        assert newcomer.allowed is not charged_now, "others are charged as of when they were due"
        assert limiter.snapshot()["waiting"] == 0

    world.run(main())
