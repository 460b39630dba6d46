"""The same breaker from every package: opens after some failures, probes after a moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import aiobreaker
import circuitbreaker
import hyx.circuitbreaker
import interlock
import purgatory
import pybreaker
import pyresilience

from escala import CircuitBreaker

COOLDOWN = 0.15  # seconds
Wrap = Callable[[Any], Any]


def escala_(colour: str, failures: int) -> Wrap:
    return CircuitBreaker(minimum_calls=failures, failure_rate="100%", cooldown=COOLDOWN)


def aiobreaker_(colour: str, failures: int) -> Wrap:
    return aiobreaker.CircuitBreaker(failures, timeout_duration=timedelta(seconds=COOLDOWN))


def circuitbreaker_(colour: str, failures: int) -> Wrap:
    return circuitbreaker.CircuitBreaker(failures, COOLDOWN)


def hyx_(colour: str, failures: int) -> Wrap:
    return hyx.circuitbreaker.consecutive_breaker(
        failure_threshold=failures, recovery_time_secs=COOLDOWN, recovery_threshold=1
    )


def interlock_(colour: str, failures: int) -> Wrap:
    config = interlock.Config(
        minimum_number_of_calls=failures,
        permitted_calls_in_half_open=1,
        wait_duration_in_open=COOLDOWN,
    )
    return interlock.CircuitBreaker(name="peer", config=config)


def purgatory_(colour: str, failures: int) -> Wrap:
    factories: dict[str, Any] = {
        "sync": purgatory.SyncCircuitBreakerFactory,
        "async": purgatory.AsyncCircuitBreakerFactory,
    }
    wrap: Wrap = factories[colour](failures, COOLDOWN)("peer")
    return wrap


def pybreaker_(colour: str, failures: int) -> Wrap:
    return pybreaker.CircuitBreaker(failures, reset_timeout=COOLDOWN)


def pyresilience_(colour: str, failures: int) -> Wrap:
    config = pyresilience.CircuitBreakerConfig(
        failure_threshold=failures, recovery_timeout=COOLDOWN, success_threshold=1
    )
    return pyresilience.resilient(circuit_breaker=config)


BREAKERS: dict[str, Callable[[str, int], Wrap]] = {
    "escala": escala_,
    "aiobreaker": aiobreaker_,
    "circuitbreaker": circuitbreaker_,
    "hyx": hyx_,
    "interlock": interlock_,
    "purgatory": purgatory_,
    "pybreaker": pybreaker_,
    "pyresilience": pyresilience_,
}
