"""The primary is killed under load: nothing that was acknowledged is lost, and writes go on."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.servers.postgres_cluster import PostgresCluster, postgres_cluster, until

from escala.databases.replicas.database import Database
from escala.errors import CommitUnknown, NoPrimary, Unavailable

RUNS = int(os.environ.get("ESCALA_FAILOVER_RUNS", "2"))
WRITERS = 4  # in each colour
QUORUM = "ANY 1 (n0, n1, n2)"
INSERT = text("INSERT INTO kept (writer, number) VALUES (:writer, :number)")
pytestmark = pytest.mark.xdist_group("failover")


@dataclass
class Load:
    """Writers in both colours, which note what they were told of each write."""

    database: Database
    acknowledged: set[tuple[int, int]] = field(default_factory=set)
    unknown: set[tuple[int, int]] = field(default_factory=set)
    wrong: list[BaseException] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self.threads = [
            threading.Thread(target=self.sync_writer, args=(writer,)) for writer in range(WRITERS)
        ]
        self.threads.append(threading.Thread(target=asyncio.run, args=(self.async_writers(),)))
        for thread in self.threads:
            thread.start()

    def more(self) -> None:
        """Wait until some more writes are acknowledged."""
        enough = len(self.acknowledged) + 200
        until(lambda: len(self.acknowledged) >= enough, "writers write")

    def end(self) -> None:
        self.stop.set()
        *sync, both = self.threads
        for thread in sync:
            thread.join(30)
            assert not thread.is_alive()
        self.ended.set()
        both.join(30)
        assert not both.is_alive()

    def sync_writer(self, writer: int) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            try:
                with self.database.session(write=True) as session:
                    session.execute(INSERT, {"writer": writer, "number": number})
                    session.commit()
            except Exception as error:  # noqa: BLE001  each is judged
                self.failed((writer, number), error)
                time.sleep(0.01)
            else:
                self.done((writer, number))

    async def async_writers(self) -> None:
        await asyncio.gather(*map(self.async_writer, range(WRITERS, 2 * WRITERS)))
        await asyncio.to_thread(self.ended.wait)
        await self.database.aclose()  # which closes what the sync writers use as well

    async def async_writer(self, writer: int) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            try:
                async with self.database.asession(write=True) as session:
                    await session.execute(INSERT, {"writer": writer, "number": number})
                    await session.commit()
            except Exception as error:  # noqa: BLE001  each is judged
                self.failed((writer, number), error)
                await asyncio.sleep(0.01)
            else:
                self.done((writer, number))

    def done(self, row: tuple[int, int]) -> None:
        self.acknowledged.add(row)
        self.times.append(time.monotonic())

    def failed(self, row: tuple[int, int], error: Exception) -> None:
        if isinstance(error, CommitUnknown):
            self.unknown.add(row)
        elif not isinstance(error, (Unavailable, DBAPIError, OSError)):
            self.wrong.append(error)

    def gap(self) -> float:
        times = sorted(self.times)
        return max(after - before for before, after in pairwise(times))


def url(cluster: PostgresCluster, driver: str) -> str:
    return cluster.url.replace("postgresql://", f"postgresql+{driver}://")


def rows(cluster: PostgresCluster) -> set[tuple[int, int]]:
    return {(row[0], row[1]) for row in cluster.primary.sql("SELECT writer, number FROM kept")}


@pytest.mark.timeout(60 + 20 * RUNS)
def test_no_acknowledged_write_is_lost(record_property: Callable[[str, object], None]) -> None:
    gaps: list[float] = []
    unknown = 0
    with postgres_cluster(2, synchronous_standby_names=QUORUM) as cluster:
        cluster.primary.sql("CREATE TABLE kept (writer int, number int)")
        for run in range(RUNS):
            cluster.primary.sql("TRUNCATE kept")
            cluster.wait_caught_up()
            driver = ("psycopg", "asyncpg")[run % 2]
            with Database(url(cluster, driver)) as database:
                assert database.check_durability().keeps
                load = Load(database)
                load.start()
                load.more()
                behind, ahead = cluster.replicas[:: 1 if run % 4 < 2 else -1]
                behind.cut_wal()
                load.more()
                old = cluster.primary
                old.kill()
                done = database.failover()
                assert (done.changed, done.kept) == (True, True)
                assert done.node == f"127.0.0.1:{ahead.port}"
                cluster.primary = ahead
                load.more()
                load.end()
                assert load.wrong == []
                present = rows(cluster)
                assert load.acknowledged - present == set()
                assert present <= load.acknowledged | load.unknown
                gaps.append(load.gap())
                unknown += len(load.unknown)
            cluster.rejoin(old)
            cluster.wait_streaming()
    record_property("longest gap (s)", max(gaps))
    record_property("outcomes unknown", unknown)
    assert max(gaps) < 2


def test_settings_that_cannot_keep_it_are_told_beforehand() -> None:
    with postgres_cluster(2) as cluster, Database(cluster.url) as database:
        cluster.primary.sql("CREATE TABLE kept (writer int, number int)")
        found = database.check_durability()
        assert not found.keeps
        assert "set synchronous_standby_names = 'ANY 1 (n1, n2)'" in str(found)
        load = Load(database)
        load.start()
        load.more()
        for node in cluster.replicas:
            node.cut_wal()
        load.more()
        cluster.primary.kill()
        with pytest.raises(NoPrimary, match="acknowledged commits may be lost"):
            database.failover()
        assert [node.in_recovery for node in cluster.replicas] == [True, True]
        done = database.failover(allow_loss=True)
        assert (done.changed, done.kept) == (True, False)
        load.end()
        cluster.primary = next(node for node in cluster.replicas if str(node.port) in done.node)
        assert load.acknowledged - rows(cluster)
