"""Tables that are the same on all shards: read on any of them, written on each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, and_, inspect, select
from sqlalchemy.orm import Mapper

from escala.databases.sharding.shard_inserts import many
from escala.errors import ConfigError, NoShardKey

if TYPE_CHECKING:
    from sqlalchemy.engine import Result
    from sqlalchemy.orm import InstanceState, ORMExecuteState

    from escala.databases.sharding.shard_key import Statement
    from escala.databases.sharding.sharded_session import ShardedSession


def everywhere(session: ShardedSession, state: ORMExecuteState, seen: Statement) -> Result[Any]:
    """Run a change of such a table on every shard; the answer is that of the first."""
    if seen.sharded:
        raise NoShardKey(
            "ShardedSession: a change of a reference table is made on every shard alike, so it "
            f"cannot look at {next(iter(seen.sharded)).fullname}"
        )
    if state.is_insert:
        _refuse_made_keys(state)
    placed = session.on_shards.enter(lambda shard_map: dict.fromkeys(shard_map.shards), writes=True)
    if session.autoflush:
        session.flush()
    first, *others = [many(session, state, shard) for shard in placed]
    for other in others:
        other.close()
    return first


def copy_references(session: ShardedSession) -> None:
    """Give the rows of reference tables that a flush has written on one shard to the others."""
    keys = session.shards.keys
    for one, gone in (
        *((each, False) for each in (*session.new, *session.dirty)),
        *((each, True) for each in session.deleted),
    ):
        state = inspect(one)
        if keys.table_of(state.mapper) is not None:
            continue
        if gone or state.key is None or session.is_modified(one):
            _copy(session, state, gone=gone)


def _copy(session: ShardedSession, state: InstanceState[Any], *, gone: bool) -> None:
    mapper: Mapper[Any] = state.mapper
    table = mapper.local_table
    if not isinstance(table, Table) or len(mapper.tables) > 1:
        raise ConfigError(
            f"ShardedSession: {mapper.class_.__name__}: a reference table stands alone"
        )
    new = mapper.primary_key_from_instance(state.obj())
    old = state.key[1] if state.key else new
    first, *others = session.on_shards.map.shards
    placed = session.on_shards.enter(lambda _: dict.fromkeys(others), writes=True)
    source = _connection(session, first)
    is_old, is_new = (
        and_(*(column == value for column, value in zip(mapper.primary_key, key, strict=True)))
        for key in (old, new)
    )
    row = None if gone else source.execute(select(table).where(is_new)).mappings().one()
    for shard in placed:
        target = _connection(session, shard)
        if row is None:
            target.execute(table.delete().where(is_old))
        elif not target.execute(table.update().where(is_old).values(dict(row))).rowcount:
            target.execute(table.insert().values(dict(row)))


def _connection(session: ShardedSession, shard: str) -> Any:  # noqa: ANN401  a Connection
    return session.connection(bind_arguments={"shard": shard})


def _refuse_made_keys(state: ORMExecuteState) -> None:
    """Each server would make other keys for the same row."""
    statement: Any = state.statement
    table: Table = statement.table
    column = table.autoincrement_column
    if column is None or statement.select is not None:
        return
    given: Any = state.parameters
    rows = list(given) if isinstance(given, list) else [given or {}]
    for values in (statement._values or {}, *(statement._multi_values or ((),))[0][:1]):  # noqa: SLF001
        rows = [{**row, **{getattr(key, "key", key): True for key in values}} for row in rows]
    if not all(column.key in row for row in rows):
        raise ConfigError(
            f"ShardedSession: {table.fullname} is on all shards, and each would make another "
            f"{column.key}: give it with the row"
        )
