"""Processes on one Redis whose callers want the same at once: one loads, also if it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.servers.redis_server import RedisServer, redis, shared_redis

__all__ = ["redis", "shared_redis"]

pytestmark = pytest.mark.live

NODE = str(Path(__file__).parent / "loading_node.py")
COLOURS = ("sync", "async", "sync", "async")
AN_HOUR = 3600.0


class Nodes:
    """Processes of `loading_node.py`."""

    def __init__(self, url: str, log: Path, takes: float, callers: int, **options: Any) -> None:
        self._log = log
        log.touch()
        self._words = [f"{url}?timeout=2s", str(log), json.dumps(options)]
        self._rest = [str(takes), str(callers)]
        self.all: list[subprocess.Popen[str]] = []

    def start(self, colour: str, skew: float = 0.0) -> None:
        words, pipe = [colour, *self._words, *self._rest, str(skew)], subprocess.PIPE
        node = subprocess.Popen([sys.executable, NODE, *words], stdin=pipe, stdout=pipe, text=True)
        self.all.append(node)

    def go(self, *seconds: float) -> None:
        """Each begins after so many seconds, from when all are ready."""
        for node in self.all:
            assert node.stdout is not None
            assert node.stdout.readline() == "ready\n"
        now = time.monotonic() + 0.1
        for node, late in zip(self.all, seconds, strict=True):
            assert node.stdin is not None
            node.stdin.write(f"{now + late}\n")
            node.stdin.flush()

    def loads(self) -> list[tuple[int, float]]:
        """Which process began one, and when."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def got(self) -> list[list[tuple[int, float]]]:
        """What each process that ended by itself has got, as value and age."""
        outs = [node.communicate(timeout=30)[0] for node in self.all]
        ended = [out for node, out in zip(self.all, outs, strict=True) if node.returncode == 0]
        return [json.loads(out) for out in ended]


def four(nodes: Nodes) -> None:
    for colour in COLOURS:
        nodes.start(colour)
    nodes.go(0, 0, 0, 0)


def test_two_hundred_callers_of_four_processes_cause_one_load(
    redis: RedisServer, tmp_path: Path
) -> None:
    nodes = Nodes(redis.url, tmp_path / "log", takes=0.3, callers=50)
    four(nodes)
    got = nodes.got()
    [(loaded, _)] = nodes.loads()
    assert [value for each in got for value, _ in each] == [loaded] * 200


def test_when_the_leader_is_killed_another_loads_within_the_lease(
    redis: RedisServer, tmp_path: Path
) -> None:
    nodes = Nodes(redis.url, tmp_path / "log", takes=0.4, callers=50, hard_timeout="500ms")
    four(nodes)
    until = time.monotonic() + 10
    while not nodes.loads():
        assert time.monotonic() < until
        time.sleep(0.01)
    time.sleep(0.2)
    [(leader, began)] = nodes.loads()
    os.kill(leader, signal.SIGKILL)
    got = nodes.got()
    _, (second, again) = nodes.loads()
    assert second != leader
    assert again - began <= 1.5 + 0.3, "the hard timeout, a second, and a look now and then"
    assert [value for each in got for value, _ in each] == [second] * 150


def test_clocks_an_hour_apart_agree(redis: RedisServer, tmp_path: Path) -> None:
    """On how old a value is, and when it ends: time is the server's."""
    nodes = Nodes(redis.url, tmp_path / "log", takes=0.01, callers=1, ttl="1s±0%")
    for skew in (AN_HOUR, 0.0, -AN_HOUR / 2, 0.0):
        nodes.start("sync", skew)
    nodes.go(0.0, 0.4, 0.7, 1.2)
    [first], [second], [third], [fourth] = nodes.got()
    (one, _), (two, _) = nodes.loads()
    assert [first[0], second[0], third[0], fourth[0]] == [one, one, one, two]
    assert 0.3 < second[1] < 0.6
    assert 0.6 < third[1] < 0.95
    assert fourth[1] < 0.2
