"""The second level in memory keeps to the contract of every value store."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

import pytest
from tests.contracts.value_store_contract import Open, ValueStoreContract

from escala.caching.pure.blob import unpack
from escala.caching.pure.versions import Versions
from escala.caching.value_store import ValueStore, open_value_store

pytestmark = pytest.mark.live

_numbers = itertools.count()


class TestMemoryValues(ValueStoreContract):
    @pytest.fixture
    def url(self) -> str:
        return f"memory://test{next(_numbers)}"

    @pytest.fixture
    def opened(self, url: str) -> Open:
        return lambda writer: open_value_store(url, "c", writer)

    @pytest.fixture
    def elsewhere_opened(self, url: str) -> ValueStore:
        return open_value_store(url, "d", "b2")

    def forget(self, store: Any) -> None:
        store._table.epoch = os.urandom(8)

    def few_tags(self, store: Any, most: int) -> None:
        store._table._versions = Versions(limit=most)

    def spoil(self, store: Any, key: str, change: Callable[[bytes], bytes]) -> None:
        slot = store._table.slots[key]
        slot.blob = change(slot.blob)
        whole = unpack(key, slot.blob)
        slot.header = whole and whole[0]
