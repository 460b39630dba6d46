"""Django on a `Database`: reads go to replicas, writes to the primary, wherever that is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Self

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django import conf  # not `settings` itself: doctest looks into what a module names
from django.db import DatabaseError, connections
from django.db import router as project
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from escala.adapters.seen_fields import COOKIE, HEADER, KEPT, SAFE
from escala.databases.replicas.consistency import Consistency, scope
from escala.databases.replicas.database import Database
from escala.errors import ConfigError, NoHealthyBackend, Unavailable
from escala.kernel.runtime import colours
from escala.kernel.wrong_value import sentence


class ReplicaRouter:
    """A router of Django: `DATABASE_ROUTERS = [ReplicaRouter(db, {"h2:5432": "h2", ...})]`.

    `nodes` says which alias of `DATABASES` leads to which node of the database, all of which may
    be read; `primary` is the alias with the engine `escala.adapters.django_postgresql`, which
    leads to the primary, wherever that is. Within a `visit`, which the middleware opens for each
    request, reads go to a replica that has what the visit has seen. They go to the primary inside
    a transaction there, and outside of a visit, where no one knows what the reader has seen.

    Raises `ConfigError` for a node that the database does not have.
    """

    def __init__(
        self, database: Database, nodes: Mapping[str, str], *, primary: str = "default"
    ) -> None:
        names = [node.name for node in database.nodes]
        for name in nodes:
            if name not in names:
                listed = ", ".join(names)
                raise ConfigError(
                    f"ReplicaRouter: nodes: {sentence(f'some of {listed}', repr(name))}"
                )
        self.database, self.primary = database, primary
        self._aliases = {names.index(name): alias for name, alias in nodes.items()}
        self._others = frozenset(range(len(names))) - self._aliases.keys()

    def visit(self, token: str | None = None) -> Visit:
        """For reads that see what they have written, and what the token's holder had seen.

        The middleware does it for requests; do it yourself in a task or a command.
        """
        return Visit(self.database, token)

    def db_for_read(self, _model: object, **_hints: object) -> str:
        """A replica that has what was seen, or the primary."""
        visit = _visit.get()
        if visit is None or visit.database is not self.database:
            return self.primary
        for alias in (self.primary, *self._aliases.values()):
            if connections[alias].in_atomic_block:
                visit.touched |= alias == self.primary
                return alias
        visit.settle()
        skip = set(self._others)
        while (found := self._replica(visit, skip)) is not None:
            node, lsn = found
            try:
                connections[self._aliases[node]].ensure_connection()
            except (DatabaseError, Unavailable):
                self.database.cluster.suspect(node)
                skip.add(node)
            else:
                visit.seen.at_replica(lsn)
                return self._aliases[node]
        visit.touched = True
        return self.primary

    def db_for_write(self, _model: object, **_hints: object) -> str:
        """The primary."""
        visit = _visit.get()
        if visit is not None and visit.database is self.database:
            visit.touched = visit.wrote = True
        return self.primary

    def allow_relation(self, one: Any, other: Any, **_hints: object) -> bool | None:  # noqa: ANN401
        """All aliases lead to the same data."""
        ours = {self.primary, *self._aliases.values()}
        return True if {one._state.db, other._state.db} <= ours else None  # noqa: SLF001

    def allow_migrate(self, db: str, _app: str, **_hints: object) -> bool | None:
        """Only at the primary."""
        if db in self._aliases.values():
            return db == self.primary
        return None

    def _replica(self, visit: Visit, skip: set[int]) -> tuple[int, int] | None:
        try:
            route = self.database.router.replica(visit.seen, skip)
        except (NoHealthyBackend, Unavailable):
            return None
        if route.pick is None:
            return None
        self.database.router.release(route)  # Django does not say when a query is over
        return route.node, route.lsn


class Visit:
    """What one request, task or command has seen; made by `ReplicaRouter.visit`."""

    def __init__(self, database: Database, token: str | None) -> None:
        self.database = database
        self._consistency = Consistency(database, token)
        self._before: Token[Visit | None] | None = None
        self.touched = False
        """Whether the primary was used since that was last settled."""
        self.wrote = False

    def __enter__(self) -> Self:
        """From here on, for this thread or task and what it awaits."""
        self._consistency.__enter__()
        found = scope(id(self.database))
        assert found is not None  # noqa: S101  it was entered
        self.seen = found
        self._before = _visit.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """No longer."""
        if self._before is not None:
            _visit.reset(self._before)
        self._consistency.__exit__(kind, error, trace)

    def settle(self) -> None:
        """What was done at the primary so far is seen: no replica answers that is behind it."""
        if self.touched:
            self.seen.at_primary(colours.thread.now())
            self.touched = False

    def token(self) -> str:
        """What was seen, as signed text. Raises `ConfigError` where the database has no secret."""
        self.settle()
        return self._consistency.token()


class ConsistencyMiddleware:
    """Whoever has written sees it in the requests that follow, by a signed cookie.

    Each request is a visit of the project's `ReplicaRouter`. After a request that wrote (or whose
    method may: all but GET, HEAD and OPTIONS) the answer sets the cookie `escala_seen`, and the
    same as the field `Escala-Seen` for clients without cookies; it goes out without both where the
    primary is gone by then. Serves sync and async views.
    """

    sync_capable = True
    async_capable = True

    def __init__(
        self, get_response: Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]
    ) -> None:
        self._get_response: Callable[[HttpRequest], Any] = get_response
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)
        self._router = replica_router()
        self._router.database.consistency("")  # refused without a secret

    def __call__(self, request: HttpRequest) -> Any:  # noqa: ANN401  an answer or a promise of one
        """Serve one request."""
        if self._async:
            return self._served(request)
        with self._router.visit(_token(request)) as visit:
            answer = self._get_response(request)
            if _writes(request, visit):
                with suppress(Unavailable):
                    _tell(answer, visit.token(), request)
        return answer

    async def _served(self, request: HttpRequest) -> HttpResponse:
        with self._router.visit(_token(request)) as visit:
            answer: HttpResponse = await self._get_response(request)
            if _writes(request, visit):
                with suppress(Unavailable):
                    _tell(answer, await sync_to_async(visit.token)(), request)
        return answer


def replica_router() -> ReplicaRouter:
    """The one of this project. Raises `ConfigError` where it has none."""
    for each in project.routers:
        if isinstance(each, ReplicaRouter):
            return each
    raise ConfigError("DATABASE_ROUTERS: expected a ReplicaRouter among them, found none")


_visit: ContextVar[Visit | None] = ContextVar("escala_visit", default=None)


def _token(request: HttpRequest) -> str | None:
    given: str | None = request.headers.get(HEADER) or request.COOKIES.get(COOKIE)
    return given


def _writes(request: HttpRequest, visit: Visit) -> bool:
    if request.method not in SAFE:
        visit.touched = visit.wrote = True
    return visit.wrote


def _tell(answer: HttpResponse, token: str, request: HttpRequest) -> None:
    answer.headers[HEADER] = token
    answer.set_cookie(
        COOKIE,
        token,
        max_age=KEPT,
        secure=request.is_secure() or conf.settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    patch_vary_headers(answer, ("Cookie",))
