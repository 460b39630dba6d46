"""Four processes whose clocks differ by a minute share one limit, and it holds in every window."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers.redis_server import RedisServer, own_redis

__all__ = ["own_redis"]

pytestmark = pytest.mark.live

SKEWS = (-30.0, 30.0, 0.0, 12.5)
CHILD = str(Path(__file__).parent / "limited_process.py")


def admitted(url: str, limit: str, seconds: float, **options: Any) -> list[tuple[float, float]]:
    """When calls were admitted, each as the moments before and after it was asked."""
    begin = time.monotonic() + 1.5
    words = [url + "?timeout=2s", limit, json.dumps(options), str(begin), str(seconds)]
    children = [
        subprocess.Popen(
            [sys.executable, CHILD, str(skew), *words], stdout=subprocess.PIPE, text=True
        )
        for skew in SKEWS
    ]
    seen: list[tuple[float, float]] = []
    for child in children:
        out, _ = child.communicate(timeout=30)
        assert child.returncode == 0
        mine = json.loads(out)
        assert mine, "each of them gets something"
        seen += [(before, after) for before, after in mine]
    return seen


def certain(seen: list[tuple[float, float]], most: float) -> Iterator[tuple[int, float]]:
    """For each window of at most so many seconds: how many surely passed in it, and its length.

    A call that was asked for after the window began and answered before it ended was decided in
    it, whatever the clocks say.
    """
    answered = sorted(seen, key=lambda call: call[1])
    for begin, _ in seen:
        inside = 0
        for before, after in answered:
            if before >= begin and after - begin <= most:
                inside += 1
                yield inside, after - begin


def test_never_more_than_the_burst_and_what_the_rate_brings(own_redis: RedisServer) -> None:
    seen = admitted(own_redis.url, "200/s", 2.0, burst=20)
    for count, length in certain(seen, 10.0):
        assert count <= 20 + 200 * length + 0.001
    assert len(seen) >= 20 + 200 * 2.0 * 0.8, "and it lets through what it may"


def test_strict_never_more_than_the_count_in_a_period(own_redis: RedisServer) -> None:
    seen = admitted(own_redis.url, "50/500ms", 2.0, strict=True)
    assert max(count for count, _ in certain(seen, 0.5)) <= 50
    assert len(seen) >= 46 * 4 * 0.8


def test_the_checker_would_notice(own_redis: RedisServer) -> None:
    """With a burst of 40 the rule for 20 is broken."""
    seen = admitted(own_redis.url, "200/s", 0.5, burst=40)
    assert any(count > 20 + 200 * length for count, length in certain(seen, 10.0))
