"""Keep one failing or slow part from taking the rest with it: limits on time, calls and tries."""

from __future__ import annotations

from escala.resilience.bulkhead import Bulkhead
from escala.resilience.circuit_breaker import CircuitBreaker
from escala.resilience.deadline import Deadline
from escala.resilience.events import BreakerChanged, Retried, RetryGaveUp
from escala.resilience.pure.backoff import GiveUp
from escala.resilience.pure.breaker import BreakerState
from escala.resilience.retry import Retry
from escala.resilience.retry_budget import RetryBudget
from escala.resilience.standard import Standard, standard
from escala.resilience.timeout import Timeout

__all__ = [
    "BreakerChanged",
    "BreakerState",
    "Bulkhead",
    "CircuitBreaker",
    "Deadline",
    "GiveUp",
    "Retried",
    "Retry",
    "RetryBudget",
    "RetryGaveUp",
    "Standard",
    "Timeout",
    "standard",
]
