"""The fence of a shard on a real server: who entered with an old epoch writes nothing."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from sqlalchemy import create_engine
from tests.servers.shard_databases import shard_databases

from escala.databases.sharding.shard_server import FENCE_LOCK, install, read, renew
from escala.errors import ConfigError

pytestmark = pytest.mark.xdist_group("shards")

LEVELS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]


class Map(NamedTuple):
    epoch: int
    text: str = "{}"

    def to_json(self) -> str:
        return self.text


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with shard_databases("fence") as urls:
        yield urls["fence"]


@pytest.fixture
def url(server: str) -> str:
    """The shard s0, whose map has epoch 1, with an empty table `log`."""
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute("DROP SCHEMA IF EXISTS escala CASCADE; DROP TABLE IF EXISTS log")
        admin.execute("CREATE TABLE log (epoch bigint)")
    with installed(server) as connection:
        install(connection, "s0", Map(1))
    return server


@contextlib.contextmanager
def installed(url: str) -> Iterator[Any]:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def enter(connection: psycopg.Connection, epoch: int, *, writes: bool = True) -> None:
    connection.execute("SELECT escala.enter('s0', %s::bigint, %s)", (epoch, writes))


def begin(connection: psycopg.Connection, level: str) -> None:
    connection.execute(f"BEGIN ISOLATION LEVEL {level}".encode())


def cut_over(connection: psycopg.Connection, epoch: int) -> None:
    """What the coordinator of a move decides, while it holds the lock."""
    connection.execute("UPDATE escala.shard SET epoch = %s", (epoch,))


def waiting_for_the_lock(connection: psycopg.Connection) -> int:
    sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    ((count,),) = connection.execute(sql).fetchall()
    return int(count)


@pytest.mark.parametrize("level", LEVELS)
def test_writers_that_wait_while_the_map_changes_are_refused(url: str, level: str) -> None:
    ended: list[str | None] = []

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            begin(connection, level)
            try:
                enter(connection, 1)
                connection.execute("INSERT INTO log VALUES (1)")
                connection.execute("COMMIT")
                ended.append(None)
            except psycopg.Error as error:
                ended.append(error.sqlstate)

    with psycopg.connect(url, autocommit=True) as coordinator:
        coordinator.execute("SELECT pg_advisory_lock(%s)", (FENCE_LOCK,))
        writers = [threading.Thread(target=write) for _ in range(6)]
        for writer in writers:
            writer.start()
        while waiting_for_the_lock(coordinator) < 6:
            time.sleep(0.005)
        cut_over(coordinator, 2)
        coordinator.execute("SELECT pg_advisory_unlock(%s)", (FENCE_LOCK,))
        for writer in writers:
            writer.join(10)
        # The stricter levels have a snapshot from before the change: a conflict, not an old map.
        expected = "ES001" if level == "READ COMMITTED" else "40001"
        assert ended == [expected] * 6
        assert coordinator.execute("SELECT count(*) FROM log").fetchone() == (0,)
        begin(coordinator, level)
        enter(coordinator, 2)


@pytest.mark.parametrize("level", LEVELS)
def test_no_write_under_the_old_epoch_comes_after_the_change(url: str, level: str) -> None:
    """Writers that never stop, a dozen changes: none of the old epoch's rows is seen later."""
    stopped = threading.Event()
    now = [1]
    refused = {"ES001": 0, "40001": 0}

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not stopped.is_set():
                epoch = now[0]
                begin(connection, level)
                try:
                    enter(connection, epoch)
                    connection.execute("INSERT INTO log VALUES (%s)", (epoch,))
                    connection.execute("COMMIT")
                except psycopg.Error as error:
                    refused[str(error.sqlstate)] += 1
                    connection.execute("ROLLBACK")

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    counts: dict[int, int] = {}
    with psycopg.connect(url, autocommit=True) as coordinator:
        count = "SELECT count(*) FROM log WHERE epoch <= %s"
        for epoch in range(1, 13):
            time.sleep(0.03)
            coordinator.execute("SELECT pg_advisory_lock(%s)", (FENCE_LOCK,))
            cut_over(coordinator, epoch + 1)
            ((counts[epoch],),) = coordinator.execute(count, (epoch,)).fetchall()
            coordinator.execute("SELECT pg_advisory_unlock(%s)", (FENCE_LOCK,))
            time.sleep(0.01)  # for these the router's map is the old one
            now[0] = epoch + 1
        stopped.set()
        for writer in writers:
            writer.join(10)
        for epoch, seen in counts.items():
            assert coordinator.execute(count, (epoch,)).fetchone() == (seen,)
    assert counts[12] > 12
    assert refused["ES001"] > 0


@pytest.mark.parametrize("level", LEVELS)
def test_the_exclusive_side_waits_for_the_last_writer(url: str, level: str) -> None:
    with (
        psycopg.connect(url, autocommit=True) as writer,
        psycopg.connect(url, autocommit=True) as coordinator,
    ):
        begin(writer, level)
        enter(writer, 1)
        coordinator.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            coordinator.execute("SELECT pg_advisory_lock(%s)", (FENCE_LOCK,))
        enter(writer, 1)  # who is in may ask again
        writer.execute("COMMIT")
        coordinator.execute("SELECT pg_advisory_lock(%s)", (FENCE_LOCK,))


@pytest.mark.parametrize("level", LEVELS)
def test_a_prepared_transaction_stays_inside_until_it_is_decided(url: str, level: str) -> None:
    with (
        psycopg.connect(url, autocommit=True) as writer,
        psycopg.connect(url, autocommit=True) as coordinator,
    ):
        begin(writer, level)
        enter(writer, 1)
        writer.execute("INSERT INTO log VALUES (1)")
        writer.execute("PREPARE TRANSACTION 'fence'")
        coordinator.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            coordinator.execute("SELECT pg_advisory_lock(%s)", (FENCE_LOCK,))
        writer.execute("COMMIT PREPARED 'fence'")
        coordinator.execute("SELECT pg_advisory_lock(%s)", (FENCE_LOCK,))


def test_readers_wait_for_no_one_and_are_refused_when_the_map_is_another(url: str) -> None:
    with (
        psycopg.connect(url, autocommit=True) as reader,
        psycopg.connect(url, autocommit=True) as coordinator,
    ):
        coordinator.execute("SELECT pg_advisory_lock(%s)", (FENCE_LOCK,))
        reader.execute("SET statement_timeout = '2s'")
        begin(reader, "REPEATABLE READ READ ONLY")
        enter(reader, 1, writes=False)
        reader.execute("COMMIT")
        cut_over(coordinator, 2)
        with pytest.raises(psycopg.Error) as refused:
            enter(reader, 1, writes=False)
        assert (refused.value.sqlstate, refused.value.diag.message_detail) == ("ES001", "2")


def test_writers_are_slowed_down_by_the_throttle_before_they_take_the_lock(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE escala.shard SET throttle = 0.05")
        began = time.monotonic()
        enter(connection, 1, writes=False)
        read = time.monotonic()
        enter(connection, 1)
        wrote = time.monotonic()
    assert read - began < 0.05 <= wrote - read


def test_a_database_of_another_shard_is_refused(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        with pytest.raises(psycopg.Error, match="this is the shard s0, not s1") as refused:
            connection.execute("SELECT escala.enter('s1', 1, false)")
        assert (refused.value.sqlstate, refused.value.diag.message_detail) == ("ES002", "s0")
    with (
        installed(url) as connection,
        pytest.raises(ConfigError, match="is the shard 's0'; is the URL another shard's"),
    ):
        install(connection, "s1", Map(1))


def test_to_install_again_keeps_the_newest_map(url: str) -> None:
    for given, kept in ((1, 1), (3, 3), (2, 3)):
        with installed(url) as connection:
            install(connection, "s0", Map(given))
        with installed(url) as connection:
            assert read(connection).epoch == kept
    with installed(url) as connection:
        assert not renew(connection, Map(3))
        assert renew(connection, Map(4, '{"a": 1}'))
        assert read(connection) == ("s0", 4, '{"a": 1}')
        with pytest.raises(ConfigError, match="another map of the same epoch 4"):
            install(connection, "s0", Map(4))


def test_two_may_install_at_once(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("DROP SCHEMA escala CASCADE")
    failed: list[BaseException] = []

    def once() -> None:
        try:
            with installed(url) as connection:
                install(connection, "s0", Map(1))
        except BaseException as error:  # noqa: BLE001  shown below
            failed.append(error)

    both = [threading.Thread(target=once) for _ in range(4)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(10)
    assert failed == []
