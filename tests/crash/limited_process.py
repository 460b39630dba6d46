"""One of several processes that share a limit in Redis; its clocks are off by what it is told.

Prints the moments (on the machine's true monotonic clock, which all processes share) at which its
calls were admitted.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

TRUE = time.monotonic
SKEW, URL, LIMIT, OPTIONS = float(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
BEGIN, SECONDS, TASKS = float(sys.argv[5]), float(sys.argv[6]), 16


def skewed(read: Any) -> Any:
    return lambda: read() + SKEW


# Before Escala is imported, so that none of it has seen the true ones.
time.time, time.monotonic = skewed(time.time), skewed(time.monotonic)
time.perf_counter = skewed(time.perf_counter)

from escala import TokenBucket  # noqa: E402
from escala.kernel.runtime import colours  # noqa: E402


async def main() -> None:
    assert abs(colours.loop.now() - TRUE() - SKEW) < 1, "the clock is not skewed"
    limiter = TokenBucket(LIMIT, store=URL, **OPTIONS)
    admitted: list[tuple[float, float]] = []

    async def ask() -> None:
        while TRUE() < BEGIN + SECONDS:
            before = TRUE()
            decision = await limiter.aacquire("all")
            assert not decision.away, "Redis was away"
            if decision:
                admitted.append((before, TRUE()))
            await asyncio.sleep(0.001)

    await asyncio.sleep(BEGIN - TRUE())
    await asyncio.gather(*[ask() for _ in range(TASKS)])
    limiter.close()
    sys.stdout.write(json.dumps(admitted))


asyncio.run(main())
