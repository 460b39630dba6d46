"""Writes a row on every shard and commits; at the moment it is told, something happens.

As a program it kills itself at that moment.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import greenlet_spawn

from escala.databases import TwoPhase
from escala.databases.pure.two_phase_steps import Do, Step
from escala.databases.sharding import prepared
from escala.errors import CommitUnknown


class Moment(NamedTuple):
    """Before or after a step; "within" is when the decision is written and not yet committed."""

    do: str
    shard: str
    when: str


class Watched(TwoPhase):
    def __init__(self, moment: Moment, then: Callable[[], None]) -> None:
        super().__init__()
        self._moment, self._then = moment, then

    def _do(self, step: Step, *rest: Any) -> str:
        here = (step.do.name, step.shard) == (self._moment.do, self._moment.shard)
        when = self._moment.when if here else ""
        if when == "before":
            self._then()
        if when == "within":
            really = prepared.commit

            def commit(connection: Connection) -> None:
                self._then()
                really(connection)

            prepared.commit = commit
            try:
                return super()._do(step, *rest)
            finally:
                prepared.commit = really
        answer = super()._do(step, *rest)
        if when == "after":
            self._then()
        return answer


def moments(names: list[str]) -> list[Moment]:
    decision, *others = sorted(names)
    prepares = [Step(Do.PREPARE, shard) for shard in others]
    commits = [Step(Do.COMMIT, shard) for shard in others]
    steps = [Step(Do.BEGIN, decision), *prepares, Step(Do.DECIDE, decision), *commits]
    around = [
        Moment(step.do.name, step.shard, when) for step in steps for when in ("before", "after")
    ]
    return [*around, Moment("DECIDE", decision, "within")]


def outcome(commit: Callable[[], None]) -> str:
    try:
        commit()
    except CommitUnknown:
        return "unknown"
    except Exception:  # noqa: BLE001  whatever it is, nothing may have happened
        return "failed"
    return "committed"


def with_psycopg(urls: Mapping[str, str], row: str, two_phase: TwoPhase) -> str:
    engines = {name: create_engine(url.format("psycopg")) for name, url in urls.items()}
    opened = {name: engine.connect() for name, engine in engines.items()}
    for connection in opened.values():
        connection.exec_driver_sql(f"INSERT INTO rows VALUES ('{row}')")  # noqa: S608
    ended = outcome(lambda: two_phase.commit(opened))
    for connection in opened.values():
        connection.commit() if ended == "committed" else connection.rollback()
        connection.close()
    for engine in engines.values():
        engine.dispose()
    return ended


async def with_asyncpg(urls: Mapping[str, str], row: str, two_phase: TwoPhase) -> str:
    engines = {name: create_async_engine(url.format("asyncpg")) for name, url in urls.items()}
    opened = {name: await engine.connect() for name, engine in engines.items()}
    for connection in opened.values():
        await connection.exec_driver_sql(f"INSERT INTO rows VALUES ('{row}')")  # noqa: S608
    inner: Any = {name: connection.sync_connection for name, connection in opened.items()}
    ended = await greenlet_spawn(outcome, lambda: two_phase.commit(inner))
    for connection in opened.values():
        await (connection.commit() if ended == "committed" else connection.rollback())
    for each in opened.values():
        await each.close()
    for engine in engines.values():
        await engine.dispose()
    return ended


def run(driver: str, urls: Mapping[str, str], row: str, two_phase: TwoPhase) -> str:
    if driver == "psycopg":
        return with_psycopg(urls, row, two_phase)
    return asyncio.run(with_asyncpg(urls, row, two_phase))


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    suicide = Watched(Moment(*given["moment"]), lambda: os.kill(os.getpid(), signal.SIGKILL))
    print(run(given["driver"], given["urls"], given["row"], suicide), flush=True)  # noqa: T201
