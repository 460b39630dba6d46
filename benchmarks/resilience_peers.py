"""What others have written for the same policies, each set up for the same task as ours.

A maker returns a decorator that has one policy in it. Limits are the same as ours where the
peer has them: a breaker that opens after some failures, three tries without a pause, ten slots
that refuse the eleventh call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Wrap: TypeAlias = "Callable[[Any], Any]"
BOTH = ("sync", "async")
SLOTS = 10
LIMIT = 0.5  # seconds; nothing measured comes near, and a check has to sit it out


@dataclass(frozen=True)
class Peer:
    """One package's own form of one policy, in the colours it has."""

    package: str
    policy: str
    make: Callable[[str], Wrap]
    colours: tuple[str, ...] = BOTH


def aiobreaker_breaker(_colour: str) -> Wrap:
    from datetime import timedelta

    from aiobreaker import CircuitBreaker

    return CircuitBreaker(fail_max=5, timeout_duration=timedelta(seconds=30))


def circuitbreaker_breaker(_colour: str) -> Wrap:
    from circuitbreaker import CircuitBreaker

    return CircuitBreaker(failure_threshold=5, recovery_timeout=30)


def hyx_breaker(_colour: str) -> Wrap:
    from hyx.circuitbreaker import consecutive_breaker

    return consecutive_breaker(failure_threshold=5, recovery_time_secs=30)


def interlock_breaker(_colour: str) -> Wrap:
    from interlock import CircuitBreaker, Config

    return CircuitBreaker(name="bench", config=Config())


def purgatory_breaker(colour: str) -> Wrap:
    import purgatory

    factory: Any = {
        "sync": purgatory.SyncCircuitBreakerFactory,
        "async": purgatory.AsyncCircuitBreakerFactory,
    }[colour]
    return factory(default_threshold=5)("bench")


def pybreaker_breaker(_colour: str) -> Wrap:
    from pybreaker import CircuitBreaker

    return CircuitBreaker(fail_max=5, reset_timeout=30)


def pyresilience_breaker(_colour: str) -> Wrap:
    from pyresilience import CircuitBreakerConfig, resilient

    return resilient(circuit_breaker=CircuitBreakerConfig(failure_threshold=5))


def backoff_retry(_colour: str) -> Wrap:
    import backoff

    return backoff.on_exception(
        backoff.constant, ConnectionError, max_tries=3, interval=0, jitter=None
    )


def hyx_retry(_colour: str) -> Wrap:
    from hyx.retry import retry

    return retry(on=ConnectionError, attempts=3, backoff=0)


def interlock_retry(_colour: str) -> Wrap:
    import tenacity
    from interlock import Pipeline

    return Pipeline.builder().retry(attempts=3, wait=tenacity.wait_none()).build()


def pyresilience_retry(_colour: str) -> Wrap:
    from pyresilience import RetryConfig, resilient

    return resilient(retry=RetryConfig(max_attempts=3, delay=0, retry_on=(ConnectionError,)))


def stamina_retry(_colour: str) -> Wrap:
    import stamina

    return stamina.retry(on=ConnectionError, attempts=3, wait_initial=0, wait_max=0, wait_jitter=0)


def tenacity_retry(_colour: str) -> Wrap:
    import tenacity

    return tenacity.retry(
        stop=tenacity.stop_after_attempt(3),
        retry=tenacity.retry_if_exception_type(ConnectionError),
        reraise=True,
    )


def hyx_bulkhead(_colour: str) -> Wrap:
    from hyx.bulkhead import bulkhead

    return bulkhead(max_concurrency=SLOTS, max_capacity=SLOTS)


def interlock_bulkhead(_colour: str) -> Wrap:
    from interlock import Pipeline

    return Pipeline.builder().bulkhead(SLOTS).build()


def pyresilience_bulkhead(_colour: str) -> Wrap:
    from pyresilience import BulkheadConfig, resilient

    return resilient(bulkhead=BulkheadConfig(max_concurrent=SLOTS))


def interlock_timeout(_colour: str) -> Wrap:
    from interlock import Pipeline

    return Pipeline.builder().timeout(LIMIT).build()


def hyx_timeout(_colour: str) -> Wrap:
    from hyx.timeout import timeout

    return timeout(LIMIT)


def asyncio_timeout(_colour: str) -> Wrap:
    import asyncio

    def wrap(fn: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
        async def limited() -> object:
            async with asyncio.timeout(LIMIT):
                return await fn()

        return limited

    return wrap


def pyresilience_timeout(_colour: str) -> Wrap:
    from pyresilience import TimeoutConfig, resilient

    return resilient(timeout=TimeoutConfig(seconds=LIMIT))


def interlock_fallback(_colour: str) -> Wrap:
    from interlock import Pipeline

    return Pipeline.builder().fallback(_nothing, on=(ConnectionError,)).build()


def hyx_fallback(_colour: str) -> Wrap:
    from hyx.fallback import fallback

    async def handler(result: object, *_args: object, **_kwargs: object) -> None:
        """Answer in place of a call that failed."""

    return fallback(handler, on=ConnectionError)


def pyresilience_fallback(_colour: str) -> Wrap:
    from pyresilience import FallbackConfig, resilient

    config = FallbackConfig(handler=_nothing, fallback_on=(ConnectionError,))
    return resilient(fallback=config)


def _nothing(_error: object) -> None:
    """Answer in place of a call that failed."""


def pyresilience_untimed(_colour: str) -> Wrap:
    from pyresilience import BulkheadConfig, CircuitBreakerConfig, RetryConfig, resilient

    return resilient(
        retry=RetryConfig(max_attempts=3, delay=0, retry_on=(ConnectionError,)),
        circuit_breaker=CircuitBreakerConfig(failure_threshold=5),
        bulkhead=BulkheadConfig(max_concurrent=SLOTS),
    )


def pyresilience_standard(_colour: str) -> Wrap:
    from pyresilience import (
        BulkheadConfig,
        CircuitBreakerConfig,
        RetryConfig,
        TimeoutConfig,
        resilient,
    )

    return resilient(
        retry=RetryConfig(max_attempts=3, delay=0, retry_on=(ConnectionError,)),
        circuit_breaker=CircuitBreakerConfig(failure_threshold=5),
        bulkhead=BulkheadConfig(max_concurrent=SLOTS),
        timeout=TimeoutConfig(seconds=LIMIT),
    )


def interlock_untimed(_colour: str) -> Wrap:
    return _interlock_stack(timed=False)


def interlock_standard(_colour: str) -> Wrap:
    return _interlock_stack(timed=True)


def _interlock_stack(*, timed: bool) -> Wrap:
    import tenacity
    from interlock import CircuitBreaker, Config, Pipeline

    builder = (
        Pipeline.builder()
        .retry(
            attempts=3,
            retry=tenacity.retry_if_exception_type(ConnectionError),
            wait=tenacity.wait_none(),
        )
        .circuit_breaker(CircuitBreaker(name="bench", config=Config()))
        .bulkhead(SLOTS)
    )
    return (builder.timeout(LIMIT) if timed else builder).build()


ASYNC = ("async",)

# `asyncio` stands beside the others: what the standard library alone costs.
PEERS = [
    Peer("aiobreaker", "breaker", aiobreaker_breaker),
    Peer("circuitbreaker", "breaker", circuitbreaker_breaker),
    Peer("hyx", "breaker", hyx_breaker, ASYNC),
    Peer("interlock", "breaker", interlock_breaker),
    Peer("purgatory", "breaker", purgatory_breaker),
    Peer("pybreaker", "breaker", pybreaker_breaker, ("sync",)),
    Peer("pyresilience", "breaker", pyresilience_breaker),
    Peer("backoff", "retry", backoff_retry),
    Peer("hyx", "retry", hyx_retry, ASYNC),
    Peer("interlock", "retry", interlock_retry),
    Peer("pyresilience", "retry", pyresilience_retry),
    Peer("stamina", "retry", stamina_retry),
    Peer("tenacity", "retry", tenacity_retry),
    Peer("hyx", "bulkhead", hyx_bulkhead, ASYNC),
    Peer("interlock", "bulkhead", interlock_bulkhead),
    Peer("pyresilience", "bulkhead", pyresilience_bulkhead),
    Peer("asyncio", "timeout", asyncio_timeout, ASYNC),
    Peer("hyx", "timeout", hyx_timeout, ASYNC),
    Peer("interlock", "timeout", interlock_timeout),
    Peer("pyresilience", "timeout", pyresilience_timeout),
    Peer("hyx", "fallback", hyx_fallback, ASYNC),
    Peer("interlock", "fallback", interlock_fallback),
    Peer("pyresilience", "fallback", pyresilience_fallback),
    Peer("interlock", "standard", interlock_standard),
    Peer("pyresilience", "standard", pyresilience_standard),
    Peer("interlock", "standard.untimed", interlock_untimed),
    Peer("pyresilience", "standard.untimed", pyresilience_untimed),
]
