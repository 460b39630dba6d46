"""Scalability patterns as production Python: a library, a gateway, a virtual clock for tests.

Names are imported when they are first used, so that `import escala` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from escala import errors as errors
    from escala.balancing import (
        ConsistentHash,
        HealthCheck,
        LeastConnections,
        OutlierDetection,
        PeakEwma,
        PowerOfTwoChoices,
        RoundRobin,
        Upstream,
        WeightedRoundRobin,
    )
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
    from escala.databases import (
        Database,
        Lag,
        Reshard,
        ShardedDatabase,
        ShardMap,
        Snowflake,
        scatter,
        uuid7,
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
    "ConsistentHash": "escala.balancing",
    "Database": "escala.databases",
    "Deadline": "escala.resilience",
    "Fallback": "escala.resilience",
    "FixedWindow": "escala.limiting",
    "HashRing": "escala.hashing",
    "HealthCheck": "escala.balancing",
    "Hedge": "escala.resilience",
    "HttpOrigin": "escala.caching",
    "L1": "escala.caching",
    "Lag": "escala.databases",
    "LeakyBucket": "escala.limiting",
    "LeastConnections": "escala.balancing",
    "Lifetime": "escala.caching",
    "Loaded": "escala.caching",
    "Maglev": "escala.hashing",
    "OutlierDetection": "escala.balancing",
    "PeakEwma": "escala.balancing",
    "Policy": "escala.kernel.policy",
    "PowerOfTwoChoices": "escala.balancing",
    "RateLimiter": "escala.limiting",
    "Rendezvous": "escala.hashing",
    "Request": "escala.kernel.context",
    "Reshard": "escala.databases",
    "Retry": "escala.resilience",
    "RetryBudget": "escala.resilience",
    "RoundRobin": "escala.balancing",
    "ShardMap": "escala.databases",
    "ShardedDatabase": "escala.databases",
    "Shed": "escala.resilience",
    "SlidingWindowCounter": "escala.limiting",
    "SlidingWindowLog": "escala.limiting",
    "SlotMap": "escala.hashing",
    "Snowflake": "escala.databases",
    "Stack": "escala.kernel.stack",
    "ThreadBulkhead": "escala.resilience",
    "Timeout": "escala.resilience",
    "TokenBucket": "escala.limiting",
    "Upstream": "escala.balancing",
    "WeightedRoundRobin": "escala.balancing",
    "Write": "escala.caching",
    "WriteBehind": "escala.caching",
    "codec_of": "escala.caching",
    "jump_hash": "escala.hashing",
    "scatter": "escala.databases",
    "standard": "escala.resilience",
    "time_left": "escala.kernel.runtime",
    "uuid7": "escala.databases",
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
    "ConsistentHash",
    "Database",
    "Deadline",
    "Fallback",
    "FixedWindow",
    "HashRing",
    "HealthCheck",
    "Hedge",
    "HttpOrigin",
    "Lag",
    "LeakyBucket",
    "LeastConnections",
    "Lifetime",
    "Loaded",
    "Maglev",
    "OutlierDetection",
    "PeakEwma",
    "Policy",
    "PowerOfTwoChoices",
    "RateLimiter",
    "Rendezvous",
    "Request",
    "Reshard",
    "Retry",
    "RetryBudget",
    "RoundRobin",
    "ShardMap",
    "ShardedDatabase",
    "Shed",
    "SlidingWindowCounter",
    "SlidingWindowLog",
    "SlotMap",
    "Snowflake",
    "Stack",
    "ThreadBulkhead",
    "Timeout",
    "TokenBucket",
    "Upstream",
    "WeightedRoundRobin",
    "Write",
    "WriteBehind",
    "__version__",
    "codec_of",
    "jump_hash",
    "scatter",
    "standard",
    "time_left",
    "uuid7",
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
