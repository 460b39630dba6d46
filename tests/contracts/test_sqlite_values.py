"""The second level in an SQLite file keeps to the contract of every value store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.value_store_contract import Open, ValueStoreContract

from escala.caching.value_store import ValueStore, open_value_store

pytestmark = pytest.mark.live


class TestSqliteValues(ValueStoreContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/cache.db?bound=200ms"

    @pytest.fixture
    def opened(self, url: str) -> Open:
        return lambda writer: open_value_store(url, "c", writer)

    @pytest.fixture
    def elsewhere_opened(self, url: str) -> ValueStore:
        return open_value_store(url, "d", "b2")

    def forget(self, store: Any) -> None:
        with sqlite3.connect(store._link.path) as file:
            file.execute("UPDATE escala_value_lives SET boot = 'another'")
        file.close()

    def few_tags(self, store: Any, most: int) -> None:
        store._most_tags = most

    def spoil(self, store: Any, key: str, change: Callable[[bytes], bytes]) -> None:
        with sqlite3.connect(store._link.path) as file:
            name = key.encode()
            (blob,) = file.execute(
                "SELECT blob FROM escala_values WHERE key = ?", (name,)
            ).fetchone()
            file.execute("UPDATE escala_values SET blob = ? WHERE key = ?", (change(blob), name))
        file.close()
