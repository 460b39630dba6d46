"""The keys that a change would give to rows, apart from those in the rows that it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, null
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BindParameter, ClauseElement

from escala.databases.scattering.scatter_select import bare
from escala.databases.sharding.shard_key import attribute_names
from escala.errors import NoShardKey

if TYPE_CHECKING:
    from sqlalchemy.orm import ORMExecuteState

    from escala.databases.sharding.shard_key import ShardKeys


def refuse_new_keys(keys: ShardKeys, state: ORMExecuteState, target: Table) -> None:
    """A row does not go to another shard by an update: `NoShardKey`."""
    if target.fullname not in keys.tables:
        return
    statement: Any = state.statement
    names = {getattr(each, "key", each) for each in statement._values or ()}  # noqa: SLF001
    ordered = getattr(statement, "_ordered_values", None) or ()  # of SQLAlchemy 2.0
    names |= {getattr(each, "key", each) for each, _ in ordered}
    given: Any = state.parameters
    for row in given if isinstance(given, list) else [given or {}]:
        names |= row.keys()  # what is no parameter of the statement is a value to set
    by_key, called = updates_by_key(state), attribute_names(state.bind_mapper)
    for column in keys.columns(target):
        own = {column.key, called.get(column.key)} if by_key else {column.key}
        if own & names and not (by_key and column.primary_key):
            raise NoShardKey(
                f"ShardedSession: {target.fullname}.{column.key} is the shard key, which an "
                "update does not change: delete the row and insert it"
            )


def updates_by_key(state: ORMExecuteState) -> bool:
    """Whether it is a list of rows that the ORM looks up by their primary keys."""
    statement: Any = state.statement
    many = state.is_update and isinstance(state.parameters, list)
    return many and state.bind_mapper is not None and statement.whereclause is None


def made_keys(keys: ShardKeys, statement: Any, target: Table) -> list[Any]:  # noqa: ANN401  an insert
    """The keys of rows that come of a query, or of a conflict with a row that is there.

    A row that takes over the key of the one that it is made of is not among them. Raises
    `NoShardKey` where they are not known beforehand.
    """
    if target.fullname not in keys.tables:
        return []
    columns, found = keys.columns(target), []
    for row in (*_selected(statement), *_on_conflict(statement, target)):
        named = [bare(row.get(column.key, null())) for column in columns]
        if all(map(_literal, named)):
            values = [getattr(each, "effective_value", each) for each in named]
            found.append(keys.row(target, dict(zip(columns, values, strict=True)), {}))
            continue
        for at, (column, each) in enumerate(zip(columns, named, strict=True)):
            if not _is_key(keys, each, at):
                raise NoShardKey(
                    f"ShardedSession: {target.fullname}.{column.key} is the shard key: expected a "
                    "value, or the key of the rows that are read, found "
                    f"{each}"
                )
    return found


def _literal(expression: object) -> bool:
    return isinstance(expression, BindParameter) or not isinstance(expression, ClauseElement)


def _selected(statement: Any) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401  an insert
    """What each of its queries gives to each column."""
    waiting = [statement.select] if statement.select is not None else []
    while waiting:
        query = waiting.pop()
        if hasattr(query, "selects"):
            waiting += query.selects
        else:
            yield dict(zip(statement._select_names, query.selected_columns, strict=False))  # noqa: SLF001


def _on_conflict(statement: Any, target: Table) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401  an insert
    clause = statement._post_values_clause  # noqa: SLF001
    for part in visitors.iterate(clause) if clause is not None else ():
        values: dict[Any, Any] = dict(getattr(part, "update_values_to_set", ()))
        changed = {getattr(name, "key", name): value for name, value in values.items()}
        yield {**target.columns, **changed}


def _is_key(keys: ShardKeys, expression: Any, at: int) -> bool:  # noqa: ANN401  an element
    """Whether it is the same part of the key of a row."""
    return any(
        isinstance(getattr(base, "table", None), Table)
        and base.name == dict(enumerate(keys.tables.get(base.table.fullname, ()))).get(at)
        for base in getattr(expression, "base_columns", ())
    )
