"""All that is known here of SQLAlchemy's insides; the rest keeps to what is documented."""

from __future__ import annotations

import contextlib

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.sql.selectable import Select


def cache_key(statement: object) -> object | None:
    """What is the same for statements that differ in their parameters only, if they can be told.

    SQLAlchemy keeps it in the statement, so that it is not made twice.
    """
    if not isinstance(statement, Select):
        return None
    key = statement._generate_cache_key()  # noqa: SLF001
    return None if key is None else key.key


def is_connected(session: Session) -> bool:
    """Whether the session's transaction has a connection."""
    transaction = session.get_transaction()
    return transaction is not None and bool(transaction._connections)  # noqa: SLF001


def forget_connections(session: Session) -> None:
    """Give back what the session's transaction is connected to, and let the transaction go on.

    Only for a transaction in which nothing has happened that would have to be undone: what was
    added to the session, or loaded into it, stays there.
    """
    transaction = session.get_transaction()
    if transaction is None:
        return
    held = transaction._connections  # noqa: SLF001
    for connection, inner, *_ in set(held.values()):
        with contextlib.suppress(SQLAlchemyError):
            inner.close()
        with contextlib.suppress(SQLAlchemyError):
            connection.close()
    held.clear()
