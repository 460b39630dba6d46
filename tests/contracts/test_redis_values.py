"""The second level in a real Redis keeps to the contract of every value store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.contracts.value_store_contract import Open, ValueStoreContract
from tests.servers.redis_server import RedisServer, redis, shared_redis

from escala.caching.value_store import ValueStore, open_value_store

__all__ = ["redis", "shared_redis"]

pytestmark = pytest.mark.live


def told(server: RedisServer, *words: str | bytes) -> Any:
    """What the server answers, by a client that is not ours."""
    from redis import Redis

    with Redis.from_url(server.url) as client:
        return client.execute_command(*words)


class TestRedisValues(ValueStoreContract):
    @pytest.fixture(params=["tracking", "pubsub"])
    def url(self, redis: RedisServer, request: pytest.FixtureRequest) -> str:
        self.server = redis
        return f"{redis.url}?events={request.param}&timeout=2s"

    @pytest.fixture
    def opened(self, url: str) -> Open:
        return lambda writer: open_value_store(url, "c", writer)

    @pytest.fixture
    def elsewhere_opened(self, url: str) -> ValueStore:
        return open_value_store(url, "d", "b2")

    def forget(self, store: Any) -> None:
        told(self.server, "DEL", store._versions)

    def few_tags(self, store: Any, most: int) -> None:
        store._most_tags = most

    def spoil(self, store: Any, key: str, change: Callable[[bytes], bytes]) -> None:
        name = store._keys + key.encode()
        told(self.server, "HSET", name, "b", change(told(self.server, "HGET", name, "b")))
