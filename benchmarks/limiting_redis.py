"""Measure rate limiters over one real Redis: CPU time of both sides, bytes a key, throughput."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks.limiting_peers import OURS, OVER_REDIS, Peer, admitted
from benchmarks.limiting_stores import (
    FEW,
    NEVER,
    TRIES,
    Case,
    cases_of,
    made,
    name_of,
    take_turns,
    tell,
)
from benchmarks.processes import Servers, free_ports
from benchmarks.progress import say
from benchmarks.report import BenchmarkError, Goal, Report

if TYPE_CHECKING:
    from collections.abc import Sequence

GOALS = {
    "token_bucket.redis.client_cpu_to_limits": Goal(most=0.5),
    "token_bucket.redis.bytes_per_key": Goal(most=64),
}
PATIENCE = 10.0
MANY = 10_000
PING = b"*1\r\n$4\r\nPING\r\n"


def measure(report: Report, *, quick: bool) -> None:
    """Start a server of our own, and let all cases take turns on it."""
    try:
        import redis
    except ImportError as error:
        report.absent["redis"] = str(error)
        return
    say("over Redis")
    with Servers() as servers, asyncio.Runner() as loop, contextlib.ExitStack() as stack:
        url = start(servers)
        with redis.Redis.from_url(url) as client:
            peers = [OURS, *(peer for peer in OVER_REDIS if _is_there(peer, url, report))]
            cases = [case for peer in peers for case in cases_of(peer, "redis", url, loop)]
            cases.append(_many_keys(url))
            cases.append(_bare(url, stack))
            take_turns(cases, lambda: _server_cpu(client), quick=quick)
            tell(cases, report)
            _compare(cases, report)
            _bytes(peers, url, client, loop, report)


def start(servers: Servers) -> str:
    """Start Redis on loopback, in a folder that goes away, writing nothing to disk; its URL."""
    import redis

    (port,) = free_ports(1)
    words = f"redis-server --port {port} --bind 127.0.0.1 --appendonly no --save".split()
    server = servers.start("redis", [*words, ""])
    url = f"redis://127.0.0.1:{port}/0"
    until = time.monotonic() + PATIENCE
    with redis.Redis.from_url(url) as client:
        while time.monotonic() < until and server.process.poll() is None:
            with contextlib.suppress(redis.ConnectionError):
                client.ping()
                return url
            time.sleep(0.02)
    raise BenchmarkError(f"redis-server did not start: {server.tail()}")


def _is_there(peer: Peer, url: str, report: Report) -> bool:
    try:
        peer.make("sync", url, NEVER)
    except ImportError as error:
        report.absent[peer.package] = str(error)
        return False
    return True


def _many_keys(url: str) -> Case:
    """Our limiter, asked for so many keys in turn that none is asked for again soon."""
    take, following = OURS.make("sync", url, NEVER), itertools.cycle(range(MANY)).__next__

    def run(count: int) -> None:
        for _ in range(count):
            take(f"client-{following()}")

    return Case("token_bucket.redis.many_keys", run)


def _bare(url: str, stack: contextlib.ExitStack) -> Case:
    """What sending and receiving cost, whatever is sent."""
    place = urlsplit(url)
    link = stack.enter_context(socket.create_connection((place.hostname, place.port)))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(count: int) -> None:
        for _ in range(count):
            link.sendall(PING)
            link.recv(64)

    return Case("socket.redis", run)


def _server_cpu(client: Any) -> float:  # noqa: ANN401  redis has its own types
    seen = client.info("cpu")
    return float(seen["used_cpu_sys"] + seen["used_cpu_user"])


def _compare(cases: Sequence[Case], report: Report) -> None:
    by_name = {case.name: case.client_us for case in cases}
    if "peer.limits.redis" not in by_name:
        return
    pairs = zip(by_name["token_bucket.redis"], by_name["peer.limits.redis"], strict=True)
    ratios = [ours / theirs for ours, theirs in pairs]
    report.spread("token_bucket.redis.client_cpu_to_limits", ratios)


def _bytes(
    peers: list[Peer],
    url: str,
    client: Any,  # noqa: ANN401  redis has its own types
    loop: asyncio.Runner,
    report: Report,
) -> None:
    """Count what the server keeps for a key, its name included, and that the limit held."""
    for peer in peers:
        client.flushall()
        take = made(peer, "sync", url, FEW, loop)
        seen = admitted(peer, take, "sync", loop, TRIES)
        if seen != FEW:
            raise BenchmarkError(
                f"{name_of(peer, 'redis')} let {seen} of {TRIES} calls through, not {FEW}"
            )
        sizes = [client.memory_usage(key, samples=0) for key in client.scan_iter()]
        report.metrics[f"{name_of(peer, 'redis')}.bytes_per_key"] = float(sum(sizes))
