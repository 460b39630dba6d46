"""Several databases of one PostgreSQL: shards for those tests that do not stop a server."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
from tests.servers.postgres_server import PostgresServer


@contextlib.contextmanager
def shard_databases(*names: str) -> Iterator[dict[str, str]]:
    """The URL of an empty database for each name; two-phase commit is possible there."""
    folder = Path(tempfile.mkdtemp(prefix="escala-postgres-"))
    try:
        server = PostgresServer(folder)
        with (folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write("max_prepared_transactions = 20\nsynchronous_commit = off\n")
        server.start()
        try:
            with psycopg.connect(server.url, autocommit=True) as admin:
                for name in names:
                    admin.execute(f'CREATE DATABASE "{name}"'.encode())
            yield {name: server.url.removesuffix("postgres") + name for name in names}
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
