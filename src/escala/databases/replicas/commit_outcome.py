"""Commits whose outcome no one knows are told apart from those that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from escala.databases.replicas.session_internals import commits_itself
from escala.databases.replicas.statement_kind import only_reads
from escala.errors import CommitUnknown

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.pool import ConnectionPoolEntry

_COMMITTING = "escala_committing"
_ALONE = "escala.alone"
ALONE = (
    "{} has committed, but the wait for its standbys was cancelled: if it is lost now, so is the "
    "transaction. Look whether it is there before you repeat it"
)
SHUTDOWN = "57P01"  # admin_shutdown: a server that says so has not committed
WAIT = "SyncRepWaitForLSN"  # the server's function that waits for standbys: never translated


def tell_unknown_commits(engine: Engine, name: str) -> None:
    """Have commits of this engine raise `CommitUnknown` where the outcome is not known.

    That is where the connection breaks between the COMMIT and its answer, and where the server
    says that the wait for its standbys was cancelled: then it has committed, and no one else has.
    In AUTOCOMMIT a statement is its own commit, unless it is a query that only reads.
    A connection that breaks before is the driver's usual error: nothing was committed.
    """
    dialect = engine.dialect
    commit = dialect.do_commit

    def do_commit(connection: Any) -> None:  # noqa: ANN401  the pool's proxy of a driver's connection
        connection.info.pop(_ALONE, None)
        try:
            commit(connection)
        except Exception as error:
            setattr(error, _COMMITTING, True)
            raise
        _is_alone(connection.info, name)

    def executed(connection: Connection, *_: object) -> None:
        if _ALONE in connection.info and commits_itself(connection):
            _is_alone(connection.info, name)

    def failed(context: ExceptionContext) -> CommitUnknown | None:
        connection, error = context.connection, context.original_exception
        if connection is None or connection.invalidated:
            return None
        if not (hasattr(error, _COMMITTING) or _commits(connection, context)):
            return None
        # A driver may pass on what its socket said, which SQLAlchemy takes for no disconnect.
        if isinstance(error, OSError):
            context.is_disconnect = True
        if not context.is_disconnect or not isinstance(error, Exception):
            return None
        return CommitUnknown(
            f"the connection to {name} broke while it was committing: it has, or it has not. Look "
            "whether the transaction is there before you repeat it"
        )

    # There is no event after a commit.
    dialect.do_commit = do_commit  # type: ignore[method-assign,assignment]
    event.listen(engine, "connect", _listen)
    event.listen(engine, "after_cursor_execute", executed)
    event.listen(engine, "handle_error", failed)


def _is_alone(info: dict[Any, Any], name: str) -> None:
    if info.pop(_ALONE, False):
        raise CommitUnknown(ALONE.format(name))


def _commits(connection: Connection, context: ExceptionContext) -> bool:
    """Whether what failed is a statement that would have committed itself."""
    execution: Any = context.execution_context
    if execution is None or not commits_itself(connection):
        return False
    refused = getattr(context.original_exception, "sqlstate", None) == SHUTDOWN
    return not refused and not only_reads(execution.invoked_statement)


def _listen(_connection: object, record: ConnectionPoolEntry) -> None:
    """Hear the warning that a commit waits for no standby any more."""
    driver: Any = record.driver_connection

    def noticed(said: Any) -> None:  # noqa: ANN401  psycopg's Diagnostic
        if said.source_function == WAIT:
            record.info[_ALONE] = True

    def logged(_driver: object, said: Any) -> None:  # noqa: ANN401  asyncpg's PostgresMessage
        if said.server_source_function == WAIT:
            record.info[_ALONE] = True

    if hasattr(driver, "add_notice_handler"):
        driver.add_notice_handler(noticed)
    else:
        driver.add_log_listener(logged)
