"""A primary and its replicas as one database: writes go to the one, reads to the others."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Engine
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from escala.balancing.balancer import Balancer
from escala.databases.pure.durability import Durability
from escala.databases.pure.token import Position, position, signed
from escala.databases.pure.topology import Sighting, Topology
from escala.databases.replicas.cluster import Cluster
from escala.databases.replicas.commit_outcome import tell_unknown_commits
from escala.databases.replicas.consistency import Consistency
from escala.databases.replicas.database_options import (
    DatabaseOptions,
    engine_options,
    read_policy,
    reading_functions,
    signing_key,
)
from escala.databases.replicas.database_options import (
    quorum as quorum_of,
)
from escala.databases.replicas.database_url import node_urls
from escala.databases.replicas.fence import fence
from escala.databases.replicas.lag import Lag
from escala.databases.replicas.monitor import Monitor
from escala.databases.replicas.node import Node
from escala.databases.replicas.quiet_end import end_quietly
from escala.databases.replicas.replicas import Replicas
from escala.databases.replicas.router import Router
from escala.databases.replicas.routing_session import RoutingSession
from escala.databases.replicas.safety import durability, failed_over
from escala.databases.replicas.seen import Seen
from escala.errors import ConfigError, NoPrimary
from escala.kernel.config import options
from escala.kernel.runtime import Runtime, colours, drive
from escala.kernel.wrong_value import sentence, shown

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

    from escala.databases.replicas.failover import Promoted

_GLANCE = 0.01
_QUORUM = (
    ". A majority of the nodes has to answer, unless Database(quorum=...) says that fewer do: then "
    "an old primary that comes up alone is written to"
)


class Database:
    """PostgreSQL with replicas behind SQLAlchemy's own sessions, or a file of SQLite.

        db = Database("postgresql://app@h1,h2,h3/shop", secret=os.environ["SECRET"])
        with db, db.session() as session:
            user = session.get(User, 1)  # from a replica
        async with db.asession(write=True) as session: ...

    The roles of the nodes are found out and watched: each is asked every `interval` seconds
    (250 ms) and has `patience` seconds (500 ms) to answer. Each transaction goes to one node: to
    a replica when its first statement is a plain query, else to the primary, with `write=True`
    from its beginning on. A write in a transaction that began on a replica raises
    `ReadOnlyTransaction`; with `upgrade="move"` the transaction goes on at the primary instead,
    where what was read before may have changed meanwhile.

    - `lag`: how far behind a replica may be and still be read.
    - `policy`: how reads are spread, a balancer or its name ("p2c", "round_robin", ...).
    - `fallback`: where reads go when no replica can take them: "primary", or "refuse"
      (`NoHealthyBackend`).
    - `functions`: names of SQL functions that only read, beside the well-known ones; a query
      with any other function goes to the primary.
    - `slow_start`: seconds over which a replica that was out comes back to its full share.
    - `quorum`: how many nodes have to answer before any is believed, a majority of those in the
      URL. With fewer, an old primary that comes up alone is written to, and what it takes is lost.
    - `secret`: what tokens of `consistency` are signed with, the same in all processes; 16
      bytes at least.
    - Everything else goes to SQLAlchemy's `create_engine`, such as `pool_size=`.

    A session never reads the past of what it has written or read. Across sessions, processes and
    services that holds inside `consistency`. Raises `ConfigError`.
    """

    def __init__(
        self,
        url: str,
        *,
        lag: Lag | None = None,
        policy: Balancer | str = "p2c",
        fallback: str = "primary",
        upgrade: str = "refuse",
        functions: Collection[str] = (),
        slow_start: float | str = "10s",
        interval: float | str = "250ms",
        patience: float | str = "500ms",
        wait: float | str = "5s",
        quorum: int | None = None,
        secret: str | bytes | None = None,
        rng: random.Random | None = None,
        **engine: Any,  # noqa: ANN401  SQLAlchemy's own
    ) -> None:
        urls = node_urls(url)
        said: dict[str, object] = {
            "fallback": fallback,
            "upgrade": upgrade,
            "slow_start": slow_start,
        }
        said |= {"interval": interval, "patience": patience, "wait": wait, "quorum": quorum}
        known = options(DatabaseOptions, said, where="Database")
        reading, chosen = reading_functions(functions), read_policy(policy)
        engine_options(engine)
        self._secret = signing_key(secret)
        self._wait = float(known.wait)
        self.sqlite = urls[0].sqlite
        self.name = ",".join(each.name for each in urls)
        lag = Lag() if lag is None else lag
        if not isinstance(lag, Lag):
            raise ConfigError(f"Database: lag: {sentence('a Lag(...)', shown(lag))}")
        topology = Topology(
            [each.name for each in urls],
            max_bytes=lag.max_bytes,
            max_age=lag.max_age,
            slow_start=known.slow_start,
            quorum=quorum_of(known.quorum, len(urls)),
        )
        self.cluster = Cluster(self.name, topology)
        self.nodes = tuple(Node(each, engine, self._prepare) for each in urls)
        self._check(engine)
        self._replicas = Replicas(chosen, (rng or random.Random()).random)
        self._sync, self._async = (
            Router(
                self.nodes,
                self.cluster,
                self._replicas,
                colours.thread.now,
                scope=id(self),
                asynchronous=asynchronous,
                fallback=known.fallback,
                moves=known.upgrade == "move",
                functions=reading,
            )
            for asynchronous in (False, True)
        )
        self._monitor = None
        if self.sqlite:
            now = colours.thread.now()
            self.cluster.saw(Sighting(0, now, now, 0, in_recovery=False, timeline=0, lsn=0))
        else:
            self._monitor = Monitor(
                self.cluster,
                [each.conninfo for each in urls],
                interval=known.interval,
                patience=known.patience,
            )

    def __repr__(self) -> str:
        return f"Database({self.name!r})"

    @property
    def engine(self) -> Engine:
        """The primary's engine for sync code. Raises `NoPrimary`."""
        return self._sync.primary().engine

    @property
    def async_engine(self) -> AsyncEngine:
        """The primary's engine for async code. Raises `NoPrimary`."""
        return self.nodes[self._async.primary().node].async_engine()

    @property
    def router(self) -> Router:
        """Which node a transaction of sync code is for; for adapters."""
        return self._sync

    def session(self, *, write: bool = False, **options: Any) -> Session:  # noqa: ANN401
        """A session of SQLAlchemy; `write=True` when it is known that it will write.

        `options` are those of `Session`, such as `expire_on_commit=False`.
        """
        return RoutingSession(router=self._sync, write=write, **options)

    def asession(self, *, write: bool = False, **options: Any) -> AsyncSession:  # noqa: ANN401
        """As `session`, in async code: an `AsyncSession`."""
        from sqlalchemy.ext.asyncio import AsyncSession

        return AsyncSession(
            sync_session_class=RoutingSession, router=self._async, write=write, **options
        )

    def consistency(self, token: str | None = None) -> Consistency:
        """For every session inside: read nothing older than what the token's holder had seen.

            with db.consistency(token=request.cookies.get("seen")) as seen:
                ...
                response.set_cookie("seen", seen.token())

        A text that this database's secret has not signed counts as no token, since it may be
        anyone's; so there is no error for it.
        """
        if token is not None:
            self._signed_with()
            if not isinstance(token, str):
                found = type(token).__name__
                raise ConfigError(f"Database.consistency: token: {sentence('text', found)}")
        return Consistency(self, token)

    def join(self, seen: Seen, token: str | None) -> None:
        """Raise a floor to what a token says."""
        found = position(token, self._signed_with()) if token else None
        if found is None:
            return
        if found.system_id == self.cluster.view.system_id:
            seen.at_least(found.lsn, found.timeline)
        elif not self.sqlite:  # of another system, so that bytes say nothing: all until now
            seen.at_primary(colours.thread.now())

    def token(self, seen: Seen) -> str:
        """A floor as signed text; see `Consistency.token`."""
        self._signed_with()
        if seen.floor(self.cluster.view) is None:
            self._sync.written(seen)
        return self._token(seen)

    async def atoken(self, seen: Seen) -> str:
        """As `token`, in async code."""
        self._signed_with()
        if seen.floor(self.cluster.view) is None:
            async with self.asession() as session:
                await session.run_sync(lambda _: self._async.written(seen))
        return self._token(seen)

    def snapshot(self) -> dict[str, Any]:
        """The nodes and what is known of them, as plain values for a status page."""
        view = self.cluster.view
        return {
            "primary": None if view.primary is None else view.nodes[view.primary].name,
            "timeline": view.timeline,
            "system_id": view.system_id,
            "nodes": [
                {**node._asdict(), "in_flight": self._replicas.in_flight.get(index, 0)}
                for index, node in enumerate(view.nodes)
            ],
        }

    def failover(self, *, to: str | None = None, allow_loss: bool = False) -> Promoted:
        """Give the database a new primary: the standby that has every acknowledged commit.

        Nothing is done while a primary answers, unless `to` names the standby ("h2:5432") that it
        is to hand over to. Raises `NoPrimary` with the reason when commits that were acknowledged
        may be lost, because the settings could not keep them or too few standbys can be reached;
        `allow_loss=True` promotes the most advanced one all the same. The role of the URL needs
        the privileges that the page on failover names.
        """
        return drive(self._failed_over(colours.thread, to, allow_loss=allow_loss))

    async def afailover(self, *, to: str | None = None, allow_loss: bool = False) -> Promoted:
        """As `failover`, in async code."""
        return await self._failed_over(colours.loop, to, allow_loss=allow_loss)

    def check_durability(self) -> Durability:
        """Whether acknowledged commits outlive the primary, by the settings that it has now.

        `keeps` says it, `problems` what to set. The role of the URL needs `pg_monitor`. Raises
        `NoPrimary` when no primary can be asked.
        """
        return drive(durability(self.nodes, colours.thread))

    async def acheck_durability(self) -> Durability:
        """As `check_durability`, in async code."""
        return await durability(self.nodes, colours.loop)

    async def _failed_over(self, runtime: Runtime, to: str | None, *, allow_loss: bool) -> Promoted:
        return await failed_over(self.nodes, self.cluster, runtime, to=to, allow_loss=allow_loss)

    def open(self) -> None:
        """Start to watch the nodes, and wait until their roles are known.

        Raises `NoPrimary` when there is neither a primary nor a replica to be found within `wait`
        seconds, and `ConfigError` for a node that belongs to another cluster.
        """
        drive(self._opened(colours.thread))

    async def aopen(self) -> None:
        """As `open`, in async code."""
        await self._opened(colours.loop)

    def close(self) -> None:
        """Stop to watch, and close what no session uses; after async sessions, use `aclose`."""
        if self._monitor is not None:
            self._monitor.stop()
        for node in self.nodes:
            node.close()

    async def aclose(self) -> None:
        """As `close`, for the engines of both colours."""
        if self._monitor is not None:
            await asyncio.to_thread(self._monitor.stop)
        for node in self.nodes:
            await node.aclose()

    def __enter__(self) -> Self:
        """Open it."""
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    async def __aenter__(self) -> Self:
        """Open it."""
        await self.aopen()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.aclose()

    async def _opened(self, runtime: Runtime) -> None:
        if self._monitor is None:
            return
        began = self._monitor.start()
        until = runtime.now() + self._wait
        try:
            while not self._known() and runtime.now() < until:
                await runtime.sleep(_GLANCE)
            self._judge()
        except BaseException:
            if began:
                self._monitor.stop()
            raise

    def _known(self) -> bool:
        looked = len(self.cluster.looked) == len(self.nodes)
        return looked and self.cluster.view.primary is not None

    def _judge(self) -> None:
        view = self.cluster.view
        strangers = [node for node in view.nodes if node.role == "stranger"]
        if strangers:
            raise ConfigError(
                f"Database: expected nodes of one cluster, found {self.cluster.why()}"
            )
        if view.primary is None and not view.readable:
            raise NoPrimary(
                f"database {self.name}: no primary was found within {self._wait:g} s "
                f"({self.cluster.why()})"
                + (_QUORUM if view.system_id is None and len(self.nodes) > 1 else "")
            )

    def _signed_with(self) -> bytes:
        if self._secret is None:
            raise ConfigError("Database: secret: expected one to sign tokens with, found nothing")
        return self._secret

    def _token(self, seen: Seen) -> str:
        view = self.cluster.view
        where = Position(view.system_id or 0, max(view.timeline, seen.timeline), seen.lsn)
        return signed(where, self._signed_with())

    def _check(self, engine: Mapping[str, Any]) -> None:
        """What SQLAlchemy has against its options it says now, and not at the first session."""
        try:
            self.nodes[0].engine()
        except (TypeError, ArgumentError) as error:
            listed = ", ".join(engine) or "(there are none)"
            raise ConfigError(
                f"Database: the options of its engines ({listed}): {error}"
            ) from error
        except ImportError as error:
            raise ConfigError(
                f"Database: {error}: pip install 'escala[sqlalchemy]' has the drivers"
            ) from error

    def _prepare(self, node: Node, engine: Engine, writes: bool) -> None:  # noqa: FBT001
        """What every new engine gets."""
        if not self.sqlite:
            fence(engine, self.cluster, self.nodes.index(node), writes=writes)
            if writes:
                tell_unknown_commits(engine, node.name)
            else:
                end_quietly(engine)
