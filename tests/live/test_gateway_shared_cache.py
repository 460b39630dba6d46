"""Two workers of a real gateway whose response caches have one second level, a real Redis."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.live.processes import Gateway, children, gateway, service, stack
from tests.servers.redis_server import RedisServer, own_redis

__all__ = ["own_redis"]

pytestmark = pytest.mark.live

PATIENCE = 10.0


class Reply(NamedTuple):
    status: int
    cache: str
    took: float


class Client:
    """A connection that is kept, and so one worker."""

    def __init__(self, port: int) -> None:
        self.link = http.client.HTTPConnection("127.0.0.1", port, timeout=15)

    def ask(self, target: str, method: str = "GET") -> Reply:
        began = time.monotonic()
        self.link.request(method, target)
        answer = self.link.getresponse()
        answer.read()
        took = time.monotonic() - began
        return Reply(answer.status, answer.headers.get("escala-cache", ""), took)


def until(done: Callable[[], Any], what: str) -> float:
    """Wait for it, not long; how long that was."""
    began = time.monotonic()
    while not done():
        assert time.monotonic() < began + PATIENCE, f"waited in vain for {what}"
        time.sleep(0.002)
    return time.monotonic() - began


class Place(NamedTuple):
    gateway: Gateway
    redis: RedisServer
    workers: list[Client]

    def figures(self) -> dict[str, float]:
        [route] = self.gateway.status()["routes"]
        return dict(route["cache"])

    def heard(self) -> bool:
        figures = self.figures()
        return figures["l2_deaf"] == figures["l2_away"] == 0


def one_client_for_each_worker(gate: Gateway, end: contextlib.ExitStack) -> list[Client]:
    """The kernel spreads connections: open some until both workers have one."""
    found: dict[int, Client] = {}
    for _ in range(100):
        client = Client(gate.port)
        end.callback(client.link.close)
        before = {each["pid"]: each["requests"] for each in gate.status()["workers"]}
        client.ask("/warm/name")
        for each in gate.status()["workers"]:
            if each["requests"] > before[each["pid"]] and each["pid"] not in found:
                found[each["pid"]] = client
        if len(found) == 2:
            return list(found.values())
    raise AssertionError("all connections came to one worker")


@pytest.fixture
def place(own_redis: RedisServer, tmp_path: Path) -> Iterator[Place]:
    with children() as started, contextlib.ExitStack() as end:
        port = service(started, "a")
        policies = [{"cache": {"size": "8MiB", "l2": own_redis.url}}]
        values = stack([port], policies, explain=True, workers=2)
        gate = gateway(started, tmp_path, values)
        clients = one_client_for_each_worker(gate, end)
        here = Place(gate, own_redis, clients)
        until(here.heard, "both workers to hear of changes")
        yield here


def test_what_one_worker_loads_and_changes_counts_for_the_other(place: Place) -> None:
    a, b = place.workers
    assert a.ask("/1/cached").cache == "miss"
    until(lambda: b.ask("/1/cached").cache == "hit", "the page that the other has loaded")
    [route] = place.gateway.status()["routes"]
    assert place.figures()["l2_hits"] >= 1
    assert route["policies"]["cache"] == route["cache"]
    forgot = []
    for number in range(2, 7):
        target = f"/{number}/cached"
        assert a.ask(target).cache == "miss"
        until(lambda target=target: b.ask(target).cache == "hit", "a hit")  # type: ignore[misc]
        assert b.ask(target).cache == "hit"
        assert a.ask(target, "PUT").cache == "bypass"
        began = time.monotonic()
        until(lambda target=target: b.ask(target).cache == "miss", "a miss")  # type: ignore[misc]
        forgot.append(time.monotonic() - began)
    assert sorted(forgot)[2] < 0.1, forgot


def test_while_redis_is_away_answers_go_on(place: Place) -> None:
    a, b = place.workers
    assert a.ask("/1/cached").cache == "miss"
    until(lambda: b.ask("/1/cached").cache == "hit", "a hit")
    place.redis.kill()
    end = time.monotonic() + 3.5
    taken = []
    while time.monotonic() < end:
        for client in (a, b):
            for target in ("/1/cached", "/2/cached", "/name"):
                reply = client.ask(target)
                assert reply.status == 200
                taken.append(reply.took)
        assert a.ask("/1/cached", "PUT").status == 200
    assert max(taken) < 2.0, "not much more than the store's time limit, on a busy machine"
    until(lambda: place.figures()["l2_deaf"] == 2, "both workers to notice")
    place.redis.start()
    numbers = itertools.count(100)

    def back() -> bool:
        for client in (a, b):
            client.ask(f"/{next(numbers)}/cached")  # it is a request that finds the store back
        return place.heard()

    until(back, "both workers to find it again")
    until(lambda: a.ask("/3/cached").cache == "hit", "a hit")
    until(lambda: b.ask("/3/cached").cache == "hit", "a hit")


def test_a_redis_that_says_nothing_slows_no_hit(place: Place) -> None:
    a, _ = place.workers
    a.ask("/1/cached")
    until(lambda: a.ask("/1/cached").cache == "hit", "a hit")
    place.redis.pause()
    with contextlib.ExitStack() as end:
        end.callback(place.redis.resume)
        hits = [a.ask("/1/cached") for _ in range(50)]
        assert {each.cache for each in hits} == {"hit"}
        assert sorted(each.took for each in hits)[45] < 0.03
        misses = [a.ask(f"/new/{number}/cached") for number in range(20)]
        assert {each.status for each in misses} == {200}
        assert sorted(each.took for each in misses)[10] < 0.03, "its breaker is open"


def test_a_stack_that_cannot_be_is_refused_before_it_starts(tmp_path: Path) -> None:
    path = tmp_path / "stack.yaml"
    path.write_text(json.dumps(stack([1], [{"cache": {"l2": "nosuch://host"}}])))
    command = [sys.executable, "-m", "escala", "check", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert "nosuch" in done.stdout + done.stderr
    assert "l2" in done.stdout + done.stderr
