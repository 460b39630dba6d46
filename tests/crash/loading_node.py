"""One of several processes whose callers all want one key at one moment; its clocks may be off.

A load writes its process and the moment (on the machine's true monotonic clock) into a file, and
takes its time. Prints what the callers got.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

TRUE, NAP = time.monotonic, time.sleep
COLOUR, URL, LOG, OPTIONS = sys.argv[1], sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4])
TAKES, CALLERS, SKEW = (float(word) for word in sys.argv[5:8])


def skewed(read: Any) -> Any:
    return lambda: read() + SKEW


# Before Escala is imported, so that none of it has seen the true ones.
time.time, time.monotonic = skewed(time.time), skewed(time.monotonic)
time.perf_counter = skewed(time.perf_counter)

from escala import Cache  # noqa: E402
from escala.kernel.runtime import colours, wall  # noqa: E402

cache = Cache("shop", l2=URL, **OPTIONS)
got: list[tuple[int, float]] = []


def begun() -> int:
    with LOG.open("a") as log:
        log.write(json.dumps([os.getpid(), TRUE()]) + "\n")
    return os.getpid()


def load() -> int:
    value = begun()
    NAP(TAKES)
    return value


async def aload() -> int:
    value = begun()
    await asyncio.sleep(TAKES)
    return value


def ask() -> None:
    NAP(max(0.0, BEGIN - TRUE()))
    answer = cache.entry("k", load)
    got.append((answer.value, answer.age))


async def aask() -> None:
    await asyncio.sleep(BEGIN - TRUE())
    answer = await cache.aentry("k", aload)
    got.append((answer.value, answer.age))


async def asks(callers: int) -> None:
    await asyncio.gather(*[aask() for _ in range(callers)])
    await asyncio.sleep(0.2)  # the value is stored after the callers have it


assert abs(colours.thread.now() - TRUE() - SKEW) < 1, "the clock is not skewed"
assert abs(wall() - skewed(time.time)()) < abs(SKEW) + 1, "nor is the wall's"
cache.get("another")  # connected, and listening
if COLOUR == "async":  # two event loops
    threads = [threading.Thread(target=asyncio.run, args=(asks(int(CALLERS) // 2),)) for _ in "ab"]
else:
    threads = [threading.Thread(target=ask) for _ in range(int(CALLERS))]
print("ready", flush=True)  # noqa: T201
BEGIN = float(sys.stdin.readline())
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(got), flush=True)  # noqa: T201
cache.close()
