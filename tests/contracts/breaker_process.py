"""One of several processes that share a breaker: `breaker_process.py URL COLOUR CALLS PROBES`.

It says `ready` when it has seen the breaker open, waits for a line, calls as often as it was told
at once, and says how many calls entered and how many were refused.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time

from escala import CircuitBreaker
from escala.errors import CircuitOpen

STAY = 0.5


def main(url: str, colour: str, calls: int, probes: int) -> None:
    breaker = CircuitBreaker(consecutive=1, cooldown="300ms", probes=probes, store=url, name="all")
    try:
        breaker.call(int)
    except CircuitOpen:
        print("ready", flush=True)  # noqa: T201  the test reads it
    sys.stdin.readline()
    ends = (
        asyncio.run(in_tasks(breaker, calls)) if colour == "tasks" else in_threads(breaker, calls)
    )
    print(ends.count("entered"), ends.count("refused"), flush=True)  # noqa: T201


def in_threads(breaker: CircuitBreaker, calls: int) -> list[str]:
    ends: list[str] = []

    def one() -> None:
        try:
            breaker.call(time.sleep, STAY)
        except CircuitOpen:
            ends.append("refused")
        else:
            ends.append("entered")

    threads = [threading.Thread(target=one) for _ in range(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ends


async def in_tasks(breaker: CircuitBreaker, calls: int) -> list[str]:
    async def one() -> str:
        try:
            await breaker.acall(asyncio.sleep, STAY)
        except CircuitOpen:
            return "refused"
        return "entered"

    return await asyncio.gather(*(one() for _ in range(calls)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
