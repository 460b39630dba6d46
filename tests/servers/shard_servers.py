"""Shards on servers of their own, between which slots can move, with a table of orders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from sqlalchemy import create_engine
from tests.servers.postgres_server import PostgresServer, postgres_folder

from escala.databases.sharding.shard_map import ShardMap
from escala.databases.sharding.shard_server import install

SETTINGS: dict[str, str | int] = {
    "wal_level": "logical",
    "max_wal_senders": 12,
    "max_replication_slots": 12,
    "max_worker_processes": 12,
    "max_logical_replication_workers": 8,
    "max_prepared_transactions": 10,
    "wal_retrieve_retry_interval": "100ms",  # workers are started no more often than that
}
TABLE = """
CREATE TABLE public.orders (
  id bigint PRIMARY KEY, tenant_id text NOT NULL, amount integer NOT NULL,
  note text NOT NULL DEFAULT 'a note of some length, as orders have them'
)
"""
# What a move makes for itself, and what has to be gone after it.
_MADE = {
    "slots": "SELECT slot_name FROM pg_replication_slots",
    "publications": "SELECT pubname FROM pg_publication",
    "subscriptions": "SELECT subname FROM pg_subscription",
    "origins": "SELECT roname FROM pg_replication_origin",
    "barriers": "SELECT 1 WHERE to_regclass('escala.barrier') IS NOT NULL",
    "jobs": "SELECT 1 FROM escala.move",
    "throttles": "SELECT throttle FROM escala.shard WHERE throttle > 0",
    "identities": "SELECT relname FROM pg_class WHERE relname = 'orders' AND relreplident <> 'd'",
    "locks": "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
    "WHERE l.locktype = 'advisory' AND a.application_name = 'escala reshard'",
}


@contextlib.contextmanager
def shard_servers(
    *names: str, settings: Mapping[str, str | int] | None = None
) -> Iterator[dict[str, PostgresServer]]:
    """A running server for each name."""
    with contextlib.ExitStack() as stack:
        servers = {}
        for name in names:
            folder = stack.enter_context(postgres_folder())
            servers[name] = PostgresServer(folder, {**SETTINGS, **(settings or {})})
            stack.callback(servers[name].stop)
            servers[name].launch()
        for server in servers.values():
            server.wait()
        yield servers


def make_shards(urls: Mapping[str, str], shard_map: ShardMap, *, tenants: int, rows: int) -> None:
    """The table and the map on each shard, and each tenant's orders where the map says."""
    for name, url in urls.items():
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(TABLE.encode())
            there = [t for t in range(tenants) if shard_map.shard(f"t{t}") == name]
            connection.execute(
                "INSERT INTO orders (id, tenant_id, amount) SELECT i, 't' || (i %% %s), 0 "
                "FROM generate_series(1, %s) i WHERE i %% %s = ANY(%s)",
                (tenants, rows, tenants, there),
            )
            connection.execute("ANALYZE orders")
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.begin() as begun:
            install(begun, name, shard_map)
        engine.dispose()


def orders(urls: Mapping[str, str], shard_map: ShardMap) -> dict[int, tuple[str, int]]:
    """All orders by their id: tenant and amount. Each has to be on one shard, the right one."""
    found: dict[int, tuple[str, int]] = {}
    for name, url in urls.items():
        with psycopg.connect(url) as connection:
            for number, tenant, amount in connection.execute(
                "SELECT id, tenant_id, amount FROM orders"
            ):
                assert shard_map.shard(tenant) == name, f"{number} of {tenant} is left on {name}"
                assert number not in found, f"{number} of {tenant} is there twice"
                found[number] = (tenant, amount)
    return found


def left_behind(urls: Mapping[str, str]) -> dict[str, list[Any]]:
    """What is still there of a move, by what it is and the shard."""
    found = {}
    for name, url in urls.items():
        with psycopg.connect(url, autocommit=True) as connection:
            for what, sql in _MADE.items():
                rows = connection.execute(sql.encode()).fetchall()
                if rows:
                    found[f"{what} of {name}"] = rows
    return found


def unmake_shards(urls: Mapping[str, str]) -> None:
    """Take all of it away, whatever a test has left."""
    for name, url in urls.items():
        with psycopg.connect(url, autocommit=True) as connection:
            for (subscription,) in connection.execute("SELECT subname FROM pg_subscription"):
                for what in ("DISABLE", "SET (slot_name = NONE)"):
                    connection.execute(f"ALTER SUBSCRIPTION {subscription} {what}".encode())
                connection.execute(f"DROP SUBSCRIPTION {subscription}".encode())
        assert name
    for url in urls.values():
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots "
                "WHERE active"
            )
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
            )
            for (publication,) in connection.execute("SELECT pubname FROM pg_publication"):
                connection.execute(f"DROP PUBLICATION {publication}".encode())
            connection.execute("DROP SCHEMA IF EXISTS escala CASCADE")
            connection.execute("DROP TABLE IF EXISTS public.orders")
