"""The end of a transaction that has only read is no one's trouble."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Engine


def end_quietly(engine: Engine) -> None:
    """Have COMMIT and ROLLBACK on connections that only read never fail.

    The reader has its rows. When the server is gone by then there is nothing to undo and nothing
    to lose; the connection is not used again.
    """
    dialect = engine.dialect

    def quiet(end: Callable[[Any], None]) -> Callable[[Any], None]:
        def ended(connection: Any) -> None:  # noqa: ANN401  the pool's proxy of a driver's connection
            try:
                end(connection)
            except (dialect.loaded_dbapi.Error, OSError) as error:
                connection.invalidate(error)

        return ended

    dialect.do_rollback = quiet(dialect.do_rollback)  # type: ignore[method-assign,assignment]
    dialect.do_commit = quiet(dialect.do_commit)  # type: ignore[method-assign,assignment]
