"""The key of a statement or a row, as the map of shards takes it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    Dialect,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    Uuid,
    bindparam,
    select,
)

from escala.databases.sharding.shard_key import ShardKeys
from escala.errors import NoShardKey

ONE = UUID(int=1)


class Lower(TypeDecorator[str]):
    """Text that is kept in small letters."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value and value.lower()


class Plain(TypeDecorator[str]):
    impl = String
    cache_ok = True


def keyed(kind: Any) -> tuple[ShardKeys, Table]:
    return ShardKeys({"t": "k"}), Table("t", MetaData(), Column("k", kind, primary_key=True))


@pytest.mark.parametrize(
    ("kind", "given", "key"),
    [
        pytest.param(Text(), "a", "a", id="text"),
        pytest.param(BigInteger(), 7, 7, id="number"),
        pytest.param(Uuid(), ONE, ONE, id="uuid"),
        pytest.param(Uuid(as_uuid=False), str(ONE), ONE, id="uuid as text"),
        pytest.param(Date(), date(2026, 1, 2), date(2026, 1, 2), id="date"),
        pytest.param(Lower(), "ACME", "acme", id="decorated"),
        pytest.param(Plain(), "Acme", "Acme", id="decorated, unchanged"),
    ],
)
def test_a_key_is_what_the_server_gets(kind: Any, given: Any, key: Any) -> None:
    keys, table = keyed(kind)
    assert keys.where(select(table).where(table.c.k == given), None) == [key]
    assert keys.where(select(table).where(table.c.k.in_([given, given])), None) == [key, key]
    later = select(table).where(table.c.k == bindparam("later"))
    assert keys.where(later, {"later": given}) == [key]
    assert keys.row(table, {"k": given}, {}) == key
    assert keys.row(table, {table.c.k: given}, {}) == key
    assert keys.row(table, {"named": given}, {"k": "named"}) == key
    assert keys.given([table], given) == key
    assert keys.given([], given) == given


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        pytest.param(Text(), 7, id="a number for text"),
        pytest.param(BigInteger(), "7", id="text for a number"),
        pytest.param(BigInteger(), True, id="true for a number"),
        pytest.param(Uuid(), 7, id="a number for a uuid"),
        pytest.param(Date(), datetime(2026, 1, 2), id="a moment for a date"),  # noqa: DTZ001
        pytest.param(Plain(), 7, id="a number for decorated text"),
        pytest.param(Text(), None, id="nothing"),
    ],
)
def test_a_key_of_another_type_is_refused(kind: Any, given: Any) -> None:
    keys, table = keyed(kind)
    with pytest.raises(NoShardKey, match=r"ShardedSession: t\.k"):
        keys.row(table, {"k": given}, {})
    with pytest.raises(NoShardKey):
        keys.given([table], given)
