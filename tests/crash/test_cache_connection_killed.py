"""Redis and the ways to it fail under writes: what was deleted is given for `max_stale` at most.

`make crash` goes on for a minute.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.crash.shared_source import KEYS, SharedSource
from tests.servers.redis_server import RedisServer, own_redis
from tests.servers.relay import Relay, relayed

__all__ = ["own_redis"]

SECONDS = float(os.environ.get("ESCALA_CACHE_SECONDS", "0"))
MAX_STALE = 1.0
ROOT = Path(__file__).parents[2]
LISTENING = (b"TRACKING", b"SUBSCRIBE")


class Node:
    """A process of `cache_node.py`."""

    def __init__(self, role: str, url: str, path: Path, seed: int) -> None:
        words = [role, url, str(path), f"{MAX_STALE}s", str(seed)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.cache_node", *words],
            cwd=ROOT,
            stdin=pipe,
            stdout=pipe,
            text=True,
        )

    def ready(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def stopped(self) -> dict[str, Any]:
        out, _ = self._process.communicate("stop\n", timeout=30)
        assert self._process.returncode == 0
        told: dict[str, Any] = json.loads(out)
        return told

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


class Faults:
    """What can happen to a server, and to the way to it."""

    def __init__(self, server: RedisServer, relay: Relay, rng: random.Random) -> None:
        self._server, self._relay, self._rng = server, relay, rng
        self.all: list[Callable[[], None]] = [
            self.kill_listeners,
            self.deafen,
            self.hang,
            self.kill_listeners,
            self.restart,
            self.black_hole,
            self.cut,
        ]

    def _a_while(self, most: float) -> None:
        time.sleep(most * (0.4 + 0.6 * self._rng.random()))

    def kill_listeners(self) -> None:
        """As another client: some of the connections that listen."""
        for number, flags in re.findall(
            r"id=(\d+) .* flags=(\w+) ", self._server.ask("CLIENT", "LIST")
        ):
            if set(flags) & {"t", "P", "B"} and self._rng.random() < 0.7:
                self._server.ask("CLIENT", "KILL", "ID", number)

    def deafen(self) -> None:
        """Nothing comes by the connections that listen, and no one says so."""
        self._relay.hold(*LISTENING)
        self._a_while(1.7 * MAX_STALE)
        self._relay.flow()

    def black_hole(self) -> None:
        self._relay.hold()
        self._a_while(1.7 * MAX_STALE)
        self._relay.flow()

    def cut(self) -> None:
        self._relay.cut()

    def hang(self) -> None:
        self._server.pause()
        self._a_while(1.0)
        self._server.resume()

    def restart(self) -> None:
        """It comes back without its memory."""
        self._server.kill()
        self._a_while(0.3)
        self._server.start()


@pytest.fixture
def relay(own_redis: RedisServer) -> Iterator[Relay]:
    with relayed(own_redis.port) as relay:
        yield relay


@pytest.mark.live
@pytest.mark.timeout(60 + 2 * SECONDS)
def test_nothing_is_given_for_longer_than_max_stale(
    own_redis: RedisServer, relay: Relay, tmp_path: Path
) -> None:
    path, rng = tmp_path / "source", random.Random(20)
    source = SharedSource(path)
    relayed_url = own_redis.url.replace(str(own_redis.port), str(relay.port))
    with contextlib.ExitStack() as stack:

        def node(role: str, url: str, seed: int) -> Node:
            each = Node(role, url, path, seed)
            stack.callback(each.close)
            return each

        writers = [node("write", own_redis.url, nth) for nth in range(2)]
        readers = [
            node("read", f"{relayed_url}?events=tracking", 10),
            node("aread", f"{relayed_url}?events=tracking", 20),
            node("read", f"{relayed_url}?events=pubsub", 30),
        ]
        for each in (*writers, *readers):
            each.ready()
        faults = Faults(own_redis, relay, rng)
        end = time.monotonic() + SECONDS
        for fault in faults.all:
            time.sleep(rng.uniform(0.05, 0.3))
            fault()
        while time.monotonic() < end:
            time.sleep(rng.uniform(0.05, 1.5))
            rng.choice(faults.all)()
        time.sleep(0.2)
        wrote = [each.stopped() for each in writers]
        time.sleep(MAX_STALE)
        seen = [each.stopped() for each in readers]
    print(json.dumps([wrote, seen]))  # noqa: T201  the figures, for who asks with -s
    assert [each["oldest"] for each in seen if each["oldest"] > MAX_STALE] == []
    assert max(each["oldest"] for each in seen) > MAX_STALE / 4, "the faults have been felt"
    assert [each["transport"] for each in seen] == ["tracking", "tracking", "pubsub"]
    assert all(each["lost"] >= 4 and each["count"] > 1000 for each in seen)
    assert all(each["acknowledged"] > 100 and each["went_back"] == 0 for each in wrote)
    now = [source.version(key) for key in range(KEYS)]
    assert [each["last"] for each in seen] == [now] * 3, "all have the same in the end"
