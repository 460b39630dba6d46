"""One shard's share of a query, in two steps: asked in parallel, made into objects in turn.

A session may be used by one thread or task at a time, a connection as well, but each shard has its
own. So the statement is sent and its rows are waited for on the connections, and what a session
does with rows, loading entities and what belongs to them, comes when all are there.
"""

# ruff: noqa: SLF001  what a session does with a query's rows has no public name

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, CursorResult
from sqlalchemy.engine import FrozenResult, Result
from sqlalchemy.orm import Session

from escala.databases.scattering.scatter_select import orm_state


class Share:
    """A statement for one shard. `ask` may run anywhere, the rest where the session does."""

    def __init__(
        self,
        session: Session,
        statement: Any,  # noqa: ANN401  any query
        options: Mapping[str, Any],
        bind_arguments: dict[str, Any],
    ) -> None:
        self._session, self._bind_arguments = session, bind_arguments
        self.uniqued = False  # whether rows were left out that eager loading has repeated
        self._state, self._parameters = orm_state(statement), None
        self._statement, self._options = statement, dict(options)
        if self._state is None:
            session._autoflush()
            return
        made = self._state.orm_pre_session_exec(
            session,
            statement,
            {},
            self._immutable(),
            bind_arguments,
            False,  # noqa: FBT003
        )
        self._statement, self._options = made[0], made[1]  # 2.1 gives the parameters too

    def _immutable(self) -> Any:  # noqa: ANN401
        from sqlalchemy.util import immutabledict

        return immutabledict(self._options)

    def ask(self, connection: Connection) -> CursorResult[Any]:
        """Send it, and wait for the rows."""
        return connection.execute(self._statement, {}, execution_options=self._options)

    def rows(self, answer: CursorResult[Any]) -> FrozenResult[Any]:
        """Make of the rows what the session gives for them."""
        result: Result[Any] = answer
        if self._state is not None:
            result = self._state.orm_setup_cursor_result(
                self._session, self._statement, {}, self._options, self._bind_arguments, answer
            )
            if result._unique_filter_state is not None:  # eager loading by a join repeats rows
                result, self.uniqued = result.unique(), True
        return result.freeze()


def tuples(frozen: FrozenResult[Any]) -> list[Any]:
    """Give the rows as tuples, of single entities too."""
    if frozen._source_supports_scalars:
        return [(value,) for value in frozen.data]
    return list(frozen.data)


def result_of(template: FrozenResult[Any], rows: Iterable[Any], width: int) -> Result[Any]:
    """Make a result of the merged rows, with the first `width` columns of one shard's."""
    sent = len(template.metadata.keys)
    made: Any = [tuple(row[:sent]) for row in rows]
    result = template.with_new_rows(made)()
    if sent > width:
        result = result.columns(*range(width))
    return result
