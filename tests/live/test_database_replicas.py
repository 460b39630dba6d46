"""A primary and two replicas: who reads what, and what they see while replicas lag and die."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, func, insert, select, table, text
from sqlalchemy.exc import DBAPIError
from tests.servers.postgres_cluster import PostgresCluster, PostgresNode, until
from tests.servers.postgres_server import postgres_server

from escala import Database, Lag
from escala.errors import ConfigError, NoHealthyBackend, NoPrimary, ReadOnlyTransaction

pytestmark = pytest.mark.xdist_group("postgres")

PAIRS = int(os.environ.get("ESCALA_REPLICA_PAIRS", "500"))
TRANSACTIONS = int(os.environ.get("ESCALA_REPLICA_TRANSACTIONS", "1005"))
SECRET = "only the shop knows"
NOTES = Table(
    "replica_notes", MetaData(), Column("id", Integer, primary_key=True), Column("body", Text)
)
PORT = select(func.inet_server_port())
QUICK: dict[str, Any] = {
    "interval": "100ms",
    "patience": "300ms",
    "functions": ["inet_server_port"],
}


@pytest.fixture
def cluster(postgres: PostgresCluster) -> Iterator[PostgresCluster]:
    postgres.primary.sql("DROP TABLE IF EXISTS replica_notes")
    postgres.primary.sql("CREATE TABLE replica_notes (id int PRIMARY KEY, body text)")
    postgres.wait_caught_up()
    yield postgres
    for node in postgres.replicas:
        if not node.running:
            node.start()
        node.resume_replay()
    postgres.wait_streaming()
    postgres.wait_caught_up()


def database(cluster: PostgresCluster, driver: str = "psycopg", **options: Any) -> Database:
    url = cluster.url.replace("postgresql:", f"postgresql+{driver}:")
    return Database(url, **{"secret": SECRET, **QUICK, **options})


def ports(cluster: PostgresCluster) -> set[int]:
    return {node.port for node in cluster.replicas}


def readable(db: Database, node: PostgresNode) -> bool:
    nodes = db.snapshot()["nodes"]
    found = [each["readable"] for each in nodes if each["name"] == f"127.0.0.1:{node.port}"]
    return bool(found[0])


def test_what_a_writer_has_said_is_never_missed_in_another_process(
    cluster: PostgresCluster,
) -> None:
    paused = cluster.replicas[0]
    paused.pause_replay()
    command = [sys.executable, "-m", "tests.live.replica_writer", cluster.url, SECRET, str(PAIRS)]
    stale, elsewhere, without = 0, Counter[int](), 0
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer,
        database(cluster) as db,
    ):
        for line in writer.stdout or ():
            number, token = line.split()
            note = select(NOTES.c.body).where(NOTES.c.id == int(number))
            with db.session() as session:  # it knows nothing of the writer
                without += session.scalar(note) is None
            with db.session() as session:
                elsewhere[session.scalar(PORT) or 0] += 1
            with db.consistency(token), db.session() as session:
                stale += session.scalar(note) != number
    assert writer.returncode == 0
    assert sum(elsewhere.values()) == PAIRS
    assert stale == 0
    assert without > 0, "the paused replica was never asked, so nothing was shown"
    on_replicas = sum(elsewhere[port] for port in ports(cluster))
    assert on_replicas >= 0.8 * PAIRS


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_a_session_sees_what_it_has_written_in_both_colours(
    cluster: PostgresCluster, driver: str
) -> None:
    cluster.replicas[0].pause_replay()
    count = 50

    async def pairs() -> tuple[int, Counter[int]]:
        stale, where = 0, Counter[int]()
        async with database(cluster, driver) as db, db.asession() as session:
            for number in range(count):
                await session.execute(insert(NOTES).values(id=number, body="x"))
                await session.commit()
                found = await session.scalar(select(NOTES.c.id).where(NOTES.c.id == number))
                stale += found != number
                where[await session.scalar(PORT) or 0] += 1
                await session.rollback()
        return stale, where

    stale, where = asyncio.run(pairs())
    assert stale == 0
    assert sum(where.values()) == count


def test_a_session_comes_back_to_replicas_and_never_goes_back_in_time(
    cluster: PostgresCluster,
) -> None:
    slow, quick = cluster.replicas
    with database(cluster) as db, db.session() as session:
        slow.pause_replay()
        session.execute(insert(NOTES).values(id=1, body="first"))
        session.commit()

        def back() -> bool:
            port = session.scalar(PORT)
            session.rollback()
            time.sleep(0.3)  # reads at the primary are things seen, too
            return port == quick.port

        until(back, "the replica that replays is read")
        for _ in range(20):
            assert session.scalar(select(NOTES.c.body)) == "first"
            session.rollback()


def test_a_transaction_reads_one_node(cluster: PostgresCluster) -> None:
    seen: Counter[int] = Counter()

    def sync(db: Database) -> None:
        for _ in range(TRANSACTIONS // 3):
            with db.session() as session:
                where = {session.scalar(PORT) for _ in range(4)}
            assert len(where) == 1
            seen.update(port or 0 for port in where)

    async def asynchronous(driver: str) -> None:
        async with database(cluster, driver, policy="round_robin") as db:

            async def one() -> None:
                for _ in range(TRANSACTIONS // 15):
                    async with db.asession() as session:
                        where = {await session.scalar(PORT) for _ in range(4)}
                    assert len(where) == 1
                    seen.update(port or 0 for port in where)

            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(one())

    with database(cluster) as db:
        sync(db)
    asyncio.run(asynchronous("psycopg"))
    asyncio.run(asynchronous("asyncpg"))
    assert sum(seen.values()) == TRANSACTIONS
    assert set(seen) == ports(cluster)
    assert min(seen.values()) > 0.3 * TRANSACTIONS


def test_a_dead_replica_is_out_within_a_second_and_no_caller_notices(
    cluster: PostgresCluster,
) -> None:
    dead = cluster.replicas[1]
    over = threading.Event()
    errors: list[Exception] = []
    reads: Counter[int] = Counter()

    def read(db: Database) -> None:
        while not over.is_set():
            with db.session() as session:
                reads[session.scalar(PORT) or 0] += 1

    async def aread(db: Database) -> None:
        while not over.is_set():
            async with db.asession() as session:
                reads[await session.scalar(PORT) or 0] += 1
        await db.aclose()

    def until_over(reader: Callable[[], None]) -> None:
        try:
            reader()
        except Exception as error:  # noqa: BLE001  the test asks for it below
            errors.append(error)

    with (
        database(cluster, interval="250ms", patience="500ms", slow_start="1s") as db,
        database(cluster, "asyncpg", slow_start="1s") as other,
    ):
        does = [partial(read, db), partial(read, db), lambda: asyncio.run(aread(other))]
        readers = [threading.Thread(target=until_over, args=(each,)) for each in does]
        for reader in readers:
            reader.start()
        try:
            time.sleep(0.3)
            dead.kill()
            killed = time.monotonic()
            until(lambda: not readable(db, dead), "the dead one is out")
            assert time.monotonic() - killed < 1
            time.sleep(0.3)
            dead.start()
            until(lambda: readable(db, dead) and readable(other, dead), "it is back")
            before = reads[dead.port]
            until(lambda: reads[dead.port] > before, "it is read again")
        finally:
            over.set()
            for reader in readers:
                reader.join()
    assert errors == []
    assert set(reads) == ports(cluster), "the primary was not needed"


def test_a_frozen_replica_is_out_within_a_second(cluster: PostgresCluster) -> None:
    frozen = cluster.replicas[0]
    with database(cluster, interval="250ms", patience="500ms") as db:
        frozen.freeze()
        began = time.monotonic()
        try:
            until(lambda: not readable(db, frozen), "the frozen one is out")
            assert time.monotonic() - began < 1
            for _ in range(10):
                with db.session() as session:
                    assert session.scalar(PORT) == cluster.replicas[1].port
        finally:
            frozen.freeze(signal.SIGCONT)
        until(lambda: readable(db, frozen), "it is back")


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_tokens_go_from_one_colour_to_the_other(cluster: PostgresCluster, driver: str) -> None:
    for node in cluster.replicas:
        node.pause_replay()

    async def write() -> str:
        async with database(cluster, driver) as db:
            with db.consistency() as seen:
                async with db.asession() as session, session.begin():
                    await session.execute(insert(NOTES).values(id=1, body="x"))
                return await seen.atoken()

    with database(cluster) as db:
        token = asyncio.run(write())
        with db.session() as session:
            assert session.scalar(select(NOTES.c.body)) is None
        with db.consistency(token) as seen, db.session() as session:
            assert session.scalar(select(NOTES.c.body)) == "x"
            assert seen.token() != ""


def test_a_forked_child_goes_on_by_itself(cluster: PostgresCluster) -> None:
    with database(cluster) as db:
        with db.session() as session:
            session.scalar(PORT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
            child = os.fork()
        if child == 0:
            code = 1
            try:
                before = db.cluster.view.samples[-1]
                with db.session() as session:
                    reads = session.scalar(PORT) in ports(cluster)
                until(lambda: db.cluster.view.samples[-1] != before, "it watches", 5)
                code = 0 if reads else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        with db.session() as session:
            assert session.scalar(PORT) in ports(cluster)


def test_a_lagging_replica_is_out_within_a_second_and_back(cluster: PostgresCluster) -> None:
    late = cluster.replicas[0]
    with database(cluster, interval="250ms", lag=Lag(max_bytes="256KiB", max_age="60s")) as db:
        late.pause_replay()
        fill = (
            "INSERT INTO replica_notes SELECT n, repeat('x', 500) FROM generate_series(1, 2000) n"
        )
        cluster.primary.sql(fill)
        written = time.monotonic()
        until(lambda: not readable(db, late), "the late one is out")
        assert time.monotonic() - written < 1
        reason = [node["reason"] for node in db.snapshot()["nodes"] if "lags" in node["reason"]]
        assert len(reason) == 1
        for _ in range(20):
            with db.session() as session:
                assert session.scalar(PORT) == cluster.replicas[1].port
        late.resume_replay()
        until(lambda: readable(db, late), "it is back")


def test_a_replica_that_lags_by_time_is_out(cluster: PostgresCluster) -> None:
    late = cluster.replicas[0]
    with database(cluster, lag=Lag(max_bytes="1GiB", max_age="300ms")) as db:
        late.pause_replay()
        cluster.primary.sql("INSERT INTO replica_notes VALUES (1, 'x')")
        until(lambda: not readable(db, late), "the late one is out")
        late.resume_replay()
        until(lambda: readable(db, late), "it is back")


def test_what_only_looks_like_reading_goes_to_the_primary_after_all(
    cluster: PostgresCluster,
) -> None:
    cluster.primary.sql("CREATE SEQUENCE IF NOT EXISTS replica_numbers")
    cluster.primary.sql(
        "CREATE OR REPLACE VIEW replica_view AS SELECT nextval('replica_numbers') AS number"
    )
    cluster.wait_caught_up()
    view = Table("replica_view", MetaData(), Column("number", Integer))
    with database(cluster) as db:
        with db.session() as session:
            first = session.scalar(select(view.c.number))
            assert session.scalar(text("SELECT inet_server_port()")) == cluster.primary.port
        with db.session() as session:
            assert session.scalar(select(view.c.number)) == (first or 0) + 1


def test_a_write_after_a_read_is_refused_or_moves(cluster: PostgresCluster) -> None:
    one = insert(NOTES).values(id=1, body="x")
    with database(cluster) as db, db.session() as session:
        assert session.scalar(PORT) in ports(cluster)
        with pytest.raises(ReadOnlyTransaction, match="write=True"):
            session.execute(one)
        session.rollback()
        session.execute(one)
        session.rollback()
    with database(cluster) as db, db.session(write=True) as session:
        assert session.scalar(PORT) == cluster.primary.port
    with database(cluster, upgrade="move") as db, db.session() as session:
        assert session.scalar(PORT) in ports(cluster)
        session.execute(one)
        assert session.scalar(PORT) == cluster.primary.port
        session.commit()
    assert cluster.primary.sql("SELECT count(*) FROM replica_notes") == [(1,)]


def test_a_role_that_lies_writes_nothing(cluster: PostgresCluster) -> None:
    with database(cluster) as db:
        taken_for_a_replica = db.nodes[0].engine(writes=False)
        with taken_for_a_replica.connect() as connection, pytest.raises(DBAPIError) as refused:
            connection.execute(insert(NOTES).values(id=1, body="x"))
        assert isinstance(refused.value.orig, psycopg.errors.ReadOnlySqlTransaction)


def test_a_node_of_another_cluster_is_refused_at_once(cluster: PostgresCluster) -> None:
    with postgres_server(own_system=True) as other:
        url = f"{cluster.url.removesuffix('/postgres')},127.0.0.1:{other.port}/postgres"
        with pytest.raises(ConfigError, match=f"{other.port}: it belongs to another cluster"):
            Database(url, **QUICK).open()


def test_without_a_majority_there_is_no_primary(cluster: PostgresCluster) -> None:
    url = f"postgresql://escala@127.0.0.1:{cluster.primary.port},127.0.0.1:1,127.0.0.1:2/postgres"
    with pytest.raises(NoPrimary, match=r"fewer than 2 of 3 .* Database\(quorum="):
        Database(url, wait="300ms", **QUICK).open()


def test_fewer_nodes_are_enough_when_that_was_said(cluster: PostgresCluster) -> None:
    url = f"postgresql://escala@127.0.0.1:{cluster.primary.port},127.0.0.1:1/postgres"
    with pytest.raises(NoPrimary, match="fewer than 2 of 2"):
        Database(url, wait="300ms", **QUICK).open()
    db = Database(url, quorum=1, **QUICK)
    with db, db.session() as session:
        assert session.scalar(PORT) == cluster.primary.port


def test_a_database_may_be_opened_again(cluster: PostgresCluster) -> None:
    db = database(cluster)
    with db:
        db.open()
        until(lambda: len(db.cluster.view.readable) == 2, "the replicas are known")
    assert db.cluster.view.readable == (), "no one watches any more"
    with db, db.session() as session:
        assert session.scalar(PORT) in {node.port for node in cluster.nodes}


def test_a_replica_without_the_data_of_an_unlogged_table_sends_its_readers_on(
    cluster: PostgresCluster,
) -> None:
    cluster.primary.sql("CREATE UNLOGGED TABLE IF NOT EXISTS replica_unlogged (number int)")
    cluster.wait_caught_up()
    with database(cluster) as db, db.session() as session:
        assert session.scalar(select(func.count()).select_from(table("replica_unlogged"))) == 0
        assert session.scalar(PORT) == cluster.primary.port
    with database(cluster, isolation_level="SERIALIZABLE") as db, db.session() as session:
        assert session.scalar(PORT) == cluster.primary.port


def test_reads_that_must_not_reach_the_primary_are_refused(cluster: PostgresCluster) -> None:
    with database(cluster, fallback="refuse") as db, db.session() as session:
        session.execute(insert(NOTES).values(id=1, body="x"))
        session.commit()
        with pytest.raises(NoHealthyBackend, match="fallback='primary'"):
            session.scalar(PORT)
        until(lambda: _reads(session), "a replica has caught up")


def _reads(session: Any) -> bool:
    try:
        session.scalar(PORT)
    except NoHealthyBackend:
        return False
    finally:
        session.rollback()
    return True
