"""Which key a statement, a row or an object is for: what a router of shards looks at first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from sqlalchemy import Table, TypeDecorator, Uuid
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, BindParameter
from sqlalchemy.sql.selectable import Select

from escala.databases.replicas.statement_kind import only_reads
from escala.databases.scattering.scatter_tables import conjuncts
from escala.errors import ConfigError, NoShardKey

if TYPE_CHECKING:
    from sqlalchemy import Column
    from sqlalchemy.orm import InstanceState, Mapper
    from sqlalchemy.sql.elements import ClauseElement

Row = Mapping[Any, Any]

_ABSENT = object()
_DIALECT = DefaultDialect()


class Statement(NamedTuple):
    """What can be seen of a statement without running it."""

    sharded: frozenset[Table]
    reference: frozenset[Table]
    queries: tuple[Any, ...]  # in it, and it itself if it is one
    reads: bool  # it is a plain query: it writes nothing and locks nothing


class ShardKeys:
    """The tables that are spread over the shards, each with its key, and those that are on all."""

    def __init__(
        self, tables: Mapping[str, str | Sequence[str]], reference: Iterable[str] = ()
    ) -> None:
        if not isinstance(tables, Mapping):
            raise ConfigError(
                f"ShardedDatabase: tables: expected a mapping of names to keys, found {tables!r}"
            )
        self.tables = {name: _names(name, key) for name, key in tables.items()}
        if isinstance(reference, str) or not isinstance(reference, Iterable):
            raise ConfigError(f"ShardedDatabase: reference: expected a list, found {reference!r}")
        self.reference = frozenset(reference)
        for table in (*self.tables, *self.reference):
            if not _named(table):
                raise ConfigError(f"ShardedDatabase: expected the name of a table, found {table!r}")
        both = sorted(self.reference.intersection(self.tables))
        if both:
            raise ConfigError(
                f"ShardedDatabase: expected {both[0]!r} in tables or in reference, found it in both"
            )

    def look(self, statement: ClauseElement) -> Statement:
        """Find the tables of a statement. Raises `ConfigError` for one that is in no list."""
        sharded, reference, queries = set(), set(), []
        for element in visitors.iterate(statement):
            if isinstance(element, Table):
                if element.fullname in self.tables:
                    sharded.add(element)
                elif element.fullname in self.reference:
                    reference.add(element)
                else:
                    raise self.unknown(element.fullname)
            elif isinstance(element, Select):
                queries.append(element)
        return Statement(
            frozenset(sharded), frozenset(reference), tuple(queries), only_reads(statement)
        )

    def unknown(self, table: str) -> ConfigError:
        """Say that no one has said where this table is."""
        return ConfigError(
            f"ShardedDatabase: the table {table!r} is neither in tables nor in reference"
        )

    def columns(self, table: Table) -> tuple[Column[Any], ...]:
        """The key columns of a table. Raises `ConfigError` when it has none of that name."""
        names = self.tables[table.fullname]
        missing = [name for name in names if name not in table.columns]
        if missing:
            raise ConfigError(
                f"ShardedDatabase: the table {table.fullname!r} has no column {missing[0]!r}, "
                f"which tables says is its shard key"
            )
        return tuple(table.columns[name] for name in names)

    def where(self, statement: Any, parameters: object) -> list[Any]:  # noqa: ANN401  has a WHERE
        """The keys that a WHERE clause allows: of `=` one, of IN several, of neither none."""
        values: dict[Any, tuple[str, dict[str, list[Any]]]] = {}  # by table or alias of it
        given = parameters if isinstance(parameters, Mapping) else {}
        for column, base, found in _equalities(getattr(statement, "whereclause", None), given):
            name = base.table.fullname
            if base.name in self.tables.get(name, ()):
                checked = [_value(base, each) for each in found]
                values.setdefault(column.table, (name, {}))[1].setdefault(base.name, checked)
        keys = []
        for name, parts in values.values():
            if len(parts) == len(self.tables[name]):
                keys += _keys([parts[column] for column in self.tables[name]])
        return keys

    def row(self, table: Table, row: Row, names: Mapping[str, str]) -> Any:  # noqa: ANN401  a key
        """The key of a row to insert. `names` says what an attribute is called, by column."""
        return self._key(
            table,
            (
                row.get(column, row.get(names.get(column.key, column.key)))
                for column in self.columns(table)
            ),
        )

    def given(self, tables: Collection[Table], key: Any) -> Any:  # noqa: ANN401  a key
        """A key that was given by itself, for a statement on these tables."""
        if not tables:
            return key
        table = min(tables, key=lambda each: each.fullname)
        parts = key if isinstance(key, tuple) else (key,)
        if len(parts) != len(self.columns(table)):
            raise no_key(self, tables, f"found the key {key!r}")
        return self._key(table, parts)

    def instance(self, table: Table, mapper: Mapper[Any], state: InstanceState[Any]) -> Any:  # noqa: ANN401
        """The key of an object that is to be inserted."""
        properties = (mapper.get_property_by_column(column) for column in self.columns(table))
        return self._key(table, (state.dict.get(each.key) for each in properties))

    def known(self, table: Table, mapper: Mapper[Any], state: InstanceState[Any]) -> Any:  # noqa: ANN401  a key
        """The key of a persistent object as far as it is in memory, else None."""
        values = []
        for column in self.columns(table):
            value = state.dict.get(mapper.get_property_by_column(column).key, _ABSENT)
            if value is _ABSENT and column in mapper.primary_key and state.key is not None:
                value = state.key[1][mapper.primary_key.index(column)]
            if value is _ABSENT:
                return None
            values.append(value)
        return self._key(table, values)

    def identity(self, table: Table, mapper: Mapper[Any], identity: Sequence[Any]) -> Any:  # noqa: ANN401  a key
        """The key within a primary key, None when it is not part of it."""
        columns = self.columns(table)
        if not all(column in mapper.primary_key for column in columns):
            return None
        return self._key(table, (identity[mapper.primary_key.index(each)] for each in columns))

    def table_of(self, mapper: Mapper[Any]) -> Table | None:
        """The table of a class that is spread over the shards, None for one that is on all."""
        tables = [each for each in mapper.tables if isinstance(each, Table)]
        for table in tables:
            if table.fullname in self.tables:
                return table
        for table in tables:
            if table.fullname not in self.reference:
                raise self.unknown(table.fullname)
        return None

    def _key(self, table: Table, values: Iterable[Any]) -> Any:  # noqa: ANN401  a key
        columns = self.columns(table)
        checked = [_value(column, value) for column, value in zip(columns, values, strict=True)]
        return checked[0] if len(checked) == 1 else tuple(checked)


def _names(table: str, key: str | Sequence[str]) -> tuple[str, ...]:
    names = (key,) if isinstance(key, str) or not isinstance(key, Sequence) else tuple(key)
    if not names or not all(map(_named, names)):
        raise ConfigError(
            f"ShardedDatabase: tables: {table}: expected the name of a column, found {key!r}"
        )
    return names


def _named(found: object) -> bool:
    return isinstance(found, str) and found != ""


def attribute_names(mapper: Mapper[Any] | None) -> dict[str, str]:
    """What each column is called as an attribute, where that is another name."""
    if mapper is None:
        return {}
    return {
        column.key: attribute.key
        for attribute in mapper.column_attrs
        for column in attribute.columns
    }


def no_key(keys: ShardKeys, tables: Collection[Table], why: str = "") -> NoShardKey:
    """Say how a statement says which shard it is for."""
    named = sorted(table.fullname for table in tables)
    if not named:
        return NoShardKey(
            "ShardedSession: this statement names no sharded table, so it has to say which shard "
            f"it is for: session(key=…) or execution_options(shard_key=…){why and '; ' + why}"
        )
    keys.columns(next(table for table in tables if table.fullname == named[0]))
    columns = " and ".join(keys.tables[named[0]])
    return NoShardKey(
        f"ShardedSession: {named[0]}: expected one value of {columns}{why and ', ' + why}; say "
        f".where({named[0]}.{keys.tables[named[0]][0]} == …), execution_options(shard_key=…) or "
        "session(key=…), or ask all shards with scatter(…)"
    )


def _equalities(
    clause: Any,  # noqa: ANN401  any part of a WHERE clause
    given: Mapping[str, Any],
) -> Iterator[tuple[Any, Any, list[Any]]]:
    """Columns, those of the tables below, and their values, where a condition has to hold."""
    for part in conjuncts(clause):
        if isinstance(part, BinaryExpression):
            yield from _compared(part, given)


def _compared(
    clause: BinaryExpression[Any], given: Mapping[str, Any]
) -> Iterator[tuple[Any, Any, list[Any]]]:
    several = clause.operator is operators.in_op
    sides = [(clause.left, clause.right)]
    if clause.operator is operators.eq:
        sides.append((clause.right, clause.left))
    elif not several:
        return
    for column, value in sides:
        found = _values(value, given, several=several)
        for base in getattr(column, "base_columns", ()) if found is not None else ():
            if isinstance(getattr(base, "table", None), Table):
                yield column, base, found or []


def _values(value: Any, given: Mapping[str, Any], *, several: bool) -> list[Any] | None:  # noqa: ANN401  any element
    if not isinstance(value, BindParameter):
        return None
    found = given.get(value.key, _ABSENT)
    if found is _ABSENT:
        found = value.effective_value
    return list(found or ()) if several else [found]


def _value(column: Column[Any], value: Any) -> Any:  # noqa: ANN401  a value of a column
    """The value as the map takes it. Raises `NoShardKey` for none, or of another type."""
    place = f"ShardedSession: {column.table.fullname}.{column.name}"
    if value is None:
        raise NoShardKey(
            f"{place} is the shard key: expected a value, found none; one that the server or a "
            "default makes comes too late"
        )
    kind = column.type
    while isinstance(kind, TypeDecorator):  # the server hashes what is sent
        if type(kind).process_bind_param is not TypeDecorator.process_bind_param:
            value = kind.process_bind_param(value, _DIALECT)
        kind = kind.impl_instance
    expected = kind.python_type
    if isinstance(kind, Uuid) and type(value) is str:
        return UUID(value)
    if type(value) is not expected:  # True is no 1, and a datetime no date
        raise NoShardKey(
            f"{place}: expected a key of type {expected.__name__}, found {value!r}: of another "
            "type it would be on another shard"
        )
    return value


def _keys(parts: list[list[Any]]) -> list[Any]:
    """All keys of the values of each column."""
    keys: list[tuple[Any, ...]] = [()]
    for part in parts:
        keys = [(*key, value) for key in keys for value in part]
    return [key[0] if len(key) == 1 else key for key in keys]
