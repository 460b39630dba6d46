"""Measure a hit in the second level over one real Redis, beside a bare GET with the same codec."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.limiting_redis import start
from benchmarks.processes import Servers
from benchmarks.progress import say
from benchmarks.report import BenchmarkError, Goal

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.report import Report

GOALS = {"l2.hit.ratio_to_redis_get": Goal(most=1.15)}
ROUNDS, CALLS = 21, 1_000
QUICK_ROUNDS, QUICK_CALLS = 9, 200
VALUE = {"id": 7, "name": "A product", "price": 12.5, "tags": ["new", "blue"], "text": "x" * 200}


def measure(report: Report, *, quick: bool) -> None:
    """Let both take turns, and compare them inside each turn, in elapsed time."""
    try:
        import msgspec
        import redis
    except ImportError as error:
        report.absent["redis"] = str(error)
        return
    from escala.caching import Cache

    say("hits in the second level, over Redis")
    rounds, calls = (QUICK_ROUNDS, QUICK_CALLS) if quick else (ROUNDS, CALLS)
    decode = msgspec.msgpack.decode
    with Servers() as servers:
        url = start(servers)
        with redis.Redis.from_url(url) as client:
            client.set("plain", msgspec.msgpack.encode(VALUE))
            cache = Cache("bench", l1=None, l2=url, ttl="1h")
            cache.set("item:7", VALUE)

            def bare() -> Any:  # noqa: ANN401  a value
                return decode(client.get("plain"))

            def ours() -> Any:  # noqa: ANN401
                return cache.get("item:7")

            if not ours() == bare() == VALUE:
                raise BenchmarkError(f"the second level gave {ours()!r}")
            pairs = [_round(bare, ours, number, calls) for number in range(rounds + 1)][1:]
            if client.info("stats")["total_commands_processed"] < 2 * rounds * calls:
                raise BenchmarkError("the server was asked less often than was measured")
            cache.close()
    report.spread("l2.hit.ratio_to_redis_get", [mine / plain for plain, mine in pairs])
    report.spread("l2.hit.elapsed_us", [mine for _, mine in pairs])
    report.spread("peer.redis.get.elapsed_us", [plain for plain, _ in pairs])


def _round(
    bare: Callable[[], Any], ours: Callable[[], Any], number: int, calls: int
) -> tuple[float, float]:
    """Microseconds of a bare GET and of ours; who goes first alternates."""
    first, second = (bare, ours) if number % 2 else (ours, bare)
    took = {first: _elapsed(first, calls), second: _elapsed(second, calls)}
    return took[bare], took[ours]


def _elapsed(call: Callable[[], Any], calls: int) -> float:
    start_at = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start_at) / calls * 1e6
