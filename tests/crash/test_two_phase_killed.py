"""A commit over three servers while its coordinator or one of them is killed: all or nothing.

ESCALA_TWO_PHASE_RUNS is how many times; 200 go through every moment, victim and driver.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError
from tests.crash.two_phase_coordinator import Moment, Watched, moments, run
from tests.servers.postgres_server import PostgresServer, postgres_server

from escala.databases import InDoubtSweeper, ShardMap
from escala.databases.sharding.shard_server import install

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("two_phase_killed")]

RUNS = int(os.environ.get("ESCALA_TWO_PHASE_RUNS", "6"))
NAMES = ["s0", "s1", "s2"]
ROOT = Path(__file__).resolve().parents[2]
WITHIN = 30.0  # seconds until nothing may be left


class Case(NamedTuple):
    driver: str
    victim: str
    moment: Moment


def cases() -> list[Case]:
    """In an order in which the first few have all victims, both drivers and far apart moments."""
    every = [
        Case(driver, victim, moment)
        for victim in ("coordinator", *NAMES)
        for driver in ("psycopg", "asyncpg")
        for moment in moments(NAMES)
    ]
    random.Random(5).shuffle(every)
    decided = [
        Case("psycopg", "coordinator", Moment("DECIDE", "s0", "before")),
        Case("asyncpg", "coordinator", Moment("DECIDE", "s0", "after")),
        Case("psycopg", "s0", Moment("DECIDE", "s0", "within")),
        Case("asyncpg", "s1", Moment("COMMIT", "s1", "before")),
        Case("psycopg", "coordinator", Moment("PREPARE", "s2", "before")),
        Case("asyncpg", "s2", Moment("PREPARE", "s2", "after")),
    ]
    return [*decided, *(case for case in every if case not in decided)]


class Shards:
    """Three servers, and what a client that is not ours sees on them."""

    def __init__(self, servers: dict[str, PostgresServer]) -> None:
        self.servers = servers
        self.urls = {
            name: server.url.replace("postgresql://", "postgresql+{}://")
            for name, server in servers.items()
        }
        self.engines = {
            name: create_engine(url.format("psycopg")) for name, url in self.urls.items()
        }
        for name, engine in self.engines.items():
            with engine.begin() as connection:
                install(connection, name, ShardMap.slots(NAMES, key="id"))
                connection.exec_driver_sql("CREATE TABLE rows (id text PRIMARY KEY)")

    def opened(self) -> dict[str, Engine]:
        return {name: create_engine(url.format("psycopg")) for name, url in self.urls.items()}

    def has(self, name: str, row: str) -> bool:
        return bool(self._ask(name, f"SELECT count(*) FROM rows WHERE id = '{row}'"))  # noqa: S608

    def prepared(self, name: str) -> int:
        return self._ask(name, "SELECT count(*) FROM pg_prepared_xacts")

    def _ask(self, name: str, select: str) -> int:
        with self.engines[name].connect() as connection:
            found: int = connection.exec_driver_sql(select).scalar_one()
            return found

    def settled(self) -> None:
        deadline = time.monotonic() + WITHIN
        while time.monotonic() < deadline:
            with contextlib.suppress(DBAPIError):
                if not any(map(self.prepared, NAMES)):
                    return
            time.sleep(0.02)
        pytest.fail("prepared transactions are left")


@pytest.fixture(scope="module")
def shards() -> Iterator[Shards]:
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(postgres_server(max_prepared_transactions=20))
            for name in NAMES
        }
        shards = Shards(servers)
        sweeping = shards.opened()
        for engine in (*sweeping.values(), *shards.engines.values()):
            stack.callback(engine.dispose)
        stack.enter_context(InDoubtSweeper(sweeping, grace=0.5, every=0.1))
        yield shards


@pytest.mark.timeout(60 + 10 * RUNS)
def test_all_or_nothing(shards: Shards) -> None:
    every = cases()
    ends: list[str] = []
    for number in range(RUNS):
        case = every[number % len(every)]
        row = f"r{number}"
        if case.victim == "coordinator":
            end = killed_coordinator(shards, case, row)
        else:
            end = killed_shard(shards, case, row)
        shards.settled()
        where = [name for name in NAMES if shards.has(name, row)]
        assert where in ([], NAMES), case
        assert where == NAMES or end != "committed", case
        assert where == [] or end != "failed", case
        ends.append("everywhere" if where else "nowhere")
    assert {*ends} == {"everywhere", "nowhere"}


def killed_coordinator(shards: Shards, case: Case, row: str) -> str:
    given = {"driver": case.driver, "urls": shards.urls, "row": row, "moment": case.moment}
    ran = subprocess.run(
        [sys.executable, "-m", "tests.crash.two_phase_coordinator", json.dumps(given)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if ran.returncode == 0:  # so slow that the sweeper came before the moment did
        return ran.stdout.strip()
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    return "killed"


def killed_shard(shards: Shards, case: Case, row: str) -> str:
    victim = shards.servers[case.victim]
    end = run(case.driver, shards.urls, row, Watched(case.moment, victim.kill))
    if not victim.running:  # as it is, unless the sweeper came before the moment did
        victim.start()
    return end
