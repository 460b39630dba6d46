"""Ask all shards at once and merge what they say: what a session over shards calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import Result
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from escala.databases.scattering.in_parallel import on_each
from escala.databases.scattering.scatter_plan import check_change, plan
from escala.databases.scattering.scatter_request import without_budget
from escala.databases.scattering.scatter_rows import Share, result_of, tuples
from escala.databases.scattering.scatter_tables import Tables
from escala.databases.scattering.scatter_values import BYTE_ORDER, Dialect
from escala.errors import CannotMerge

Adapt: TypeAlias = Callable[[Any, str], Any]

_by_bytes: WeakKeyDictionary[Engine, bool] = WeakKeyDictionary()


def run_scatter(
    session: Session,
    statement: Any,  # noqa: ANN401  any query, update or delete
    connections: Mapping[str, Connection],
    tables: Tables,
    *,
    parameters: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    adapt: Adapt = lambda statement, _shard: statement,
) -> Result[Any]:
    """Run a statement on the shards of these connections, all in the session's transaction.

    - `parameters` and `options` are what the session was given to execute it with.
    - `adapt(statement, shard)` may narrow what a shard is sent to the rows that are its own.

    A query is sent to all of them at the same time, and must give each what has to be merged
    before it returns: see `plan`. Entities are loaded into the session, with the shard as their
    identity token; what is loaded for them by further queries (`selectinload`) comes after that,
    shard by shard. A change is made on one shard after the other, always in the same order, so
    that two of them never wait for each other; its result has the sum of the row counts.

    Raises `CannotMerge` before anything is sent where it can be known, `DeadlineExceeded` at the
    deadline in force, and otherwise what the first shard that failed raises.
    """
    options = dict(options or {})
    first = next(iter(connections.values()))
    dialect = Dialect(first.dialect.name, lambda: all(map(sorts_by_bytes, connections.values())))
    if not getattr(statement, "is_select", False):
        check_change(statement, tables)
        return _change(
            [
                session.execute(
                    without_budget(adapt(statement, shard)),
                    parameters,
                    execution_options={**options, "identity_token": shard},
                    bind_arguments={"shard": shard},
                )
                for shard in sorted(connections)
            ]
        )
    made = plan(statement, tables, dialect, parameters)
    if made.one_shard:
        connections = dict(list(connections.items())[:1])
    shares = {
        shard: _share(session, adapt(made.statement, shard), shard, options)
        for shard in connections
    }
    answers = on_each(connections, lambda shard, connection: shares[shard].ask(connection))
    frozen = [shares[shard].rows(answers[shard]) for shard in connections]
    cut = made.merge.offset or made.merge.limit is not None
    if made.joined and cut and any(share.uniqued for share in shares.values()):
        raise CannotMerge(
            "LIMIT or OFFSET over a join counts rows, which joinedload() of a collection repeats: "
            "load it by selectinload()"
        )
    try:
        rows = list(made.merge.rows([tuples(each) for each in frozen]))
    except ZeroDivisionError as error:
        raise DataError(str(statement), None, error) from error
    except TypeError as error:  # a column of SQLite may hold text and numbers
        raise CannotMerge(f"values of several types are not sorted here: {error}") from error
    return result_of(frozen[0], rows, made.width)


def refuse(
    statement: Any,  # noqa: ANN401  any query, update or delete
    tables: Tables,
    dialect: str,
    parameters: Mapping[str, Any] | None,
) -> None:
    """Raise the `CannotMerge` that can be known before anyone is asked."""
    if getattr(statement, "is_select", False):
        plan(statement, tables, Dialect(dialect, lambda: True), parameters)
    else:
        check_change(statement, tables)


def _share(session: Session, statement: Any, shard: str, options: Mapping[str, Any]) -> Share:  # noqa: ANN401
    own = {**options, "identity_token": shard}
    return Share(session, without_budget(statement), own, {"shard": shard})


def _change(results: list[Any]) -> Result[Any]:
    first = results[0]
    first.rowcount = sum(result.rowcount for result in results)
    return first  # type: ignore[no-any-return]


def sorts_by_bytes(connection: Connection) -> bool:
    """Whether a database sorts text by its bytes where no collation is named; asked once."""
    if connection.dialect.name == "sqlite":
        return True
    engine = connection.engine
    if engine not in _by_bytes:
        encoding, provider, collation = connection.execute(_COLLATION).one()
        known = provider == "b" or (provider != "i" and collation.lower() in BYTE_ORDER)
        _by_bytes[engine] = encoding == "UTF8" and known
    return _by_bytes[engine]


# The provider (libc, ICU or built in) has its own column since PostgreSQL 15.
_COLLATION = text(
    "SELECT pg_encoding_to_char(encoding), coalesce(to_jsonb(d)->>'datlocprovider', 'c'), "
    "datcollate FROM pg_database AS d WHERE datname = current_database()"
)
