"""A Redis of our own, for the faults that show only there."""

from __future__ import annotations

import pytest
from tests.servers.redis_server import RedisServer, redis, shared_redis

__all__ = ["redis", "redis_url", "shared_redis"]


@pytest.fixture
def redis_url(redis: RedisServer) -> str:
    return redis.url
