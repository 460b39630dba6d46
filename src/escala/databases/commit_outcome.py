"""Commits whose outcome no one knows are told apart from those that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from escala.errors import CommitUnknown

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.pool import ConnectionPoolEntry

_COMMITTING = "escala.committing"
_ALONE = "escala.alone"
_WAIT = "SyncRepWaitForLSN"  # the server's function that waits for standbys: never translated


def tell_unknown_commits(engine: Engine, name: str) -> None:
    """Have commits of this engine raise `CommitUnknown` where the outcome is not known.

    That is where the connection breaks between the COMMIT and its answer, and where the server
    says that the wait for its standbys was cancelled: then it has committed, and no one else has.
    A connection that breaks before is the driver's usual error: nothing was committed.
    """
    dialect = engine.dialect
    commit = dialect.do_commit

    def do_commit(connection: Any) -> None:  # noqa: ANN401  the pool's proxy of a driver's connection
        connection.info.pop(_ALONE, None)
        commit(connection)
        if connection.info.pop(_ALONE, False):
            raise CommitUnknown(
                f"{name} has committed, but the wait for its standbys was cancelled: if it is lost "
                "now, so is the transaction. Look whether it is there before you repeat it"
            )

    def failed(context: ExceptionContext) -> CommitUnknown | None:
        connection, error = context.connection, context.original_exception
        if connection is None or connection.invalidated:
            return None
        if not connection.info.pop(_COMMITTING, False):
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
    event.listen(engine, "begin", _forget)
    event.listen(engine, "commit", _note)
    event.listen(engine, "handle_error", failed)


def _note(connection: Connection) -> None:
    connection.info[_COMMITTING] = True


def _forget(connection: Connection) -> None:
    connection.info.pop(_COMMITTING, None)


def _listen(_connection: object, record: ConnectionPoolEntry) -> None:
    """Hear the warning that a commit waits for no standby any more."""
    driver: Any = record.driver_connection

    def noticed(said: Any) -> None:  # noqa: ANN401  psycopg's Diagnostic
        if said.source_function == _WAIT:
            record.info[_ALONE] = True

    def logged(_driver: object, said: Any) -> None:  # noqa: ANN401  asyncpg's PostgresMessage
        if said.server_source_function == _WAIT:
            record.info[_ALONE] = True

    if hasattr(driver, "add_notice_handler"):
        driver.add_notice_handler(noticed)
    else:
        driver.add_log_listener(logged)
