"""Many rows in one call, each written on the shard of its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData

from escala.databases.sharding.shard_internals import from_shard
from escala.databases.sharding.shard_key import attribute_names
from escala.databases.sharding.shard_new_keys import made_keys, updates_by_key
from escala.errors import NoShardKey

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Result
    from sqlalchemy.orm import ORMExecuteState

    from escala.databases.sharding.shard_map import ShardMap
    from escala.databases.sharding.sharded_session import ShardedSession


def insert(session: ShardedSession, state: ORMExecuteState, table: Table) -> Result[Any]:
    """Insert the rows where they belong: of many, those of one shard together.

    Rows in `values([...])` are one statement, so they have to be of one shard.
    """
    rows, separate = _rows(state)
    given: Any = state.parameters
    mapper = state.bind_mapper
    names = attribute_names(mapper)
    keys = [session.shards.keys.row(table, row, names) for row in rows]
    made = made_keys(session.shards.keys, state.statement, table)

    def place(shard_map: ShardMap) -> dict[str, list[int]]:
        placed: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            placed.setdefault(shard_map.shard(key), []).append(index)
        if len(placed) > 1 and not separate:
            raise _together(table, placed)
        for key in made:
            if shard_map.shard(key) not in placed or len(placed) > 1:
                raise NoShardKey(
                    f"ShardedSession: {table.fullname}: on a conflict a row would have the key "
                    f"{key!r}, which is of another shard: delete the row and insert it"
                )
        return placed

    placed = session.on_shards.enter(place, writes=True)
    for shard, indexes in placed.items():
        session.shards.hit([keys[index] for index in indexes], shard)
    if len(placed) == 1:
        (shard,) = placed
        state.update_execution_options(**from_shard(shard, state))
        return many(session, state, shard)
    if session.autoflush:
        session.flush()
    options = {**state.local_execution_options, "autoflush": False}
    results = [
        session.execute(
            state.statement,
            [given[index] for index in indexes],
            execution_options=options,
            bind_arguments={"shard": shard},
        )
        for shard, indexes in placed.items()
    ]
    return _joined(results, list(placed.values()), state)


def many(
    session: ShardedSession,
    state: ORMExecuteState,
    shard: str,
    statement: Any = None,  # noqa: ANN401  the state's, or one made of it
) -> Result[Any]:
    """Write many rows on one shard; what is pending goes first, each to its own shard."""
    if session.autoflush:
        session.flush()
    with session.only(shard):
        return state.invoke_statement(
            statement,
            bind_arguments={"shard": shard},
            execution_options={"autoflush": False},
        )


def by_primary_key(session: ShardedSession, state: ORMExecuteState) -> list[Any]:
    """The keys of rows that are updated by their primary keys, none when that lacks the key."""
    statement, given = cast("Any", state.statement), cast("Any", state.parameters)
    table, keyed = statement.table, session.shards.keys.tables
    if not updates_by_key(state) or getattr(table, "fullname", "") not in keyed:
        return []
    columns = session.shards.keys.columns(table)
    if not all(column.primary_key for column in columns):
        return []
    names = attribute_names(state.bind_mapper)
    return [session.shards.keys.row(table, row, names) for row in given]


def _rows(state: ORMExecuteState) -> tuple[list[Mapping[Any, Any]], bool]:
    """The rows as far as they say their values, and whether they can be sent apart."""
    statement: Any = state.statement
    if statement._multi_values:  # noqa: SLF001
        columns = list(statement.table.columns)
        rows = [row for part in statement._multi_values for row in part]  # noqa: SLF001
        return [
            row if isinstance(row, Mapping) else dict(zip(columns, row, strict=False))
            for row in rows
        ], False
    values = {
        column: getattr(value, "effective_value", None)
        for column, value in (statement._values or {}).items()  # noqa: SLF001
    }
    given: Any = state.parameters
    listed = given if given and isinstance(given, list) else [given or {}]
    return [{**values, **row} for row in listed], isinstance(given, list)


def _together(table: Table, placed: Mapping[str, object]) -> NoShardKey:
    return NoShardKey(
        f"ShardedSession: the rows for {table.fullname} in values([...]) belong to the shards "
        f"{', '.join(sorted(placed))}: give them to execute(insert(...), [...]), which splits them"
    )


def _joined(
    results: Sequence[Any], indexes: Sequence[Sequence[int]], state: ORMExecuteState
) -> Result[Any]:
    """One answer: the number of all rows, or what was returned, in the order of the rows given."""
    if not getattr(state.statement, "_returning", ()):
        if hasattr(results[0], "rowcount"):  # SQLAlchemy does not count rows of the ORM
            results[0].__dict__["rowcount"] = sum(each.rowcount for each in results)
        return results[0]  # type: ignore[no-any-return]
    keys = list(results[0].keys())
    rows = [tuple(row) for each in results for row in each.all()]
    if getattr(state.statement, "_sort_by_parameter_order", False):
        order = [index for part in indexes for index in part]
        rows = [row for _, row in sorted(zip(order, rows, strict=True), key=lambda pair: pair[0])]
    return IteratorResult(SimpleResultMetaData(keys), iter(rows))
