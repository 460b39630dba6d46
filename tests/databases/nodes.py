"""A primary and replicas that are files of SQLite; the test says what the monitor sees."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Engine, Integer, MetaData, Table, Text, create_engine, event, insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from escala.balancing import RoundRobin
from escala.databases.pure.topology import Sighting, Topology
from escala.databases.replicas.cluster import Cluster
from escala.databases.replicas.database_url import NodeUrl
from escala.databases.replicas.node import Node
from escala.databases.replicas.reading_functions import READING
from escala.databases.replicas.replicas import Replicas
from escala.databases.replicas.router import Router
from escala.databases.replicas.routing_session import RoutingSession

WHO = Table("who", MetaData(), Column("id", Integer, primary_key=True), Column("name", Text))
NOTES = Table("notes", MetaData(), Column("id", Integer, primary_key=True), Column("body", Text))


class FileNode(Node):
    """A file whose table `who` says its name; it can be dead, and it can say how far it is."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(NodeUrl(make_url(f"sqlite:///{folder / name}")), {}, lambda *_: None)
        self.called = name
        self.url.sqlite = False  # so that it is watched and read like a server
        self.dead = False
        self.lsn = 0
        self._engine = create_engine(f"sqlite:///{folder / name}", poolclass=NullPool)
        event.listen(self._engine, "connect", _in_haste)
        with self._engine.begin() as connection:
            for table in (WHO, NOTES):
                table.create(connection)
            connection.execute(insert(WHO).values(id=1, name=name))

    def bind(self, *, writes: bool, asynchronous: bool) -> Engine:
        return self._engine

    def close(self) -> None:
        self._engine.dispose()


def _in_haste(connection: Any, _record: object) -> None:
    """No test needs what the disk would keep."""
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")


class Clock:
    """Time that passes a little with each look at it."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        self.time += 1e-6
        return self.time


class Cloud:
    """ "p" is the primary of "a" and "b"; `look` is a round of the monitor."""

    def __init__(self, folder: Path, names: str = "pab", **options: Any) -> None:
        self.now = Clock()
        self.nodes = [FileNode(folder, name) for name in names]
        topology = Topology(list(names), max_bytes=1000, max_age=2.0, slow_start=0.0)
        self.cluster = Cluster("cloud", topology)
        self.suspected: list[int] = []
        self.cluster.suspect = self.suspected.append
        self.replicas = Replicas(RoundRobin(), random.Random(1).random)
        said: dict[str, Any] = {"fallback": "primary", "moves": False, "functions": READING}
        said |= {"scope": id(self), "asynchronous": False, **options}
        self.router = Router(self.nodes, self.cluster, self.replicas, self.now, **said)
        self.asked: list[str] = []
        self.router.ask = self._ask  # type: ignore[method-assign]
        self.look()

    def look(self, *nodes: str, passed: float = 1.0) -> None:
        self.now.time += passed
        for index, node in enumerate(self.nodes):
            if not nodes or node.called in nodes:
                at = self.now.time
                first = index == 0
                self.cluster.saw(Sighting(index, at, at, 7, not first, 1, node.lsn))

    def write(self, amount: int = 10) -> None:
        """The primary is so many bytes further."""
        self.nodes[0].lsn += amount

    def session(self, **options: Any) -> RoutingSession:
        return RoutingSession(router=self.router, **options)

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def _ask(self, engine: Engine, question: object) -> int:
        node = next(node for node in self.nodes if node._engine is engine)
        self.asked.append(node.called)
        if node.dead:
            raise gone("connect")
        return node.lsn


def gone(what: str, *, invalidated: bool = False) -> OperationalError:
    return OperationalError(what, {}, Exception("gone"), connection_invalidated=invalidated)


def clouds(folder: Path) -> Iterator[Callable[..., Cloud]]:
    """Makes clouds, and closes them."""
    made: list[Cloud] = []

    def make(names: str = "pab", **options: Any) -> Cloud:
        place = folder / str(len(made))
        place.mkdir()
        made.append(Cloud(place, names, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
