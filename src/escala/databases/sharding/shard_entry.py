"""The first statement of a transaction on a shard: it tells the server which map it goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Boolean, String, bindparam, text
from sqlalchemy.exc import DBAPIError, OperationalError

from escala.databases.sharding.shard_server import (
    CONFLICT,
    NOT_INSTALLED,
    OTHER_EPOCH,
    OTHER_SHARD,
    ShardRow,
    Versioned,
    read,
    renew,
)
from escala.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ENTER = text("SELECT escala.enter(:name, :epoch, :writes)").bindparams(
    bindparam("name", type_=String),
    bindparam("epoch", type_=BigInteger),
    bindparam("writes", type_=Boolean),
)


class OtherEpoch(Exception):
    """The shard has another epoch of the map, so the transaction did not get in.

    `conflict` is the error of a transaction with a snapshot from before the row changed.
    """

    def __init__(self, conflict: DBAPIError | None = None) -> None:
        super().__init__()
        self.conflict = conflict


def enter(connection: Connection, name: str, epoch: int, *, writes: bool) -> None:
    """Begin on the shard, or raise `OtherEpoch`. `ConfigError` when it is no shard, or another."""
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        raise ConfigError(
            f"ShardedSession: {name}: AUTOCOMMIT ends the transaction after each statement, and "
            "with it what keeps writers and moves apart; expected another isolation level"
        )
    try:
        if connection.dialect.name != "sqlite":
            connection.execute(_ENTER, {"name": name, "epoch": epoch, "writes": writes})
            return
        row = read(connection)
    except DBAPIError as error:
        raise _meant(error, name) from error
    if row.name != name:
        raise _another(name, row.name)
    if row.epoch != epoch:
        raise OtherEpoch


def look(connection: Connection, name: str) -> ShardRow:
    """Read what a shard says of itself."""
    try:
        return read(connection)
    except DBAPIError as error:
        raise _meant(error, name) from error


def settle(connection: Connection, ours: Versioned) -> ShardRow:
    """Look at the map of a shard that let no one in, and give it ours when that is newer.

    Nothing else has run on the connection in this transaction, so it is begun anew, below
    SQLAlchemy, whose transaction goes on.
    """
    leave(connection)
    row = read(connection)
    if row.epoch < ours.epoch:
        renew(connection, ours)
        connection.dialect.do_commit(connection.connection)
    leave(connection)
    return row


def leave(connection: Connection) -> None:
    """End what has begun on the server."""
    connection.dialect.do_rollback(connection.connection)


def _meant(error: DBAPIError, name: str) -> Exception:
    """What an error of the first statement says."""
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if state in {OTHER_EPOCH, CONFLICT}:
        return OtherEpoch(error if state == CONFLICT else None)
    if state == OTHER_SHARD:
        return _another(name, str(error.orig))
    missing = isinstance(error, OperationalError) and "no such table" in str(error.orig)
    if missing or state in NOT_INSTALLED:
        return ConfigError(
            f"ShardedDatabase: the database of the shard {name!r} is no shard yet; run `install()`"
        )
    return error


def _another(name: str, found: str) -> ConfigError:
    return ConfigError(
        f"ShardedDatabase: the URL of the shard {name!r} leads to another one: {found}"
    )
