"""A session whose transactions each go to one node, the one that can answer them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from sqlalchemy import ClauseElement, Connection, Engine, event
from sqlalchemy.orm import Session, SessionTransaction

from escala.databases.replicas.consistency import scope
from escala.databases.replicas.router import Route, Router
from escala.databases.replicas.seen import Seen
from escala.databases.replicas.session_internals import forget_connections, is_connected
from escala.databases.replicas.trouble import gone, needs_primary
from escala.errors import ConfigError, ReadOnlyTransaction


def _routed(call: Callable[..., Any]) -> Callable[..., Any]:
    """A method of `Session` that, as the first of a transaction, finds a node that answers."""

    @wraps(call)
    def routed(self: RoutingSession, statement: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        if self._route is not None or self._always:
            return call(self, statement, *args, **options)
        return self._first(partial(call, self, statement, *args, **options), statement)

    return routed


class RoutingSession(Session):
    """A `Session` for both colours: `AsyncSession(sync_session_class=RoutingSession)`.

    Where a transaction goes is decided by its first statement and holds until it ends: a plain
    query goes to a replica that has what this session has seen, everything else to the primary.
    Made by `Database.session` and `Database.asession`.
    """

    def __init__(
        self,
        bind: object = None,
        *,
        router: Router,
        write: bool = False,
        **options: Any,  # noqa: ANN401  `Session`'s own
    ) -> None:
        if bind is not None or options.get("binds"):
            raise ConfigError("a session of Database: bind: expected none, since it finds its node")
        self._router, self._write = router, write
        self._route: Route | None = None
        self._tried: set[int] = set()
        self._seen = Seen()
        super().__init__(**options)
        self._always = write or bool(self.twophase) or router.alone

    def get_bind(
        self,
        mapper: Any = None,  # noqa: ANN401, ARG002  as `Session` has it
        *,
        clause: ClauseElement | None = None,
        bind: Engine | Connection | None = None,
        **_: Any,  # noqa: ANN401  some of SQLAlchemy's own
    ) -> Engine | Connection:
        """The node of this transaction, found at its first statement.

        Raises `ReadOnlyTransaction`, `NoPrimary`, `NoHealthyBackend`.
        """
        if bind is not None:
            return bind
        route = self._route
        if route is not None and route.pick is None:
            return route.engine
        if route is None:
            route = self._route = self._found(clause)
        elif not self._router.reads(clause):
            route = self._upgraded()
        return route.engine

    if not TYPE_CHECKING:  # typed as `Session` has them
        execute = _routed(Session.execute)
        scalar = _routed(Session.scalar)
        scalars = _routed(Session.scalars)

    def _first(self, call: Callable[[], Any], statement: object) -> object:
        if getattr(statement, "is_dml", False):
            self._route = self._found(None)
        began = self._router.now()
        while True:
            try:
                answer = call()
            except Exception as error:
                if not self._turns_from(error):
                    raise
            else:
                if self._route is not None:
                    self._route.took = self._router.now() - began
                return answer

    def _found(self, clause: object) -> Route:
        around = scope(self._router.scope)
        if around is not None and around is not self._seen:
            around.join(self._seen)
            self._seen = around
        if self._always or clause is None or not self._router.reads(clause):
            return self._router.primary()
        route = self._router.replica(self._seen, self._tried)
        if route.pick is not None:
            self._seen.at_replica(route.lsn)
        return route

    def _turns_from(self, error: Exception) -> bool:
        """Whether to try another node, which is then the next to be found."""
        route = self._route
        if route is None or route.pick is None or self.in_nested_transaction():
            return False
        if needs_primary(error):
            self._leave(route)
            self._route = self._router.primary()
            return True
        if not gone(error, connected=is_connected(self)):
            return False
        self._router.suspect(route)
        self._tried.add(route.node)
        self._leave(route)
        return True

    def _upgraded(self) -> Route:
        """A statement that may write has come to a replica's transaction."""
        moves = self._router.moves and not self.in_nested_transaction()
        if not moves and is_connected(self):  # else no one has read anything yet
            raise ReadOnlyTransaction(
                "this transaction began with a query that went to a replica, and now comes "
                "something that may write: begin with session(write=True), commit before it, or "
                "name harmless functions in Database(functions=[...])"
            )
        route = self._route
        if route is not None:
            self._leave(route)
        self._route = self._router.primary()
        return self._route

    def _leave(self, route: Route) -> None:
        forget_connections(self)
        self._router.release(route)
        self._route = None

    def _ended(self) -> None:
        route, self._route = self._route, None
        self._tried.clear()
        if route is None:
            return
        if route.pick is not None:
            self._router.release(route)
        elif not self._router.embedded:
            self._seen.at_primary(self._router.now())


@event.listens_for(RoutingSession, "after_transaction_end")
def _over(session: RoutingSession, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session._ended()  # noqa: SLF001  the other half of the class
