"""What finding its shard adds to a session with one select: plain, ours and SQLAlchemy's own."""

from __future__ import annotations

import tempfile

from benchmarks.calls import Case, sync_loop, take_turns, tell
from benchmarks.progress import say
from benchmarks.report import BenchmarkError, Report

NAMES = ("s0", "s1")


def measure_sharded(report: Report, *, quick: bool) -> None:
    """Time them in CPU time, over two files of SQLite."""
    from sqlalchemy import Column, Integer, MetaData, Table, Text, select
    from sqlalchemy.ext.horizontal_shard import ShardedSession as PeerSession
    from sqlalchemy.orm import Session

    from escala import ShardedDatabase, ShardMap

    columns = Column("name", Text, primary_key=True), Column("number", Integer)
    users = Table("users", MetaData(), *columns)

    say("a session with one select, on its shard")
    shard_map = ShardMap.slots(NAMES, key="name")
    home = shard_map.shard("ann")

    with tempfile.TemporaryDirectory() as folder:
        urls = {name: f"sqlite:///{folder}/{name}.db" for name in NAMES}
        with ShardedDatabase(shard_map, urls, tables={"users": "name"}) as shards:
            shards.install()
            engines = {name: shards.engine(name) for name in NAMES}
            for engine in engines.values():
                users.metadata.create_all(engine)
            with shards.session() as filling, filling.begin():
                filling.execute(users.insert().values(name="ann", number=7))

            def ask(session: Session) -> int | None:
                return session.scalar(select(users.c.number).where(users.c.name == "ann"))

            def plain() -> int | None:
                with Session(engines[home]) as session:
                    return ask(session)

            def sharded() -> int | None:
                with shards.session() as session:
                    return ask(session)

            def peer() -> int | None:
                with PeerSession(
                    shard_chooser=lambda mapper, instance, clause: home,  # noqa: ARG005
                    identity_chooser=lambda *_, **__: [home],
                    execute_chooser=lambda _: [home],
                    shards=engines,
                ) as session:
                    return ask(session)

            def check() -> None:
                if {plain(), sharded(), peer()} != {7}:
                    raise BenchmarkError("a session read something else")

            figures = take_turns(
                [
                    Case("sharded.plain", sync_loop(plain)),
                    Case("sharded.session", sync_loop(sharded), check),
                    Case("peer.sharded_session", sync_loop(peer)),
                ],
                quick=quick,
            )
    tell(figures, report)
    pairs = zip(figures["sharded.session"], figures["sharded.plain"], strict=True)
    report.spread("sharded.added.us", [ours - without for ours, without in pairs])
