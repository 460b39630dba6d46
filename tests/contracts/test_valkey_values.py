"""The second level in a real Valkey keeps to the contract of every value store."""

from __future__ import annotations

import pytest
from tests.contracts import test_redis_values as on_redis
from tests.servers.redis_server import RedisServer, shared_valkey

__all__ = ["shared_valkey"]

pytestmark = pytest.mark.live


class TestValkeyValues(on_redis.TestRedisValues):
    @pytest.fixture
    def url(self, shared_valkey: RedisServer) -> str:
        self.server = shared_valkey
        shared_valkey.ask("FLUSHALL")
        return f"{shared_valkey.url.replace('redis', 'valkey')}?events=tracking&timeout=10s"

    test_sixty_four_megabytes_pass = None  # type: ignore[assignment]  # Redis has shown it
