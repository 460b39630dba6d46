"""Scalability patterns as production Python: a library, a gateway, a virtual clock for tests.

Names are imported when they are first used, so that `import escala` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from escala import errors as errors
    from escala.balancing import HealthCheck, LeastConnections, RoundRobin, Upstream
    from escala.caching import (
        L1,
        Answer,
        Cache,
        Codec,
        HttpOrigin,
        Lifetime,
        Loaded,
        Write,
        WriteBehind,
        codec_of,
    )
    from escala.hashing import HashRing, Maglev, Rendezvous, SlotMap, jump_hash
    from escala.kernel.context import Request
    from escala.kernel.policy import Policy
    from escala.kernel.runtime import time_left
    from escala.kernel.stack import Stack
    from escala.limiting import (
        FixedWindow,
        LeakyBucket,
        RateLimiter,
        SlidingWindowCounter,
        SlidingWindowLog,
        TokenBucket,
    )
    from escala.resilience import (
        AdaptiveLimit,
        AdaptiveThrottle,
        Bulkhead,
        CircuitBreaker,
        Deadline,
        Fallback,
        Hedge,
        Retry,
        RetryBudget,
        Shed,
        ThreadBulkhead,
        Timeout,
        standard,
    )

_HOMES = {
    "AdaptiveLimit": "escala.resilience",
    "AdaptiveThrottle": "escala.resilience",
    "Answer": "escala.caching",
    "Bulkhead": "escala.resilience",
    "Cache": "escala.caching",
    "CircuitBreaker": "escala.resilience",
    "Codec": "escala.caching",
    "Deadline": "escala.resilience",
    "Fallback": "escala.resilience",
    "FixedWindow": "escala.limiting",
    "HashRing": "escala.hashing",
    "HealthCheck": "escala.balancing",
    "Hedge": "escala.resilience",
    "HttpOrigin": "escala.caching",
    "L1": "escala.caching",
    "LeakyBucket": "escala.limiting",
    "LeastConnections": "escala.balancing",
    "Lifetime": "escala.caching",
    "Loaded": "escala.caching",
    "Maglev": "escala.hashing",
    "Policy": "escala.kernel.policy",
    "RateLimiter": "escala.limiting",
    "Rendezvous": "escala.hashing",
    "Request": "escala.kernel.context",
    "Retry": "escala.resilience",
    "RetryBudget": "escala.resilience",
    "RoundRobin": "escala.balancing",
    "Shed": "escala.resilience",
    "SlidingWindowCounter": "escala.limiting",
    "SlidingWindowLog": "escala.limiting",
    "SlotMap": "escala.hashing",
    "Stack": "escala.kernel.stack",
    "ThreadBulkhead": "escala.resilience",
    "Timeout": "escala.resilience",
    "TokenBucket": "escala.limiting",
    "Upstream": "escala.balancing",
    "Write": "escala.caching",
    "WriteBehind": "escala.caching",
    "codec_of": "escala.caching",
    "jump_hash": "escala.hashing",
    "standard": "escala.resilience",
    "time_left": "escala.kernel.runtime",
}

__all__ = [
    "L1",
    "AdaptiveLimit",
    "AdaptiveThrottle",
    "Answer",
    "Bulkhead",
    "Cache",
    "CircuitBreaker",
    "Codec",
    "Deadline",
    "Fallback",
    "FixedWindow",
    "HashRing",
    "HealthCheck",
    "Hedge",
    "HttpOrigin",
    "LeakyBucket",
    "LeastConnections",
    "Lifetime",
    "Loaded",
    "Maglev",
    "Policy",
    "RateLimiter",
    "Rendezvous",
    "Request",
    "Retry",
    "RetryBudget",
    "RoundRobin",
    "Shed",
    "SlidingWindowCounter",
    "SlidingWindowLog",
    "SlotMap",
    "Stack",
    "ThreadBulkhead",
    "Timeout",
    "TokenBucket",
    "Upstream",
    "Write",
    "WriteBehind",
    "__version__",
    "codec_of",
    "jump_hash",
    "standard",
    "time_left",
]


def __getattr__(name: str) -> object:
    if name == "errors":
        return import_module("escala.errors")
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'escala' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
