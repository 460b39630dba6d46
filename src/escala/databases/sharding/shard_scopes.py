"""The queries within a statement: all of them have to be for the key that the statement is for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Delete, Table, Update
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression
from sqlalchemy.sql.selectable import Alias, Join, Select

from escala.databases.scattering.scatter_select import final_froms
from escala.databases.scattering.scatter_tables import conjuncts

if TYPE_CHECKING:
    from escala.databases.sharding.shard_key import ShardKeys


class Scopes(NamedTuple):
    """The keys that a statement names, and a table for which it names none."""

    keys: list[Any]
    unbound: Table | None


def scopes(
    statement: Any,  # noqa: ANN401  has a WHERE
    queries: Sequence[Any],
    keys: ShardKeys,
    parameters: object,
) -> Scopes:
    """Look into a statement and the `queries` within it.

    A query within it is for the same key when it names the key too, or compares its own with that
    of the query around it. What is joined to a table in one query is taken to be of its key.
    """
    found: list[Any] = []
    unbound = None
    inner = any(query is not statement for query in queries)
    for query, around in _queries(statement) if inner else [(statement, ())]:
        if named := keys.where(query, parameters):
            found += named
        elif unbound is None and not _follows(query, around, keys):
            unbound = _sharded(query, keys)
    return Scopes(found, unbound)


def unbound_within(statement: Any, keys: ShardKeys) -> Table | None:  # noqa: ANN401  any statement
    """The table of a query within a statement that is for no key at all."""
    for query, around in _queries(statement):
        if query is statement:
            continue
        if not keys.where(query, None) and not _follows(query, around, keys):
            table = _sharded(query, keys)
            if table is not None:
                return table
    return None


def sources(statement: Any, around: Collection[Any] = ()) -> list[Any]:  # noqa: ANN401  a query, update or delete
    """The tables and aliases that a statement takes rows from, but for those `around` it."""
    if not isinstance(statement, Select):
        return [statement.table] if hasattr(statement, "table") else []
    found: list[Any] = []
    given = tuple(around)
    waiting = list(final_froms(statement, given, given))
    while waiting:
        source = waiting.pop()
        if isinstance(source, Join):
            waiting += [source.left, source.right]
        else:
            found.append(source)
    return found


def _sharded(statement: Any, keys: ShardKeys) -> Table | None:  # noqa: ANN401  a query, update or delete
    for source in sources(statement):
        table = source.element if isinstance(source, Alias) else source
        if isinstance(table, Table) and table.fullname in keys.tables:
            return table
    return None


def _queries(
    element: Any,  # noqa: ANN401  any statement or a part of it
    around: tuple[Any, ...] = (),
) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Each query, update or delete in it, and those around that one."""
    if isinstance(element, Select | Update | Delete):
        yield element, around
        around = (*around, element)
    for child in element.get_children():
        yield from _queries(child, around)


def _follows(query: Any, around: tuple[Any, ...], keys: ShardKeys) -> bool:  # noqa: ANN401  has a WHERE
    """Whether it compares its key with that of a query around it."""
    pairs = []
    for part in conjuncts(getattr(query, "whereclause", None)):
        if isinstance(part, BinaryExpression) and part.operator is operators.eq:
            pair = [_key_table(side, keys) for side in (part.left, part.right)]
            if None not in pair:
                pairs.append(pair)
    if not pairs or not around:
        return False
    others = {source for each in around for source in sources(each)}
    own = {*sources(query, others)}
    return any((one in own) is not (other in own) for one, other in pairs)


def _key_table(column: Any, keys: ShardKeys) -> Any:  # noqa: ANN401  an element, a table
    for base in getattr(column, "base_columns", ()):
        table = getattr(base, "table", None)
        if isinstance(table, Table) and base.name in keys.tables.get(table.fullname, ()):
            return column.table
    return None
