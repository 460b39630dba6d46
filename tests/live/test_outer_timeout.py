"""An `asyncio.timeout` of the user's own around any order of policies ends the call on time."""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from escala import (
    AdaptiveLimit,
    AdaptiveThrottle,
    Bulkhead,
    CircuitBreaker,
    Deadline,
    Fallback,
    Hedge,
    LeakyBucket,
    Policy,
    Retry,
    Shed,
    Stack,
    Timeout,
    TokenBucket,
)
from escala.resilience import Standard

pytestmark = pytest.mark.live

LIMIT, LATEST = 0.1, 0.12
ORDERS = 30
LOOPS = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


def policies() -> list[Policy]:
    return [
        Fallback(value="instead", on=Exception),
        Deadline("5s"),
        Shed(2, queue=10, interval="5s"),
        TokenBucket("1000/s"),
        LeakyBucket("1000/s", shape="queue", queue=10, wait="5s"),
        Retry(1000, base="10ms", budget=None, on=Exception),
        Hedge("20ms", most=3, budget=None),
        CircuitBreaker(minimum_calls=1000),
        AdaptiveThrottle(on=KeyError),  # as patient as the breaker: one that refuses ends the call
        AdaptiveLimit(initial=2, queue=10),
        Bulkhead(2, queue=10),
        Timeout("3s"),
        Standard(attempts=5),
    ]


def orders() -> list[list[Policy]]:
    """Forwards, backwards, each policy once outermost and once innermost, and some by chance."""
    rng, made = random.Random(8), list[list[Policy]]()
    count = len(policies())
    for shift in range(count):
        made += [policies()[shift:] + policies()[:shift]]
        made += [list(reversed(made[-1]))]
    while len(made) < ORDERS:
        made.append(rng.sample(policies(), count))
    return made


async def hangs() -> None:
    await asyncio.sleep(60)


async def fails() -> None:
    await asyncio.sleep(0.001)
    raise ConnectionError


async def fails_now_and_then_hangs() -> None:
    if next(_turns) % 2:
        raise ConnectionError
    await asyncio.sleep(60)


_turns = itertools.count()


async def timed(make: Callable[[], Awaitable[Any]]) -> float:
    began = time.monotonic()
    try:
        async with asyncio.timeout(LIMIT):
            await make()
    except TimeoutError:
        return time.monotonic() - began
    return 0.0  # a fallback inside has answered before


def times(loop: Callable[[], asyncio.AbstractEventLoop], makes: list[Any]) -> list[float]:
    """How long each took, all of them at once."""

    async def main() -> list[float]:
        return await asyncio.gather(*(timed(make) for make in makes))

    with asyncio.Runner(loop_factory=loop) as runner:
        took = runner.run(main())
        left = asyncio.all_tasks(runner.get_loop())
    assert not left, "no copy of a call outlives it"
    return took


@LOOPS
@pytest.mark.parametrize("call", [hangs, fails, fails_now_and_then_hangs])
def test_whatever_the_order(
    loop: Callable[[], asyncio.AbstractEventLoop], call: Callable[[], Awaitable[None]]
) -> None:
    took = list[float]()
    for _ in range(3):  # another process may have the processors for a moment
        stacks = [Stack(*order) for order in orders()]
        took = times(loop, [functools.partial(stack.acall, call) for stack in stacks])
        assert sum(seconds >= LIMIT * 0.9 for seconds in took) >= len(took) / 4
        if max(took) <= LATEST:
            return
    pytest.fail(f"took {took}")


@LOOPS
def test_each_waits_for_its_turn_no_longer_than_that(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Calls that wait in a queue, for a token, or for their next attempt."""

    async def main() -> list[float]:
        bucket = TokenBucket("1/h", burst=1, wait="1h")
        queue = LeakyBucket("1/h", shape="queue", queue=5, wait="1h")
        retry = Retry(5, base="1h", cap="1h", jitter="none")
        slots = [Bulkhead(1, queue=5), AdaptiveLimit(initial=1, queue=5), Shed(1, queue=5)]
        ahead = [asyncio.ensure_future(each.acall(hangs)) for each in slots]
        await asyncio.sleep(0)
        await bucket.acall(asyncio.sleep, 0)
        await queue.acall(asyncio.sleep, 0)
        took = await asyncio.gather(
            *(timed(functools.partial(one.acall, hangs)) for one in (*slots, bucket, queue)),
            timed(functools.partial(retry.acall, fails)),
        )
        for each in ahead:
            each.cancel()
        return took

    took = list[float]()
    for _ in range(3):
        with asyncio.Runner(loop_factory=loop) as runner:
            took = runner.run(main())
        if all(LIMIT * 0.9 <= seconds <= LATEST for seconds in took):
            return
    pytest.fail(f"took {took}")
