"""Router processes whose threads insert, update and delete orders, and know what is committed."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from escala.databases.sharding.shard_map import ShardMap

THREADS = 4
APART = 10_000_000  # ids of each thread begin so far from those of another one
STEP = 0.01  # seconds of the monotonic clock that are counted together

Known = dict[int, tuple[str, int]]


class Written(NamedTuple):
    """What both routers have done; `known` is what they know to be there."""

    known: Known
    writes: int
    longest: float
    seen: dict[int, tuple[int, float]]  # by STEP: how many writes, and the longest of them


class Writer(threading.Thread):
    """Each order is written by one thread only, so it knows what there has to be."""

    def __init__(
        self, write: Callable[..., int], number: int, tenants: int, over: threading.Event
    ) -> None:
        super().__init__(name=f"writer {number}")
        self._write, self._tenants, self._over = write, tenants, over
        self._random = random.Random(number)
        self._next = number * APART
        self.known: Known = {}
        self.count, self.longest = 0, 0.0
        self.seen: dict[int, tuple[int, float]] = {}  # as in `Written`
        self.trouble: str | None = None

    def run(self) -> None:
        try:
            while not self._over.is_set():
                began = time.monotonic()
                self._one()
                self._count(time.monotonic(), began)
        except BaseException as error:  # noqa: BLE001  told at the end
            self.trouble = repr(error)

    def _count(self, ended: float, began: float) -> None:
        at = int(ended / STEP)
        before, longest = self.seen.get(at, (0, 0.0))
        self.seen[at] = before + 1, max(longest, ended - began)
        self.longest = max(self.longest, ended - began)
        self.count += 1

    def _one(self) -> None:
        drawn = self._random.random()
        if drawn < 0.4 or not self.known:
            self._next += 1
            tenant = f"t{self._random.randrange(self._tenants)}"
            assert self._write("insert", tenant, self._next, 1) == 1
            self.known[self._next] = (tenant, 1)
            return
        number = self._random.choice(list(self.known))
        tenant, amount = self.known[number]
        if drawn < 0.75 and len(self.known) < 1000:
            assert self._write("update", tenant, number, amount + 1) == 1, number
            self.known[number] = (tenant, amount + 1)
        else:
            assert self._write("delete", tenant, number, 0) == 1, number
            del self.known[number]


def route(urls: Mapping[str, str], shard_map: str, first: int, tenants: int, told: Path) -> None:
    """Be a router until SIGTERM; then write what is known to a file."""
    # Only here: what forks routers is to stay small.
    from tests.servers.order_writes import opened, writes

    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    shards = opened(urls, ShardMap.from_json(shard_map))
    write = writes(shards)
    writers = [Writer(write, first + each, tenants, over) for each in range(THREADS)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        time.sleep(0.01)
    shards.close()
    known = {number: value for writer in writers for number, value in writer.known.items()}
    found = {
        "seen": [[at, *each] for writer in writers for at, each in writer.seen.items()],
        "known": [[number, *value] for number, value in known.items()],
        "count": sum(writer.count for writer in writers),
        "longest": max(writer.longest for writer in writers),
        "trouble": [writer.trouble for writer in writers if writer.trouble],
    }
    told.write_text(json.dumps(found))


class Routers:
    """Two processes of four writers each; fork them before there are threads."""

    def __init__(
        self, urls: Mapping[str, str], shard_map: ShardMap, tenants: int, folder: Path
    ) -> None:
        self._told = [folder / f"router-{number}.json" for number in (1, 2)]
        self._pids = []
        for number, told in enumerate(self._told):
            pid = os.fork()
            if not pid:
                try:
                    first = 1 + number * THREADS
                    route(urls, shard_map.to_json(), first, tenants, told)
                except BaseException:  # noqa: BLE001  a child returns to no one
                    sys.excepthook(*sys.exc_info())
                finally:
                    sys.stderr.flush()
                    os._exit(0)
            self._pids.append(pid)

    def stop(self) -> Written:
        """Stop writing. Fails when a write has failed."""
        for pid in self._pids:
            os.kill(pid, signal.SIGTERM)
        for pid in self._pids:
            os.waitpid(pid, 0)
        told = [json.loads(file.read_text()) for file in self._told]
        assert not any(each["trouble"] for each in told), [each["trouble"] for each in told]
        known = {row[0]: (row[1], row[2]) for each in told for row in each["known"]}
        seen: dict[int, tuple[int, float]] = {}
        for at, count, longest in (row for each in told for row in each["seen"]):
            before, other = seen.get(at, (0, 0.0))
            seen[at] = before + count, max(longest, other)
        return Written(
            known,
            sum(each["count"] for each in told),
            max(each["longest"] for each in told),
            seen,
        )

    def kill(self) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
