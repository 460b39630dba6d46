"""What a SELECT of SQLAlchemy is made of, where its public interface does not say.

The planner reads statements through this file alone; `scatter_rows` does what loads entities.
"""

# ruff: noqa: SLF001  the private parts of a statement are what this file is for

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy.engine.default import StrCompileDialect
from sqlalchemy.sql import operators
from sqlalchemy.sql.annotation import _deep_deannotate
from sqlalchemy.sql.base import CompileState
from sqlalchemy.sql.dml import Delete, Update
from sqlalchemy.sql.elements import (
    BindParameter,
    ClauseElement,
    ClauseList,
    ColumnClause,
    ColumnElement,
    Grouping,
    Label,
    TextClause,
    UnaryExpression,
    _label_reference,
    _textual_label_reference,
)
from sqlalchemy.sql.selectable import FromClause, Select

from escala.errors import CannotMerge


class Output(NamedTuple):
    """One column of the answer: an expression, or an entity (a table or an alias of one)."""

    position: int
    expression: ClauseElement
    name: str | None

    @property
    def entity(self) -> bool:
        """Whether it is a whole mapped object."""
        return not isinstance(self.expression, ColumnElement)


class Sort(NamedTuple):
    """One term of ORDER BY, peeled; `nulls_first` is None where it is the database's default."""

    expression: ClauseElement
    descending: bool
    nulls_first: bool | None


def orm_state(statement: Any) -> Any:  # noqa: ANN401  has no public type
    """Give the class that runs this statement for the ORM; None where it is Core alone."""
    if statement._propagate_attrs.get("compile_state_plugin") != "orm":
        return None
    return CompileState._get_plugin_class_for_plugin(statement, "orm")


def final_froms(
    statement: Select[Any],
    around: Sequence[FromClause] = (),
    directly: Sequence[FromClause] = (),
) -> Sequence[FromClause]:
    """Give what stands in FROM, without eager loading.

    Of a query within others that leaves out what theirs provide: `around` is in FROM of any of
    them, `directly` in that of the one it stands in.
    """
    state = orm_state(statement)
    if state is not None:
        off = state.default_compile_options + {"_enable_eagerloads": False}
        statement = statement._set_compile_options(off)
    # A compiler that has compiled nothing yet: what stands in FROM is known before that.
    dialect: Any = StrCompileDialect()
    made: Any = statement._compile_state_factory(
        statement, dialect.statement_compiler(dialect, None)
    )
    froms: Sequence[FromClause] = made._get_display_froms(around, directly)
    return froms


def outputs(statement: Select[Any]) -> list[Output]:
    """Give the columns of the answer. Raises `CannotMerge` for those that cannot be counted."""
    raw = statement._raw_columns if orm_state(statement) else statement._all_selected_columns
    found = []
    for position, each in enumerate(raw):
        entity = isinstance(each, FromClause) and not isinstance(each, ColumnElement)
        if isinstance(each, TextClause) or (entity and "parententity" not in each._annotations):
            raise CannotMerge("text() or a whole table among mapped classes: name the columns")
        if not entity and not isinstance(each, ColumnElement):
            raise CannotMerge("a bundle of columns cannot be merged: select them one by one")
        name = each.name if isinstance(each, Label) else getattr(each, "key", None)
        found.append(Output(position, each, name))
    return found


def loaded_besides(statement: Select[Any]) -> Iterator[ClauseElement]:
    """Yield what entities are loaded with besides columns, and what options add to WHERE."""
    for each in statement._raw_columns if orm_state(statement) else ():
        parent: Any = each._annotations.get("parententity")
        if parent is None or isinstance(each, ColumnElement):
            continue
        for attribute in parent.mapper.column_attrs:
            if not attribute.deferred and not isinstance(attribute.expression, ColumnClause):
                yield getattr(parent.entity, attribute.key).expression
    for option in statement._with_options:
        criteria = getattr(option, "where_criteria", None)
        if isinstance(criteria, ClauseElement):
            yield criteria


def primary_key(output: Output) -> list[ColumnElement[Any]]:
    """Give the columns that tell one entity from another."""
    found: Any = output.expression
    return list(found.primary_key)


def columns_of(output: Output) -> list[ColumnElement[Any]]:
    """Give the columns of an entity."""
    found: Any = output.expression
    return list(found.columns)


def bare(expression: ClauseElement) -> ClauseElement:
    """Take off names and brackets."""
    inner: Any = expression
    while True:
        if isinstance(inner, (Label, Grouping)):
            inner = inner.element
        elif isinstance(inner, ClauseList) and len(inner.clauses) == 1:
            (inner,) = inner.clauses
        else:
            break
    found: ClauseElement = inner
    return found


def alike(one: ClauseElement, other: ClauseElement) -> bool:
    """Tell whether two expressions are the same, the values in them too."""
    one, other = bare(one), bare(other)
    if one.__visit_name__ != other.__visit_name__:
        return False
    return one is other or _identity(one) == _identity(other)


def _identity(expression: ClauseElement) -> object:
    # What an attribute of a class remembers of where it was taken from is left out.
    key = _deep_deannotate(expression)._generate_cache_key()
    if key is None:
        return expression
    return key.key, [parameter.effective_value for parameter in key.bindparams]


def named(clause: ClauseElement, columns: Sequence[Output]) -> ClauseElement:
    """Give what a term of ORDER BY or GROUP BY stands for, which may be a column of the answer."""
    if isinstance(clause, _label_reference):
        clause = clause.element
    if isinstance(clause, _textual_label_reference):
        return _by_name(clause.element, columns)
    if isinstance(clause, ColumnClause) and clause.is_literal:
        return _by_number(clause.name, columns)
    if isinstance(clause, TextClause):
        raise CannotMerge("text() in ORDER BY or GROUP BY cannot be read: name a column")
    return clause


def _by_name(name: str, columns: Sequence[Output]) -> ClauseElement:
    for column in columns:
        if column.name == name and not column.entity:
            return column.expression
    for column in columns:
        for each in columns_of(column) if column.entity else ():
            if getattr(each, "key", None) == name:
                return each
    raise CannotMerge(f"ORDER BY or GROUP BY {name!r} is no column of the answer: name one")


def _by_number(text: str, columns: Sequence[Output]) -> ClauseElement:
    if text.isdigit() and 0 < int(text) <= len(columns) and not columns[int(text) - 1].entity:
        return columns[int(text) - 1].expression
    raise CannotMerge(f"ORDER BY {text!r} cannot be read: name a column")


def sorts(statement: Select[Any], columns: Sequence[Output]) -> Iterator[Sort]:
    """Yield the terms of ORDER BY."""
    for clause in statement._order_by_clauses:
        term: ClauseElement = clause
        descending, nulls_first = False, None
        while True:
            term = named(term, columns)
            if not isinstance(term, UnaryExpression) or term.modifier not in _MODIFIERS:
                break
            if term.modifier is operators.desc_op:
                descending = True
            elif term.modifier is not operators.asc_op:
                nulls_first = term.modifier is operators.nulls_first_op
            inner: Any = term.element
            term = inner
        yield Sort(term, descending, nulls_first)


_MODIFIERS = {
    operators.asc_op,
    operators.desc_op,
    operators.nulls_first_op,
    operators.nulls_last_op,
}


def group_by(statement: Select[Any], columns: Sequence[Output]) -> list[ClauseElement]:
    """Give the terms of GROUP BY."""
    return [named(bare(clause), columns) for clause in statement._group_by_clauses]


class Clauses(NamedTuple):
    """What is not FROM, WHERE, the columns or an order."""

    limit: int | None
    offset: int
    having: Sequence[ColumnElement[Any]]
    distinct: bool
    distinct_on: Sequence[ColumnElement[Any]]


def clauses(statement: Select[Any], parameters: Mapping[str, Any]) -> Clauses:
    """Read them. Raises `CannotMerge` where LIMIT or OFFSET is not known."""
    return Clauses(
        _count_of(statement._limit_clause, "LIMIT", parameters),
        _count_of(statement._offset_clause, "OFFSET", parameters) or 0,
        statement._having_criteria,
        statement._distinct,
        _distinct_on(statement),
    )


_DISTINCT_ON = "postgresql_distinct_on"


def _distinct_on(statement: Select[Any]) -> Sequence[ColumnElement[Any]]:
    """Give its terms, said to `distinct()` or, since 2.1, by an extension."""
    extension: Any = getattr(statement, "_pre_columns_clause", None)
    if getattr(extension, "__visit_name__", None) != _DISTINCT_ON:
        return statement._distinct_on
    return [bare(term) for term in extension._distinct_on]  # type: ignore[misc]


def groups_alone(statement: Select[Any]) -> Select[Any]:
    """Make the statement that gives all groups of a shard, in no order."""
    made = statement.limit(None).offset(None).order_by(None)  # a copy
    made._having_criteria = ()
    made._distinct = False
    return made


def _count_of(clause: Any, what: str, parameters: Mapping[str, Any]) -> int | None:  # noqa: ANN401
    """Give the number in LIMIT or OFFSET, None if there is none."""
    if clause is None:
        return None
    value: object = None
    if isinstance(clause, BindParameter):
        value = parameters.get(clause.key, clause.effective_value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise CannotMerge(f"{what} is not a number that is known before asking: give it as one")
    if value < 0:
        raise CannotMerge(f"{what} is below 0")
    return value


_EXTENSIONS = tuple(
    f"_{place}_clause" for place in ("post_select", "pre_columns", "post_criteria", "post_body")
)


def refuse_unmergeable(statement: Select[Any]) -> None:
    """Raise `CannotMerge` for clauses whose shares do not add up to the whole."""
    found = {
        "FETCH: use limit()": statement._fetch_clause is not None,
        "FOR UPDATE: lock rows in a transaction of their shard": statement._for_update_arg
        is not None,
        "prefixes, suffixes and hints: leave them out": statement._prefixes
        or statement._suffixes
        or statement._statement_hints,
        "extensions of the syntax: leave them out": any(
            extension is not None and extension.__visit_name__ != _DISTINCT_ON
            for extension in (getattr(statement, name, None) for name in _EXTENSIONS)
        ),
        "WITH: ask for it apart": statement._independent_ctes,
    }
    for what, there in found.items():
        if there:
            raise CannotMerge(f"a scatter has no {what}")


def whole(statement: Select[Any]) -> bool:
    """Tell whether a query gives all rows it finds, each as it is: no limit, no groups."""
    return not (
        statement._has_row_limiting_clause
        or _distinct_on(statement)
        or statement._group_by_clauses
        or statement._having_criteria
    )


def changed_columns(statement: Update | Delete) -> set[str]:
    """Give the names of the columns that an update sets."""
    return {getattr(column, "key", column) for column, _ in _assigned(statement)}


def change_clauses(statement: Update | Delete) -> list[ClauseElement]:
    """Give the expressions of an update or delete."""
    values = [value for _, value in _assigned(statement) if isinstance(value, ClauseElement)]
    return [*statement._where_criteria, *values]


def _assigned(statement: Update | Delete) -> list[tuple[Any, Any]]:
    values: Any = getattr(statement, "_values", None) or {}
    ordered: Any = getattr(statement, "_ordered_values", None) or ()  # before 2.1
    return [*(values.items() if isinstance(values, Mapping) else values), *ordered]


def refuse_unchangeable(statement: Update | Delete) -> None:
    """Raise `CannotMerge` for a change that gives rows back, or is more than a change."""
    if statement._returning:
        raise CannotMerge("a scatter has no RETURNING: ask for the rows apart")
    if statement._independent_ctes or statement._prefixes:
        raise CannotMerge("a scatter has no WITH and no prefixes: leave them out")
