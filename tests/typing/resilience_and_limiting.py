"""What type checkers see of the policies; `mypy` reads this file, nothing runs it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import assert_type

from escala.errors import CircuitOpen
from escala.kernel.events import subscribe
from escala.kernel.stack import Stack
from escala.limiting import Decision, TokenBucket
from escala.resilience import (
    BreakerChanged,
    BreakerState,
    Bulkhead,
    CircuitBreaker,
    Deadline,
    Fallback,
    Hedge,
    Retried,
    Retry,
    RetryBudget,
    Timeout,
    retry_after,
)
from escala.testing import Trial, cancel_everywhere

budget = RetryBudget(0.1, floor=1, window="1m")
retry = Retry(
    5,
    base="250ms",
    cap=10,
    budget=budget,
    on=ConnectionError,
    judge=lambda response: bool(response.status >= 500),
    hint=lambda failure: None,
    discard=lambda response: None,
    rng=random.Random(1),
)
hedge = Hedge("p95", most=3, budget=budget)
fallback = Fallback(last_good="5m", key=lambda request: request and request.tenant, value=0)
Retry(backoff=lambda attempt: attempt**2, jitter="none", on=lambda error: bool(error.args))
breaker = CircuitBreaker(failure_rate="25%", on=(OSError, ValueError))
guard = Stack(Deadline("3s"), retry, breaker, Bulkhead(10, queue=5, wait=1.5), Timeout(0.5))


@retry
def price(item: str, *, times: int = 1) -> int:
    return len(item) * times


@guard
async def stock(item: str) -> list[str]:
    return [item]


class Shop:
    @guard
    def total(self, items: list[str]) -> float:
        return float(len(items))


assert_type(price("tea", times=2), int)
assert_type(Shop().total([]), float)
assert_type(retry.call(price, "tea"), int)
assert_type(breaker.state, BreakerState)
assert_type(hedge.call(price, "tea"), int)
assert_type(fallback.call(price, "tea"), int)
assert_type(hedge.after, float | None)
assert_type(retry_after(b"120"), float | None)
breaker.switch("shadow")
breaker.switch("on")  # type: ignore[arg-type]
CircuitBreaker(on=lambda error: bool(error.args), key=lambda request: request and request.tenant)
CircuitBreaker(on="OSError")  # type: ignore[arg-type]
assert_type(CircuitOpen("shop", "open", 1.0).retry_after, float | None)

price(3)  # type: ignore[arg-type]
price("tea", time=2)  # type: ignore[call-arg]
retry.call(price, "tea", 5)  # type: ignore[call-arg]
Retry(on="ConnectionError")  # type: ignore[arg-type]
Retry(jitter="some")  # type: ignore[arg-type]
Hedge(most="2")  # type: ignore[arg-type]
Fallback(0)  # type: ignore[call-arg]
Retry(3, "100ms")  # type: ignore[call-arg]
CircuitBreaker("50%")  # type: ignore[call-arg]
TokenBucket()  # type: ignore[call-arg]


async def uses() -> None:
    assert_type(await stock("tea"), list[str])
    assert_type(await guard.acall(stock, "tea"), list[str])
    async with Bulkhead(3) as bulkhead:
        assert_type(bulkhead.free, int)
    limiter = TokenBucket("10/s", burst=5, key=lambda request: request and request.tenant)
    assert_type(limiter.acquire("ann", 2), Decision)
    decision = await limiter.aacquire("ann", wait="1s")
    assert_type(decision.retry_after, float)
    assert_type(bool(decision), bool)


def listen(changed: BreakerChanged) -> None:
    assert_type((changed.before, changed.reason), tuple[BreakerState, str])


assert_type(subscribe(BreakerChanged, listen), Callable[[], None])
subscribe(Retried, listen)  # type: ignore[arg-type]


async def coroutine() -> int:
    return 1


async def scenario(trial: Trial) -> None:
    assert_type(trial.victim(coroutine()), asyncio.Task[int])


assert_type(cancel_everywhere(scenario), int)
