"""The slot that a router computes is the slot that a real PostgreSQL computes."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine
from tests.servers.postgres_server import PostgresServer, postgres_server

from escala.databases import Rows, ShardMap, TwoPhase
from escala.databases.pure.postgres_hash import hash_bytes, hash_int8
from escala.errors import ConfigError

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("postgres_slots")]

SIGNED = 2**64
SHARDS = ShardMap.slots(["s0", "s1"], key="k", slots=16)
PRINTABLE = "".join(map(chr, range(32, 127))) + "äöüß€漢字😀"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def link(server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(server.url, autocommit=True) as link:
        yield link


def texts(count: int) -> list[str]:
    draw = random.Random(7)
    lengths = [*range(64), *(draw.randrange(64, 3000) for _ in range(20))]
    every = ["".join(draw.choices(PRINTABLE, k=length)) for length in lengths for _ in range(3)]
    return every + ["".join(draw.choices(PRINTABLE, k=draw.randrange(40))) for _ in range(count)]


def numbers(count: int) -> list[int]:
    draw = random.Random(7)
    edges = [0, 1, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32, 2**63 - 1, -(2**63)]
    wide = [draw.randrange(-(2**63), 2**63) for _ in range(count)]
    return edges + wide + [draw.randrange(-(2**31), 2**31) for _ in range(count)]


def uuids(count: int) -> list[uuid.UUID]:
    draw = random.Random(7)
    return [uuid.UUID(int=draw.randrange(2**128)) for _ in range(count)]


@pytest.mark.parametrize(
    ("function", "type_", "keys", "ours"),
    [
        ("hashtextextended", "text", texts(4000), lambda key: hash_bytes(key.encode())),
        ("hashint8extended", "bigint", numbers(3000), hash_int8),
        ("uuid_hash_extended", "uuid", uuids(3000), lambda key: hash_bytes(key.bytes)),
    ],
    ids=["text", "int8", "uuid"],
)
def test_the_hashes_are_the_servers(
    link: psycopg.Connection[Any], function: str, type_: str, keys: Any, ours: Any
) -> None:
    asked = f"SELECT array_agg({function}(k, 0) ORDER BY n) FROM unnest(%s::{type_}[])"  # noqa: S608
    found = link.execute(asked + " WITH ORDINALITY AS t(k, n)", (keys,)).fetchone()
    assert found is not None
    assert [each % SIGNED for each in found[0]] == [ours(key) for key in keys]


TYPES = {
    "text": ("text", texts(300)),
    "varchar": ("varchar(4000)", texts(300)),
    "integer": ("integer", [key for key in numbers(300) if -(2**31) <= key < 2**31]),
    "smallint": ("smallint", list(range(-300, 300))),
    "bigint": ("bigint", numbers(300)),
    "uuid": ("uuid", uuids(300)),
}


@pytest.mark.parametrize("name", TYPES, ids=str)
def test_the_server_tells_the_slot_and_the_rows(link: psycopg.Connection[Any], name: str) -> None:
    type_, given = TYPES[name]
    keys: list[Any] = [*dict.fromkeys(given)]  # type: ignore[call-overload]
    link.execute("DROP TABLE IF EXISTS t")
    link.execute(f"CREATE TABLE t (k {type_})")
    link.execute(f"INSERT INTO t SELECT * FROM unnest(%s::{type_}[])", (keys,))  # noqa: S608
    slots = dict(link.execute(f"SELECT k, {SHARDS.slot_sql('k', type_)} FROM t").fetchall())  # noqa: S608
    assert slots == {key: SHARDS.slot(key) for key in keys}
    assert len(set(slots.values())) == 16

    within = [key for key in keys if SHARDS.slot(key) in {1, 2, 5}]
    without = [key for key in keys if SHARDS.slot(key) not in {1, 2, 5}]
    rows = Rows(((1, 2), (5, 5)), tuple(without[:2]), tuple(within[:3]))
    condition = SHARDS.rows_sql(rows, "k", type_)
    found = {key for (key,) in link.execute(f"SELECT k FROM t WHERE {condition}").fetchall()}  # noqa: S608
    assert found == {*within[3:], *without[:2]}
    # A publication takes it as its filter: so logical replication can move exactly these rows.
    link.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    link.execute("DROP PUBLICATION IF EXISTS moving_rows")
    publish = f"CREATE PUBLICATION moving_rows FOR TABLE t WHERE {condition}"
    if name == "varchar":  # the one type that has to be altered to text before its rows move
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            link.execute(publish)
    else:
        link.execute(publish)


def test_no_row_is_in_no_slots(link: psycopg.Connection[Any]) -> None:
    assert link.execute(f"SELECT {SHARDS.rows_sql(Rows(), 'k', 'text')}").fetchone() == (False,)


def test_a_server_without_prepared_transactions_is_refused(server: PostgresServer) -> None:
    engine = create_engine(server.url.replace("postgresql://", "postgresql+psycopg://"))
    with (
        engine.connect() as connection,
        pytest.raises(ConfigError, match="'s9' has max_prepared_transactions = 0"),
    ):
        TwoPhase().check({"s9": connection})
    engine.dispose()
