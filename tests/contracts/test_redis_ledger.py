"""Limits in a real Redis keep to the contract of every ledger."""

from __future__ import annotations

import pytest
from tests.contracts.ledger_contract import LedgerContract, Open
from tests.servers.redis_server import RedisServer, redis, shared_redis

from escala.limiting.ledger import open_ledger

__all__ = ["redis", "shared_redis"]

pytestmark = pytest.mark.live


class TestRedisLedger(LedgerContract):
    @pytest.fixture
    def opened(self, redis: RedisServer) -> Open:
        return lambda plan: open_ledger(redis.url, plan)
