"""Measure rate limiters over one real Redis: CPU time of both sides, bytes a key, throughput."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.calls import rotated
from benchmarks.limiting_peers import KEYS, OURS, OVER_REDIS, Peer, Take, admitted
from benchmarks.processes import Servers, free_ports
from benchmarks.progress import say
from benchmarks.report import BenchmarkError, Goal, Report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

GOALS = {
    "token_bucket.redis.client_cpu_to_limits": Goal(most=0.5),
    "token_bucket.redis.bytes_per_key": Goal(most=64),
}
ROUNDS, CALLS = 9, 2_000
QUICK_ROUNDS, QUICK_CALLS = 5, 300
CONCURRENCY = (1, 16, 128)
NEVER = 1_000_000_000
FEW, TRIES = 10, 15
PATIENCE = 10.0


@dataclass(frozen=True)
class Case:
    """One limiter at one concurrency: `run(n)` makes n decisions."""

    name: str
    run: Callable[[int], None]
    client_us: list[float] = field(default_factory=list)
    server_us: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)


def measure(report: Report, *, quick: bool) -> None:
    """Start a server of our own, and let all cases take turns on it."""
    try:
        import redis
    except ImportError as error:
        report.absent["redis"] = str(error)
        return
    say("over Redis")
    with Servers() as servers, asyncio.Runner() as loop:
        url = start(servers)
        with redis.Redis.from_url(url) as client:
            peers = [OURS, *(peer for peer in OVER_REDIS if _is_there(peer, url, report))]
            cases = _cases(peers, url, loop)
            _take_turns(cases, client, quick=quick)
            for case in cases:
                report.spread(f"{case.name}.client_cpu_us", case.client_us)
                report.spread(f"{case.name}.server_cpu_us", case.server_us)
                report.spread(f"{case.name}.ops_per_s", case.per_second)
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


def _cases(peers: list[Peer], url: str, loop: asyncio.Runner) -> list[Case]:
    cases = []
    for peer in peers:
        for colour in peer.colours:
            take = _made(peer, colour, url, NEVER, loop)
            if colour == "sync":
                cases.append(Case(_name(peer), functools.partial(_calls, take, peer)))
                continue
            for tasks in CONCURRENCY:
                run = functools.partial(_tasks, loop, take, tasks)
                cases.append(Case(f"{_name(peer)}.async_{tasks}", run))
    return cases


def _made(peer: Peer, colour: str, url: str, limit: int, loop: asyncio.Runner) -> Take:
    async def made() -> Take:
        return peer.make(colour, url, limit)

    return loop.run(made()) if colour == "async" else peer.make(colour, url, limit)


def _name(peer: Peer) -> str:
    if peer is OURS:
        return "token_bucket.redis"
    return ".".join(part for part in ("peer", peer.package, "redis", peer.policy) if part)


def _calls(take: Take, peer: Peer, count: int) -> None:
    for number in range(count):
        take(KEYS[number % len(KEYS)] if peer.many_keys else "key")


def _tasks(loop: asyncio.Runner, take: Callable[[str], Awaitable[Any]], tasks: int, n: int) -> None:
    async def one() -> None:
        for _ in range(n // tasks):
            await take("key")

    async def all_() -> None:
        await asyncio.gather(*(one() for _ in range(tasks)))

    loop.run(all_())


def _take_turns(cases: list[Case], client: Any, *, quick: bool) -> None:  # noqa: ANN401
    rounds, count = (QUICK_ROUNDS, QUICK_CALLS) if quick else (ROUNDS, CALLS)
    count -= count % max(CONCURRENCY)
    for case in cases:
        case.run(max(CONCURRENCY))  # opens the connections and loads the scripts
    for number in range(rounds):
        for case in rotated(cases, number):
            served, began, clock = _server_cpu(client), time.process_time(), time.perf_counter()
            case.run(count)
            took, spent = time.perf_counter() - clock, time.process_time() - began
            case.client_us.append(spent / count * 1e6)
            case.server_us.append((_server_cpu(client) - served) / count * 1e6)
            case.per_second.append(count / took)
        say(f"round {number + 1}/{rounds}")


def _server_cpu(client: Any) -> float:  # noqa: ANN401
    seen = client.info("cpu")
    return float(seen["used_cpu_sys"] + seen["used_cpu_user"])


def _compare(cases: list[Case], report: Report) -> None:
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
        take = _made(peer, "sync", url, FEW, loop)
        seen = admitted(peer, take, "sync", loop, TRIES)
        if seen != FEW:
            raise BenchmarkError(f"{_name(peer)} let {seen} of {TRIES} calls through, not {FEW}")
        sizes = [client.memory_usage(key, samples=0) for key in client.scan_iter()]
        report.metrics[f"{_name(peer)}.bytes_per_key"] = float(sum(sizes))
