"""While rows move between shards, both have them: only those that a shard owns are to be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, and_, func, not_, or_
from sqlalchemy.dialects.postgresql import dialect
from sqlalchemy.sql.selectable import Alias

from escala.databases.pure.key_hash import postgres_function
from escala.databases.sharding.shard_key import no_key
from escala.databases.sharding.shard_scopes import sources, unbound_within

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from escala.databases.sharding.shard_key import ShardKeys
    from escala.databases.sharding.shard_map import ShardMap
    from escala.databases.sharding.shard_move import Rows


def only_owned(statement: Any, shard_map: ShardMap, shard: str, keys: ShardKeys) -> Any:  # noqa: ANN401  has a WHERE
    """Make the statement that leaves out what is on the shard without being its own.

    That is by the tables that the statement itself names in FROM or changes. A query within it
    would need the same, so it has to be for a key, or for that of the query around it, else
    `NoShardKey` is raised. A statement that is for one key needs none of this.
    """
    foreign = shard_map.foreign(shard)
    if not foreign:
        return statement
    if (within := unbound_within(statement, keys)) is not None:
        raise no_key(keys, [within], "while rows move in the queries within the statement too")
    for source in sources(statement):
        table = source.element if isinstance(source, Alias) else source
        if isinstance(table, Table) and table.fullname in keys.tables:
            (column,) = (source.c[each.key] for each in keys.columns(table))
            theirs = among(column, foreign, shard_map)
            statement = statement.where(or_(column.is_(None), not_(theirs)))
    return statement


def among(column: ColumnElement[Any], rows: Rows, shard_map: ShardMap) -> ColumnElement[bool]:
    """Whether a row is one of these, for PostgreSQL to say."""
    parts: list[ColumnElement[bool]] = []
    if rows.slots:
        name = column.type.compile(dialect=dialect())  # type: ignore[no-untyped-call]
        slot = getattr(func, postgres_function(name))(column, 0).op("&")(shard_map.slot_count - 1)
        within = or_(*(slot.between(first, last) for first, last in rows.slots))
        parts.append(and_(within, column.not_in(rows.but)) if rows.but else within)
    if rows.keys:
        parts.append(column.in_(rows.keys))
    return or_(*parts)
