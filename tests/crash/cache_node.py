"""One of several processes with a cache on one Redis: it writes, or reads in one of the colours.

Prints, when its input says to stop, what it has seen.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.crash.shared_source import KEYS, SharedSource

from escala import Cache
from escala.caching.events import CacheHearingChanged
from escala.kernel.events import subscribe

ROLE, URL, PATH, MAX_STALE, SEED = sys.argv[1:6]
WRITERS, THREADS = 2, 2
STOP = threading.Event()
source = SharedSource(Path(PATH))
cache = Cache("shop", l2=URL, ttl="1m", max_stale=MAX_STALE)
turns: list[CacheHearingChanged] = []
subscribe(CacheHearingChanged, turns.append)


def get(key: int, rng: random.Random) -> int:
    def load() -> int:
        version = source.version(key)
        time.sleep(rng.choice((0, 0, 0.001, 0.01)))
        return version

    return cache.get(f"k:{key}", load, tags=[f"t{key}"])


async def aget(key: int, rng: random.Random) -> int:
    async def load() -> int:
        version = source.version(key)
        await asyncio.sleep(rng.choice((0, 0, 0.001, 0.01)))
        return version

    return await cache.aget(f"k:{key}", load, tags=[f"t{key}"])


class Reads:
    """What the readers of this process got."""

    def __init__(self) -> None:
        self.count = self.late = 0
        self.oldest = 0.0

    def note(self, key: int, version: int, at: float) -> None:
        age = source.age(key, version, at)
        self.count += 1
        self.late += age > 0
        self.oldest = max(self.oldest, age)


def read(reads: Reads, rng: random.Random) -> None:
    while not STOP.is_set():
        key, at = rng.randrange(KEYS), time.monotonic()
        reads.note(key, get(key, rng), at)
        time.sleep(0.0002)


async def aread(reads: Reads, rng: random.Random) -> None:
    while not STOP.is_set():
        key, at = rng.randrange(KEYS), time.monotonic()
        reads.note(key, await aget(key, rng), at)
        await asyncio.sleep(0.0002)


async def areads(reads: Reads) -> None:
    await asyncio.gather(*[aread(reads, random.Random(f"{SEED}{nth}")) for nth in range(THREADS)])


def write(rng: random.Random) -> dict[str, Any]:
    acknowledged = written = went_back = 0
    while not STOP.is_set():
        key = rng.randrange(int(SEED) % WRITERS, KEYS, WRITERS)
        written += 1
        version = source.write(key)
        if cache.delete(f"k:{key}") if rng.random() < 0.7 else cache.delete(tag=f"t{key}"):
            source.acknowledged(key, version)
            acknowledged += 1
        went_back += get(key, rng) < version
        time.sleep(rng.random() * 0.01)
    for key in range(int(SEED) % WRITERS, KEYS, WRITERS):  # the last word
        version = source.write(key)
        while not cache.delete(f"k:{key}"):
            time.sleep(0.05)
        source.acknowledged(key, version)
    return {"acknowledged": acknowledged, "written": written, "went_back": went_back}


def wait() -> None:
    sys.stdin.readline()
    STOP.set()


def main() -> None:
    threading.Thread(target=wait, daemon=True).start()
    print("ready", flush=True)  # noqa: T201
    if ROLE == "write":
        told: dict[str, Any] = write(random.Random(SEED))
    else:
        reads = Reads()
        if ROLE == "aread":
            asyncio.run(areads(reads))
        else:
            threads = [
                threading.Thread(target=read, args=(reads, random.Random(f"{SEED}{nth}")))
                for nth in range(THREADS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        last = [get(key, random.Random(SEED)) for key in range(KEYS)]
        told = vars(reads) | {"last": last}
    second: Any = cache._second
    told |= {"lost": sum(not turn.heard for turn in turns), "transport": second.store.transport}
    told |= cache.snapshot()
    print(json.dumps(told), flush=True)  # noqa: T201
    cache.close()


main()
