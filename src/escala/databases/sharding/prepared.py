"""Prepared transactions on a connection of SQLAlchemy, by psycopg and by asyncpg alike.

What is sent from here SQLAlchemy does not see. So its own transaction is still open afterwards,
and to end it costs nothing: the driver's is over.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from escala.databases.pure.rows_sql import literal
from escala.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection

DRIVERS = ("psycopg", "psycopg_async", "asyncpg")
GONE = "42704"  # no prepared transaction has this name: someone else has ended it
LOCKED = "55P03"


def prepare(connection: Connection, gid: str) -> None:
    """End its transaction with a promise to commit, which outlives the connection and a crash."""
    from sqlalchemy import bindparam, text

    name: Any = bindparam("gid", gid, literal_execute=True)
    connection.execute(text("PREPARE TRANSACTION :gid").bindparams(name))


def finish(connection: Connection, gid: str, outcome: str) -> None:
    """Commit or roll back what it has prepared; that someone has done it already is as good."""
    try:
        if connection.dialect.driver == "asyncpg":
            verb = "COMMIT" if outcome == "commit" else "ROLLBACK"
            _send(connection, f"{verb} PREPARED {literal(gid)}")
        else:
            link: Any = connection.connection.dbapi_connection
            link.rollback()  # nothing, unless someone has looked at something since
            end = link.tpc_commit if outcome == "commit" else link.tpc_rollback
            end(gid)
    except Exception as error:
        if state_of(error) != GONE:
            raise
    if connection.dialect.driver == "asyncpg":
        _send(connection, "BEGIN")  # or its driver's own end of the transaction is warned about


def commit(connection: Connection) -> None:
    """Commit, without SQLAlchemy's knowledge."""
    from sqlalchemy.exc import DBAPIError

    dialect = connection.dialect
    try:
        dialect.do_commit(connection.connection)
    except dialect.loaded_dbapi.Error as error:
        kind = dialect.loaded_dbapi.Error
        raise DBAPIError.instance("COMMIT", None, error, kind, dialect=dialect) from error


def unsure(connection: Connection, error: BaseException) -> bool:
    """Whether no one knows what became of the last statement: no server has said that it failed."""
    return broken(connection) or state_of(error) is None


def broken(connection: Connection) -> bool:
    """Whether the connection is lost."""
    if connection.closed or connection.invalidated:
        return True
    link: Any = connection.connection.dbapi_connection
    if link is None or isinstance(link, _Over):
        return True
    driver: Any = connection.connection.driver_connection
    if connection.dialect.driver == "asyncpg":
        return bool(driver.is_closed())
    return bool(driver.closed or driver.broken)


def drop(connection: Connection) -> None:
    """Let no one use it any more."""
    with suppress(Exception):
        connection.invalidate()


def let_end(connection: Connection, *, committed: bool) -> None:
    """Let SQLAlchemy end its transaction without asking a server that may be gone by then."""
    with suppress(Exception):
        if connection.dialect.driver == "asyncpg" and committed:
            link: Any = connection.connection.dbapi_connection
            link.commit()  # afterwards it knows that there is no transaction
    if not broken(connection):
        return
    end = stand_in if committed else drop
    end(connection)


def stand_in(connection: Connection) -> None:
    """Give up a connection that is lost, and let SQLAlchemy end its transaction all the same."""
    with suppress(Exception):
        if not connection.invalidated:
            fairy: Any = connection.connection
            if not isinstance(fairy.dbapi_connection, _Over):
                fairy.invalidate()
                fairy.dbapi_connection = _Over()


class _Over:
    """A connection on which there is nothing left to do."""

    def commit(self) -> None:
        pass

    rollback = close = terminate = commit


def state_of(error: BaseException) -> str | None:
    """The SQLSTATE of an error of a driver, or of SQLAlchemy's error around it."""
    inner = getattr(error, "orig", None) or error
    found = getattr(inner, "sqlstate", None)
    return found if isinstance(found, str) else None


def check(connection: Connection, shard: str) -> None:
    """See that this shard can promise. Raises `ConfigError` that says what it lacks."""
    if connection.dialect.name != "postgresql" or connection.dialect.driver not in DRIVERS:
        found = f"{connection.dialect.name}+{connection.dialect.driver}"
        raise ConfigError(
            f"TwoPhase: the shard {shard!r}: expected PostgreSQL by psycopg or asyncpg, "
            f"found {found}"
        )
    ((most,),) = connection.exec_driver_sql("SHOW max_prepared_transactions").all()
    if int(most) == 0:
        raise ConfigError(
            f"TwoPhase: the shard {shard!r} has max_prepared_transactions = 0: a commit over "
            "several shards needs at least as many as there are at once; set it and restart"
        )


def _send(connection: Connection, statement: str) -> None:
    link: Any = connection.connection.dbapi_connection
    link.run_async(lambda driver: driver.execute(statement))
