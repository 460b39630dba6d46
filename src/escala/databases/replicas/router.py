"""Decides which node a transaction is for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Self

from sqlalchemy import Engine, TextClause, text
from sqlalchemy.exc import SQLAlchemyError

from escala.databases.pure.wal_position import without_header
from escala.databases.replicas.cluster import Cluster
from escala.databases.replicas.node import Node
from escala.databases.replicas.replicas import Pick, Replicas
from escala.databases.replicas.seen import Seen
from escala.databases.replicas.statement_kind import StatementKinds
from escala.errors import NoHealthyBackend, NoPrimary, Unavailable

_REPLAYED = text("SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint")
_INSERTED = text("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")


class Route:
    """Where a transaction goes, and for a replica, what has to be given back."""

    __slots__ = ("_dropped", "engine", "lsn", "node", "pick", "took")
    _dropped: deque[Pick]

    def __init__(self, engine: Engine, node: int) -> None:
        self.engine, self.node = engine, node
        self.pick: Pick | None = None
        self.lsn = 0
        self.took: float | None = None

    @classmethod
    def reading(cls, engine: Engine, pick: Pick, lsn: int, dropped: deque[Pick]) -> Self:
        """To a replica; when the session is lost without an end, `dropped` is told."""
        route = cls(engine, pick.node)
        route.pick, route.lsn, route._dropped = pick, lsn, dropped
        return route

    def __del__(self) -> None:
        """The session was never closed."""
        if self.pick is not None:
            self._dropped.append(self.pick)


class Router:
    """The nodes of a database as the sessions of one colour reach them."""

    def __init__(
        self,
        nodes: Sequence[Node],
        cluster: Cluster,
        replicas: Replicas,
        now: Callable[[], float],
        *,
        scope: int,
        asynchronous: bool,
        fallback: str,
        moves: bool,
        functions: Collection[str],
    ) -> None:
        self._nodes, self._cluster, self._replicas = nodes, cluster, replicas
        self._asynchronous, self._fallback = asynchronous, fallback
        self.now, self.moves, self.scope = now, moves, scope
        self.reads = StatementKinds(functions).only_reads
        """Whether a replica may answer a statement."""
        self.alone = len(nodes) == 1
        self.embedded = nodes[0].url.sqlite

    def primary(self) -> Route:
        """The primary. Raises `NoPrimary`."""
        node = self._cluster.view.primary
        if node is None:
            raise NoPrimary(
                f"database {self._cluster.name}: no node can be trusted to take writes now "
                f"({self._cluster.why()})"
            )
        return Route(self._nodes[node].bind(writes=True, asynchronous=self._asynchronous), node)

    def replica(self, seen: Seen, skip: Collection[int] = ()) -> Route:
        """A replica that has replayed what was seen, or else the primary, or a refusal.

        Raises `NoHealthyBackend` when the fallback is to refuse.
        """
        view = self._cluster.view
        if not view.readable and self._fallback == "primary":
            return self.primary()
        floor = seen.floor(view)
        if floor is not None:
            late = floor and [node for node, _ in view.readable if view.nodes[node].lsn < floor]
            pick = self._replicas.pick(view, self.now(), {*skip, *late} if late else skip)
            if pick is not None:
                return self._route(pick, view.nodes[pick.node].lsn)
            if late and (route := self._caught_up(floor, skip)):
                return route
        if self._fallback == "primary":
            return self.primary()
        raise NoHealthyBackend(
            f"database {self._cluster.name}: no replica can answer now, or none has caught up with "
            f"what was seen already ({self._cluster.why()}); set fallback='primary' to ask it"
        )

    def release(self, route: Route) -> None:
        """The transaction is over."""
        pick, route.pick = route.pick, None
        if pick is not None:
            self._replicas.release(pick, self.now(), route.took)

    def suspect(self, route: Route) -> None:
        """A statement found the node not to answer."""
        self._cluster.suspect(route.node)

    def written(self, seen: Seen) -> None:
        """Ask the primary how far it is, so that what was seen there is known in bytes.

        Raises `NoPrimary` when it does not say.
        """
        began = self.now()
        timeline, primary = self._cluster.view.timeline, self.primary()
        try:
            lsn = self.ask(primary.engine, _INSERTED)
        except (SQLAlchemyError, OSError) as error:
            self._cluster.suspect(primary.node)
            raise NoPrimary(
                f"database {self._cluster.name}: the primary does not say how far it is: {error}"
            ) from error
        seen.asked(began, without_header(lsn), timeline)

    def _route(self, pick: Pick, lsn: int) -> Route:
        engine = self._nodes[pick.node].bind(writes=False, asynchronous=self._asynchronous)
        return Route.reading(engine, pick, lsn, self._replicas.dropped)

    def _caught_up(self, floor: int, skip: Collection[int]) -> Route | None:
        """One of the replicas, if it has come that far since the monitor looked.

        The one is asked that lacked least then.
        """
        view = self._cluster.view
        known = {node: view.nodes[node].lsn for node, _ in view.readable if node not in skip}
        behind = [node for node in known if known[node] < max(known.values())]
        pick = self._replicas.pick(view, self.now(), {*skip, *behind})
        if pick is None:
            return None
        engine = self._nodes[pick.node].bind(writes=False, asynchronous=self._asynchronous)
        try:
            lsn = self.ask(engine, _REPLAYED)
        except (SQLAlchemyError, OSError, Unavailable):
            lsn = -1
            self._cluster.suspect(pick.node)
        except BaseException:
            self._replicas.release(pick, self.now(), None)
            raise
        if lsn >= floor:
            return Route.reading(engine, pick, lsn, self._replicas.dropped)
        self._replicas.release(pick, self.now(), None)
        return None

    @staticmethod
    def ask(engine: Engine, question: TextClause) -> int:
        """One number from a node."""
        with engine.connect() as connection:
            return int(connection.scalar(question) or 0)
