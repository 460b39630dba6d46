"""Sessions of two routers write and read while slots move from two shards to three."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import traceback
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, func, select
from tests.servers.shard_servers import left_behind, make_shards, orders, shard_servers

from escala.databases import Reshard, ShardedDatabase, ShardMap, scatter
from escala.errors import MapOutdated

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("reshard"), pytest.mark.timeout(120)]

MAP = ShardMap.slots(["s0", "s1"], key="tenant_id")
GOAL = MAP.with_shards(["s0", "s1", "s2"])
TENANTS, ROWS = 60, 600
KEYS = {"orders": "tenant_id"}
ORDERS = Table(
    "orders",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("tenant_id", Text),
    Column("amount", Integer),
)
SEEDED = select(func.count(), func.sum(ORDERS.c.amount)).where(ORDERS.c.id <= ROWS)


class Work:
    """What the writers have committed, and what went wrong."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.numbers = count(ROWS + 1)
        self.added: dict[int, str] = {}
        self.reads = self.transfers = self.repeated = 0
        self.wrong: list[str] = []

    def step(self, session: Any) -> None:
        """Add one order, move an amount between two tenants, look at all: three transactions."""
        number = next(self.numbers)
        tenant, other = f"t{number % TENANTS}", f"t{(number * 7 + 1) % TENANTS}"
        with self.again(session):
            session.execute(ORDERS.insert().values(id=number, tenant_id=tenant, amount=0))
            session.commit()
            self.added[number] = tenant
        with self.again(session):
            for whose, change in ((tenant, -1), (other, 1)):
                one = select(func.min(ORDERS.c.id)).where(ORDERS.c.tenant_id == whose)
                first = session.scalar(one.where(ORDERS.c.id <= ROWS))
                session.execute(
                    ORDERS.update()
                    .where(ORDERS.c.tenant_id == whose, ORDERS.c.id == first)
                    .values(amount=ORDERS.c.amount + change)
                )
            session.commit()
            self.transfers += 1
        with self.again(session):
            seen = session.execute(scatter(SEEDED, max_shards=3)).one()
            self.reads += 1
            if seen[0] != ROWS:
                self.wrong.append(f"{seen[0]} rows of {ROWS}")
            session.rollback()

    @contextlib.contextmanager
    def again(self, session: Any) -> Iterator[None]:
        """A transaction that began with an older map is given up here."""
        try:
            yield
        except MapOutdated:
            self.repeated += 1
            session.rollback()


def in_threads(work: Work, urls: dict[str, str]) -> None:
    with ShardedDatabase(MAP, urls, tables=KEYS) as shards, shards.session() as session:
        while not work.stopped.is_set():
            work.step(session)


def in_a_loop(work: Work, urls: dict[str, str]) -> None:
    urls = {name: f"postgresql+asyncpg{url[10:]}" for name, url in urls.items()}

    async def run() -> None:
        async with ShardedDatabase(MAP, urls, tables=KEYS) as shards, shards.asession() as session:
            while not work.stopped.is_set():
                await session.run_sync(work.step)

    asyncio.run(run())


def test_nothing_is_lost_or_seen_twice() -> None:
    work = Work()

    def guarded(body: Any, urls: dict[str, str]) -> None:
        try:
            body(work, urls)
        except BaseException:  # noqa: BLE001  shown below
            work.wrong.append(traceback.format_exc())

    with shard_servers("s0", "s1", "s2") as servers:
        urls = {name: server.url for name, server in servers.items()}
        make_shards(urls, MAP, tenants=TENANTS, rows=ROWS)
        bodies = (in_threads, in_a_loop)
        writers = [threading.Thread(target=guarded, args=(body, urls)) for body in bodies]
        for writer in writers:
            writer.start()
        try:
            move = Reshard(urls, tables=KEYS, to=GOAL)
            move.run()
            move.cutover()
            move.complete()
            final = move.current_map()
        finally:
            work.stopped.set()
            for writer in writers:
                writer.join(20)
        assert work.wrong == []
        found = orders(urls, final)
        assert left_behind(urls) == {}
    assert {number: found[number][0] for number in found if number > ROWS} == work.added
    assert sum(amount for _, amount in found.values()) == 0
    assert len(found) == ROWS + len(work.added)
    assert min(work.reads, work.transfers, len(work.added)) > 20
