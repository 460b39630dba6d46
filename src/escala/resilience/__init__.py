"""Keep one failing or slow part from taking the rest with it: limits on time, calls and tries."""

from __future__ import annotations

from escala.resilience.adaptive_limit import AdaptiveLimit
from escala.resilience.adaptive_throttle import AdaptiveThrottle
from escala.resilience.bulkhead import Bulkhead
from escala.resilience.circuit_breaker import CircuitBreaker
from escala.resilience.deadline import Deadline
from escala.resilience.events import (
    BreakerChanged,
    BreakerStoreChanged,
    FellBack,
    FunctionFailed,
    Hedged,
    LimitChanged,
    Retried,
    RetryGaveUp,
    Shedding,
)
from escala.resilience.fallback import Fallback
from escala.resilience.hedge import Hedge
from escala.resilience.pure.backoff import GiveUp
from escala.resilience.pure.breaker_table import BreakerState
from escala.resilience.retry import Retry
from escala.resilience.retry_after_field import retry_after
from escala.resilience.retry_budget import RetryBudget
from escala.resilience.shed import Shed
from escala.resilience.standard_stack import Standard, standard
from escala.resilience.thread_bulkhead import ThreadBulkhead
from escala.resilience.timeout import Timeout

__all__ = [
    "AdaptiveLimit",
    "AdaptiveThrottle",
    "BreakerChanged",
    "BreakerState",
    "BreakerStoreChanged",
    "Bulkhead",
    "CircuitBreaker",
    "Deadline",
    "Fallback",
    "FellBack",
    "FunctionFailed",
    "GiveUp",
    "Hedge",
    "Hedged",
    "LimitChanged",
    "Retried",
    "Retry",
    "RetryBudget",
    "RetryGaveUp",
    "Shed",
    "Shedding",
    "Standard",
    "ThreadBulkhead",
    "Timeout",
    "retry_after",
    "standard",
]
