"""All that is known here of SQLAlchemy's insides; the rest keeps to what is documented."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import LoaderCriteriaOption, Session
from sqlalchemy.sql.selectable import Select


def cache_key(statement: object) -> object | None:
    """What is the same for statements that differ in their parameters only, if they can be told.

    SQLAlchemy keeps it in the statement, so that it is not made twice.
    """
    if not isinstance(statement, Select):
        return None
    key = statement._generate_cache_key()  # noqa: SLF001
    return None if key is None else key.key


def computed(element: Any) -> Iterator[Any]:  # noqa: ANN401
    """What an entity in a statement brings along: its `column_property` that are no columns."""
    entity = element._annotations.get("parententity")  # noqa: SLF001
    if entity is not None:
        for attribute in entity.mapper.column_attrs:
            yield from (each for each in attribute.columns if each.__visit_name__ != "column")


def said_in_options(statement: Any) -> Iterator[Any]:  # noqa: ANN401
    """The expressions in a query's options: criteria of loaders and of `with_loader_criteria`.

    What a lambda would say is not among them.
    """
    for option in statement._with_options:  # noqa: SLF001
        if isinstance(option, LoaderCriteriaOption) and not option.deferred_where_criteria:
            yield option.where_criteria
        for load in getattr(option, "context", ()):
            yield from load._extra_criteria  # noqa: SLF001
            expression = (load.local_opts or {}).get("expression")
            if expression is not None:
                yield expression


def commits_itself(connection: Connection) -> bool:
    """Whether each statement is a transaction: all of these drivers call that `autocommit`."""
    return bool(getattr(connection.connection.dbapi_connection, "autocommit", False))


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
