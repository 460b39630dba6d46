"""Where a statement goes: to the one shard of its key, to all of them, or nowhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table

from escala.databases.scattering.scatter_request import budget, within_budget
from escala.databases.scattering.scatter_run import refuse, run_scatter
from escala.databases.scattering.scatter_tables import Tables
from escala.databases.sharding.owned_rows import only_owned
from escala.databases.sharding.reference_rows import everywhere
from escala.databases.sharding.shard_inserts import by_primary_key, insert, many
from escala.databases.sharding.shard_internals import from_shard
from escala.databases.sharding.shard_key import Statement, no_key
from escala.databases.sharding.shard_new_keys import made_keys, refuse_new_keys
from escala.databases.sharding.shard_scopes import Scopes, scopes
from escala.errors import CannotMerge, NoShardKey

if TYPE_CHECKING:
    from sqlalchemy.engine import Result
    from sqlalchemy.orm import ORMExecuteState

    from escala.databases.sharding.shard_map import ShardMap
    from escala.databases.sharding.sharded_session import ShardedSession

Find = Callable[["ShardMap"], str]


def route(session: ShardedSession, state: ORMExecuteState) -> Result[Any] | None:
    """Run a statement where it belongs. Raises `NoShardKey` when nothing says where that is."""
    statement: Any = state.statement
    keys = session.shards.keys
    seen = keys.look(statement)
    shard = state.bind_arguments.get("shard")
    wide = shard is None and not state.is_insert and budget(state.execution_options) is not None
    if wide and not _changes(state):
        return _scattered(session, state, seen)
    if _changes(state):
        target = statement.table if isinstance(statement.table, Table) else None
        if shard is None and target is not None and target.fullname in keys.reference:
            return everywhere(session, state, seen)
        if shard is None and state.is_insert and statement.select is None and target is not None:
            return insert(session, state, target)
        if state.is_update and target is not None:
            refuse_new_keys(keys, state, target)
        if wide:
            return _scattered(session, state, seen)
    find, narrowed = destination(session, state, seen)
    shard = session.enter(lambda shard_map: {find(shard_map): None}, writes=not seen.reads)
    if not narrowed and not state.is_insert:
        statement = only_owned(statement, session.on_shards.map, shard, keys)
    if seen.sharded or not seen.reference:
        state.update_execution_options(**from_shard(shard, state))
    if _many(state):
        return many(session, state, shard, statement)
    return state.invoke_statement(statement, bind_arguments={"shard": shard})


def destination(
    session: ShardedSession, state: ORMExecuteState, seen: Statement
) -> tuple[Find, bool]:
    """What finds the shard by a map, and whether the statement itself is for single keys."""
    keys = session.shards.keys
    if (shard := _told(session, state)) is not None:
        return (lambda _: shard), False
    parent = state.lazy_loaded_from if state.is_select else None
    if parent is not None:
        home = session.home_of(parent, session.on_shards.map)
        if home is not None:
            return (lambda shard_map: session.home_of(parent, shard_map) or home), False
    key = state.execution_options.get("shard_key", session.shard_key)
    found, unbound = _keys(session, state, seen)
    if found and unbound is not None and key is None:
        raise no_key(keys, [unbound], "in each of the queries within the statement")
    if found:
        return (lambda shard_map: _one(session, seen, shard_map, found)), True
    if key is not None:
        checked = keys.given(seen.sharded, key)
        return (lambda shard_map: _one(session, seen, shard_map, [checked])), False
    if seen.reference and not seen.sharded:
        return session.any_shard, False
    raise no_key(keys, seen.sharded)


def _keys(session: ShardedSession, state: ORMExecuteState, seen: Statement) -> Scopes:
    """The keys that a statement names, for all of its parameters."""
    given, keys = state.parameters, session.shards.keys
    statement: Any = state.statement
    if state.is_insert:
        inner = scopes(statement, seen.queries, keys, given)
        return Scopes([*made_keys(keys, statement, statement.table), *inner.keys], inner.unbound)
    if not isinstance(given, list):
        return scopes(state.statement, seen.queries, keys, given)
    if state.is_update and (found := by_primary_key(session, state)):
        return Scopes(found, None)
    each = [scopes(state.statement, seen.queries, keys, one) for one in given]
    if not all(one.keys for one in each):
        return Scopes([], None)
    return Scopes([key for one in each for key in one.keys], each[0].unbound)


def _told(session: ShardedSession, state: ORMExecuteState) -> str | None:
    """The shard by name: of the object that is loaded again, or an argument."""
    options = state.execution_options
    token = None
    if state.is_select:
        token = options.get("_sa_orm_load_options", None)
    elif state.is_update or state.is_delete:
        token = options.get("_sa_orm_update_options", None)
    shard = getattr(token, "_identity_token", None) or options.get("identity_token")
    shard = shard or state.bind_arguments.get("shard")
    if shard is not None and shard not in session.shards.names:
        raise NoShardKey(f"ShardedSession: there is no shard {shard!r}")
    return shard


def _one(session: ShardedSession, seen: Statement, shard_map: ShardMap, found: list[Any]) -> str:
    shards = sorted({shard_map.shard(key) for key in found})
    if len(shards) > 1:
        why = f"found keys on the shards {', '.join(shards)}"
        raise no_key(session.shards.keys, seen.sharded, why)
    session.shards.hit(found, shards[0])
    return shards[0]


def _changes(state: ORMExecuteState) -> bool:
    return state.is_insert or state.is_update or state.is_delete


def _many(state: ORMExecuteState) -> bool:
    """Whether SQLAlchemy would write row by row, by the primary key or with given values."""
    listed: Mapping[str, Any] | Any = state.parameters
    return _changes(state) and isinstance(listed, (list, dict)) and bool(listed)


def _scattered(session: ShardedSession, state: ORMExecuteState, seen: Statement) -> Result[Any]:
    """Ask every shard, or those of the keys that the statement names."""
    keys, limit = session.shards.keys, budget(state.execution_options) or 0
    found = keys.where(state.statement, state.parameters)

    def place(shard_map: ShardMap) -> dict[str, None]:
        shards = sorted({shard_map.shard(key) for key in found}) or shard_map.shards
        within_budget(limit, len(shards))
        return dict.fromkeys(shards)

    given: Any = state.parameters
    tables = Tables(keys.tables, keys.reference)
    if isinstance(given, list):
        raise CannotMerge("a scatter takes one set of parameters: execute it once for each")
    if not seen.reads:  # it would be let in as a writer
        first = session.on_shards.map.shards[0]
        refuse(state.statement, tables, session.get_bind(shard=first).dialect.name, given)
    placed = session.on_shards.enter(place, writes=not seen.reads)
    return run_scatter(
        session,
        state.statement,
        {shard: session.connected(shard) for shard in placed},
        tables,
        parameters=given,
        options={
            name: value
            for name, value in state.local_execution_options.items()
            if not name.startswith("_sa_")
        },
        adapt=lambda each, shard: only_owned(each, session.on_shards.map, shard, keys),
    )
