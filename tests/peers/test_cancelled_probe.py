"""The one probe is cancelled, which says nothing about the dependency: what does a breaker learn?

"neutral": the next caller may probe. "closed": everyone comes in, as if the probe had succeeded.
"failure": no one does for another cooldown, as if it had failed.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import hyx.circuitbreaker
import pytest
from tests.peers.breakers import BREAKERS, COOLDOWN, Wrap

FAILURES = 2  # so many open it, and one is enough when it is half-open


def hyx_block(colour: str, failures: int) -> Wrap:
    """hyx in a `with` block, which has code of its own."""
    breaker = hyx.circuitbreaker.consecutive_breaker(
        failure_threshold=failures, recovery_time_secs=COOLDOWN, recovery_threshold=1
    )

    def wrap(call: Any) -> Any:
        async def guarded() -> None:
            async with breaker:
                await call()

        return guarded

    return wrap


MAKERS = {**BREAKERS, "hyx_block": hyx_block}
LEARNT = {
    "escala": "neutral",
    "interlock": "neutral",
    "aiobreaker": "neutral",
    "hyx": "neutral",
    "hyx_block": "closed",
    "circuitbreaker": "closed",
    "purgatory": "failure",
    "pyresilience": "neutral",
}


async def learnt(package: str) -> str:
    act, entered = "", 0

    async def call() -> None:
        nonlocal entered
        entered += 1
        if act == "fail":
            raise ConnectionError
        if act == "hang":
            await asyncio.sleep(10)

    guarded = MAKERS[package]("async", FAILURES)(call)

    async def enters(what: str) -> bool:
        nonlocal act
        act, before = what, entered
        with contextlib.suppress(Exception):
            await guarded()
        return entered > before

    for _ in range(FAILURES):
        assert await enters("fail")
    assert not await enters("fail")
    await asyncio.sleep(COOLDOWN * 1.5)
    act = "hang"
    probe = asyncio.ensure_future(guarded())
    await asyncio.sleep(0.01)
    probe.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await probe
    if not await enters("fail"):
        return "failure"
    return "closed" if await enters("fail") else "neutral"


@pytest.mark.parametrize("package", sorted(LEARNT))
def test_cancelled_probe(package: str) -> None:
    assert asyncio.run(learnt(package)) == LEARNT[package]
