"""Whether the rows that a statement brings together lie on one shard, wherever it is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BooleanClauseList,
    ClauseElement,
    ColumnClause,
    ColumnElement,
    Grouping,
)
from sqlalchemy.sql.selectable import (
    Alias,
    FromClause,
    SelectBase,
)

from escala.errors import CannotMerge

Source = Any  # a table or an alias of one: hashable, and equal to itself when annotated


@dataclass(frozen=True, slots=True)
class Tables:
    """What the planner knows of the tables: the shard key of each, and those that are everywhere.

    `keys` maps the name of a sharded table (with its schema, if it has one) to its key columns;
    `reference` names the tables that are the same on all shards.
    """

    keys: Mapping[str, Sequence[str]]
    reference: Collection[str] = ()

    def key(self, source: Source) -> Sequence[str]:
        """Give the key columns of a table, none for a reference table; `CannotMerge` for others."""
        table = table_of(source)
        name = getattr(table, "fullname", table.name)
        if name in self.keys:
            return self.keys[name]
        if name in self.reference:
            return ()
        raise CannotMerge(
            f"table {name!r} is neither sharded nor a reference table here: name it in `tables` "
            "or `reference`"
        )


def table_of(source: Source) -> Any:  # noqa: ANN401  SQLAlchemy's tables have no common type
    """Give the table that an alias stands for, or the table itself."""
    return source.element if isinstance(source, Alias) else source


@dataclass(slots=True)
class Placement:
    """The sharded sources of a statement, put together where their keys are equal.

    `nullable` are those on the outer side of a join: their key may be NULL in a row. `sources`
    is all that stands in FROM, reference tables and joins too, and `around` that of the queries
    around this one.
    """

    tables: Tables
    leaders: dict[Source, Source] = field(default_factory=dict)
    nullable: set[Source] = field(default_factory=set)
    sources: list[FromClause] = field(default_factory=list)
    around: Sequence[FromClause] = ()

    @property
    def sharded(self) -> bool:
        """Whether any of its tables is; otherwise each shard has the whole answer."""
        return bool(self.leaders)

    def key_part(self, column: object) -> tuple[Source, int] | None:
        """Give the sharded source that this column is of the key of, and its place in the key."""
        if not isinstance(column, ColumnClause) or column.table is None:
            return None
        if column.table not in self.leaders:
            return None
        key = self.tables.key(column.table)
        return (column.table, key.index(column.name)) if column.name in key else None

    def key_of(self, columns: Iterable[object]) -> set[Source]:
        """Give the sources whose whole key is among these, and never NULL."""
        found: dict[Source, set[int]] = {}
        for part in filter(None, map(self.key_part, columns)):
            found.setdefault(part[0], set()).add(part[1])
        return {
            source
            for source, parts in found.items()
            if len(parts) == len(self.tables.key(source)) and source not in self.nullable
        }

    def leader(self, source: Source) -> Source:
        """Give the one that stands for all that have the same key."""
        while (up := self.leaders[source]) is not source:
            source = up
        return source

    def join(self, kept: Source, moved: Source) -> None:
        """From here on, these two have the same key."""
        self.leaders[self.leader(moved)] = self.leader(kept)

    def links(self, clause: ClauseElement | None) -> list[tuple[Source, Source]]:
        """Give the pairs of sources whose keys a condition makes equal."""
        found: dict[tuple[Source, Source], set[int]] = {}
        for part in conjuncts(clause):
            if isinstance(part, BinaryExpression) and part.operator is operators.eq:
                left, right = self.key_part(part.left), self.key_part(part.right)
                if left is not None and right is not None and left[1] == right[1]:
                    pair = (left[0], right[0])
                    pair = pair[::-1] if pair[::-1] in found else pair
                    found.setdefault(pair, set()).add(left[1])
        key = self.tables.key
        return [
            (one, other)
            for (one, other), parts in found.items()
            if len(parts) == len(key(one)) == len(key(other))
        ]


def conjuncts(clause: Any) -> Iterator[ClauseElement]:  # noqa: ANN401  a tree of many types
    """Yield what all has to be true for a condition to be true."""
    if isinstance(clause, Grouping):
        yield from conjuncts(clause.element)
    elif isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        for part in clause.clauses:
            yield from conjuncts(part)
    elif clause is not None:
        yield clause


def is_source(element: object) -> bool:
    """Tell whether rows come from it: a function, which may stand in FROM, is a value first."""
    rows = isinstance(element, (SelectBase, FromClause))
    return rows and not isinstance(element, ColumnElement)


def walk(element: ClauseElement) -> Iterator[ClauseElement]:
    """Yield an expression and what it is made of, down to its subqueries but not into them."""
    yield element
    if not is_source(element):
        for child in element.get_children():
            yield from walk(child)
