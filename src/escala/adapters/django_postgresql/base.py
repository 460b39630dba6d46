"""Django's PostgreSQL, connected to whichever node is the primary, and to nothing else."""

from __future__ import annotations

import re
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError
from django.db.backends.postgresql import base

from escala.adapters.django_database import replica_router
from escala.databases.pure.identity import check
from escala.databases.replicas.commit_outcome import ALONE, SHUTDOWN, WAIT
from escala.databases.replicas.fence import who
from escala.errors import CommitUnknown, Fenced, NoPrimary

_SELECT = re.compile(r"\s*SELECT\b", re.IGNORECASE)
_BROKE = (
    "the connection to {} broke while it was committing: it has, or it has not. Look whether the "
    "transaction is there before you repeat it"
)

# Django has no types, so its classes are `Any` to a type checker.


class FencedError(Fenced, OperationalError):  # type: ignore[misc]
    """`Fenced`, as Django wants an error of a database to be."""


class NoPrimaryError(NoPrimary, OperationalError):  # type: ignore[misc]
    """`NoPrimary`, as Django wants an error of a database to be."""


class CommitUnknownError(CommitUnknown, OperationalError):  # type: ignore[misc]
    """`CommitUnknown`, as Django wants an error of a database to be."""


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]
    """The `HOST` and `PORT` of the settings are not read: the router's database knows them.

    A connection is checked when it is made: a standby, another cluster or an old timeline is
    closed again. It is left when another primary is known, and what began on the old one is
    refused with `Fenced` instead of being committed. `CommitUnknown` is raised where the
    connection breaks at the commit of `atomic()`, or outside of it in a statement that is no
    SELECT, and where the server says that no standby has the commit.
    """

    _generation = -1
    _node = 0
    _alone = False

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  Django's own
        super().__init__(*args, **options)
        self.execute_wrappers.append(self._executed)

    def get_connection_params(self) -> dict[str, Any]:
        """Django's own, with the present primary. Raises `NoPrimaryError`."""
        if self.settings_dict["OPTIONS"].get("pool"):
            raise ImproperlyConfigured(
                "OPTIONS: expected no 'pool', for Django's pool stays with the host that it began "
                "with; CONN_MAX_AGE keeps connections"
            )
        params: dict[str, Any] = super().get_connection_params()
        database = replica_router().database
        view = database.cluster.view
        if view.primary is None:
            raise NoPrimaryError(f"database {database.name}: {database.cluster.why()}")
        self._node, self._generation = view.primary, view.generation
        host, _, port = view.nodes[self._node].name.rpartition(":")
        return {**params, "host": host, "port": port}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:  # noqa: ANN401  psycopg's
        """Connect, and look whether that is the primary."""
        cluster = replica_router().database.cluster
        try:
            connection = super().get_new_connection(conn_params)
        except self.Database.Error:
            cluster.suspect(self._node)
            raise
        try:
            view = cluster.view
            check(who(connection), view.nodes[self._node].name, view, writes=True)
        except BaseException as error:
            connection.close()
            cluster.suspect(self._node)
            if isinstance(error, Fenced):
                raise FencedError(*error.args) from error
            if isinstance(error, NoPrimary):
                raise NoPrimaryError(*error.args) from error
            raise
        connection.add_notice_handler(self._noticed)
        return connection

    def ensure_connection(self) -> None:
        """Leave an old primary's connection, where no transaction is under way."""
        if self.connection is not None and not self.in_atomic_block and self._is_old():
            self.close()
        super().ensure_connection()

    def set_autocommit(self, autocommit: bool, *args: Any, **options: Any) -> None:  # noqa: ANN401, FBT001
        """Not on a connection that is gone: the next one begins with it."""
        if self.connection is not None or not autocommit:
            super().set_autocommit(autocommit, *args, **options)

    def _commit(self) -> None:
        name = self._name()
        if self.connection is not None and self._is_old():
            raise FencedError(
                f"{name} is not the primary any more that it was when this transaction began: "
                "nothing was committed, begin it again"
            )
        self._alone = False
        try:
            super()._commit()
        except (OperationalError, InterfaceError) as error:
            if not self._is_broken():
                raise
            raise CommitUnknownError(_BROKE.format(name)) from error
        self._has_standbys()

    def _executed(self, execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:  # noqa: ANN401
        """Outside of `atomic()` a statement is its own commit."""
        if not self.autocommit:
            return execute(sql, params, many, context)
        self._alone = False
        try:
            answer = execute(sql, params, many, context)
        except (OperationalError, InterfaceError) as error:
            stopped = getattr(error.__cause__, "sqlstate", None) == SHUTDOWN
            if stopped or _SELECT.match(str(sql)) or not self._is_broken():
                raise
            raise CommitUnknownError(_BROKE.format(self._name())) from error
        self._has_standbys()
        return answer

    def _noticed(self, said: Any) -> None:  # noqa: ANN401  psycopg's Diagnostic
        self._alone = self._alone or said.source_function == WAIT

    def _has_standbys(self) -> None:
        if self._alone:
            raise CommitUnknownError(ALONE.format(self._name()))

    def _name(self) -> str:
        return replica_router().database.nodes[self._node].name

    def _is_old(self) -> bool:
        return self._generation != replica_router().database.cluster.view.generation

    def _is_broken(self) -> bool:
        connection = self.connection
        return connection is None or bool(connection.closed)
