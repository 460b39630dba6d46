"""From a statement to what each shard is asked, and how the answers become one; or why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.sql.dml import Delete, Update
from sqlalchemy.sql.elements import BindParameter, ClauseElement, ColumnClause, ColumnElement
from sqlalchemy.sql.selectable import Select, SelectBase

from escala.databases.pure.groups import Groups, Value
from escala.databases.pure.merge import Merge, SortKey
from escala.databases.pure.sql_value import both
from escala.databases.scattering import scatter_select as read
from escala.databases.scattering.scatter_expression import Aggregates, aggregated, refuse_window
from escala.databases.scattering.scatter_place import place, place_change
from escala.databases.scattering.scatter_tables import Placement, Tables, walk
from escala.databases.scattering.scatter_values import Dialect, raw
from escala.errors import CannotMerge

_PREFIX = "escala_"


@dataclass(frozen=True, slots=True)
class ScatterPlan:
    """What each shard is sent, how many columns of its rows are the answer's, and the merge.

    With `one_shard` any shard has the whole answer: only reference tables are read. `joined`
    tells whether an entity may come in several rows.
    """

    statement: Select[Any]
    width: int
    merge: Merge
    one_shard: bool = False
    joined: bool = False


def plan(
    statement: Select[Any],
    tables: Tables,
    dialect: Dialect,
    parameters: Mapping[str, Any] | None = None,
) -> ScatterPlan:
    """Make the plan of a SELECT. Raises `CannotMerge` with the reason where there is none."""
    if not isinstance(statement, Select):
        raise CannotMerge(
            f"a scatter takes select(), update() and delete(), not {type(statement).__name__}: ask "
            "for the parts of a union apart, and read text by naming its shard"
        )
    if dialect.name not in {"postgresql", "sqlite"}:
        raise CannotMerge(f"how {dialect.name} sorts and reckons is not known here")
    if parameters:
        statement = statement.params(dict(parameters))
    read.refuse_unmergeable(statement)
    placement = place(statement, tables)
    columns = read.outputs(statement)
    if not placement.sharded:
        return ScatterPlan(statement, len(columns), Merge(), one_shard=True)
    return _Planner(statement, placement, dialect, columns, parameters or {}).plan()


class _Planner:
    def __init__(
        self,
        statement: Select[Any],
        placement: Placement,
        dialect: Dialect,
        columns: list[read.Output],
        parameters: Mapping[str, Any],
    ) -> None:
        self.statement, self.placement, self.dialect = statement, placement, dialect
        self.columns, self.clauses = columns, read.clauses(statement, parameters)
        self.hidden: list[ColumnElement[Any]] = []
        self.groups = read.group_by(statement, columns)
        self.sorts = list(read.sorts(statement, columns))

    def plan(self) -> ScatterPlan:
        terms = [column.expression for column in self.columns if not column.entity]
        terms += [sort.expression for sort in self.sorts]
        if self.placement.key_of(map(read.bare, self.groups)):  # each group is on one shard
            for part in (part for term in terms for part in walk(term)):
                refuse_window(part)
            statement, merge = self._rows()
        elif [term for term in terms if aggregated(term)] or self.groups or self.clauses.having:
            statement, merge = self._grouped()
        else:
            statement, merge = self._rows()
        merge = replace(merge, offset=self.clauses.offset, limit=self.clauses.limit)
        names = [each.label(f"{_PREFIX}{at}") for at, each in enumerate(self.hidden)]
        if names:
            statement = statement.add_columns(*names)
        joined = len(self.placement.sources) > 1
        return ScatterPlan(statement, len(self.columns), merge, joined=joined)

    # Rows that each shard can give as they are: sorted, and no more than the answer needs.

    def _rows(self) -> tuple[Select[Any], Merge]:
        order = tuple(self._sort_key(sort) for sort in self.sorts)
        merge = Merge(order=order, distinct=self._distinct())
        limit = self.clauses.limit
        if limit is None:
            return self.statement.offset(None), merge
        return self.statement.limit(self.clauses.offset + limit).offset(None), merge

    def _sort_key(self, sort: read.Sort) -> SortKey:
        expression = _value(sort.expression)
        if self.clauses.distinct and not self.clauses.distinct_on:
            self._selected(expression)
        position = self._ask(expression)
        return self.dialect.sort(
            position, raw(expression), descending=sort.descending, first=sort.nulls_first
        )

    def _selected(self, expression: ColumnElement[Any]) -> None:
        for column in self.columns:
            inside = read.columns_of(column) if column.entity else [column.expression]
            if any(read.alike(each, expression) for each in inside):
                return
        raise CannotMerge("with DISTINCT, what is sorted by has to be selected")

    def _distinct(self) -> tuple[int, ...] | None:
        if self.clauses.distinct_on:
            return self._distinct_on(self.clauses.distinct_on)
        if not self.clauses.distinct:
            return None
        terms: list[ClauseElement] = []
        for column in self.columns:
            terms += read.primary_key(column) if column.entity else [column.expression]
        return tuple(self._key(term, "DISTINCT") for term in terms)

    def _distinct_on(self, terms: Sequence[ClauseElement]) -> tuple[int, ...]:
        first = [sort.expression for sort in self.sorts[: len(terms)]]
        if not all(any(read.alike(term, each) for each in first) for term in terms):
            raise CannotMerge("DISTINCT ON takes the first row of an order: order by it first")
        return tuple(self._key(term, "DISTINCT ON") for term in terms)

    def _key(self, term: ClauseElement, what: str) -> int:
        expression = _value(term)
        self.dialect.told_apart(raw(expression), what)
        return self._ask(expression)

    def _ask(self, expression: ColumnElement[Any]) -> int:
        """Give the column in which the shards' rows have this, as the database compares it."""
        if raw(expression) is expression:
            for column in self.columns:
                if not column.entity and read.alike(column.expression, expression):
                    return column.position
        expression = raw(expression)
        for position, each in enumerate(self.hidden, len(self.columns)):
            if read.alike(each, expression):
                return position
        self.hidden.append(expression)
        return len(self.columns) + len(self.hidden) - 1

    # Groups whose rows lie on several shards: their aggregates are put together here.

    def _grouped(self) -> tuple[Select[Any], Merge]:
        if self.clauses.distinct_on:
            raise CannotMerge("DISTINCT ON of groups: select the groups, and choose from them")
        if any(aggregated(term) for term in self.groups):
            raise CannotMerge("an aggregate in GROUP BY: group by a value of a row")
        keys = tuple(self._key(term, "GROUP BY") for term in self.groups)
        statement = self._grouped_by_name(keys)
        aggregates = Aggregates(self.dialect, self._ask, self._once)
        values: list[tuple[int, Value]] = []
        for column in self.columns:
            if column.entity or not aggregated(column.expression):
                self._determined(column)
            else:
                value = aggregates.value(column.expression)
                values.append((column.position, self.dialect.answered(value, column.expression)))
        sorts = [(aggregates.value(sort.expression), sort) for sort in self.sorts]
        having = [aggregates.value(each) for each in self.clauses.having]
        distinct = self._distinct()
        width = len(self.columns) + len(self.hidden)
        order = []
        for position, (value, sort) in enumerate(sorts, width):
            if distinct is not None:
                self._selected(_value(sort.expression))
            values.append((position, value))
            kind = raw(_value(sort.expression))
            descending, first = sort.descending, sort.nulls_first
            order.append(self.dialect.sort(position, kind, descending=descending, first=first))
        groups = Groups(
            keys, tuple(aggregates.parts.values()), both(having) if having else None, tuple(values)
        )
        return statement, Merge(order=tuple(order), distinct=distinct, groups=groups)

    def _grouped_by_name(self, keys: Sequence[int]) -> Select[Any]:
        # An expression with parameters is another one each time it is written, so a key that was
        # not selected is named where it has some.
        statement, width = read.groups_alone(self.statement), len(self.columns)
        if not any(
            position >= width and _has_parameter(self.hidden[position - width]) for position in keys
        ):
            return statement
        terms: list[Any] = [
            f"{_PREFIX}{position - width}" if position >= width else term
            for position, term in zip(keys, self.groups, strict=True)
        ]
        return statement.group_by(None).group_by(*terms)

    def _once(self, expression: ColumnElement[Any]) -> int:
        if not self._follows(expression):
            raise CannotMerge(
                f"{expression} may differ between the rows of a group: group by it too"
            )
        return self._ask(expression)

    def _determined(self, column: read.Output) -> None:
        parts = read.primary_key(column) if column.entity else [_value(column.expression)]
        for part in parts:
            if not self._follows(part):
                raise CannotMerge(f"{part} may differ between the rows of a group: group by it too")

    def _grouped_by(self, expression: ClauseElement) -> bool:
        return any(read.alike(term, expression) for term in self.groups)

    def _follows(self, expression: ClauseElement) -> bool:
        """Whether it is the same for all rows that are equal in what is grouped by."""
        if self._grouped_by(expression):
            return True
        if isinstance(expression, SelectBase):
            return False
        if isinstance(expression, ColumnClause) and expression.table is not None:
            key = list(expression.table.primary_key)
            return bool(key) and all(self._grouped_by(each) for each in key)
        return all(self._follows(child) for child in expression.get_children())


def _has_parameter(expression: ClauseElement) -> bool:
    return any(isinstance(part, BindParameter) for part in walk(expression))


def _value(expression: ClauseElement) -> ColumnElement[Any]:
    if isinstance(expression, ColumnElement):
        return expression
    raise CannotMerge(f"{expression} is no value that could be sorted or grouped by")


def check_change(statement: Any, tables: Tables) -> None:  # noqa: ANN401  what a session was given
    """Raise `CannotMerge` unless an update or delete may be made on each shard by itself."""
    if not isinstance(statement, Update | Delete):
        raise CannotMerge(
            f"a scatter takes select(), update() and delete(), not {type(statement).__name__}: ask "
            "for the parts of a union apart, insert rows as they are, and name the shard for text"
        )
    read.refuse_unchangeable(statement)
    place_change(statement, tables)
