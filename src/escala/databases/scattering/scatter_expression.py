"""From an expression over aggregates to what shards are asked for, and what is made of it here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, types
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression as Binary
from sqlalchemy.sql.elements import (
    BindParameter,
    Case,
    ClauseElement,
    ColumnElement,
    ExpressionClauseList,
    False_,
    FunctionFilter,
    Null,
    True_,
    UnaryExpression,
)
from sqlalchemy.sql.functions import FunctionElement

from escala.databases.pure import sql_value
from escala.databases.pure.groups import Kind, Part, Value
from escala.databases.pure.merge import sort_key
from escala.databases.scattering.scatter_select import bare
from escala.databases.scattering.scatter_tables import walk
from escala.databases.scattering.scatter_values import Dialect
from escala.errors import CannotMerge

AGGREGATES = frozenset({"count", "sum", "min", "max", "avg"})
# Functions of one row: what they give for it is the same, wherever it is asked.
SCALARS = frozenset(
    """
    abs bit_length btrim ceil ceiling char_length coalesce concat concat_ws current_date
    current_timestamp date date_part date_trunc datetime exp floor greatest ifnull iif
    json_extract julianday least left length ln log lower lpad ltrim md5 mod now nullif power
    replace reverse right round rpad rtrim sign split_part sqrt strftime strpos substr substring
    time to_char trim trunc upper
    """.split()  # noqa: SIM905  a list of names is read better without marks
)
_ARITHMETIC = {operators.add: "add", operators.sub: "sub", operators.mul: "mul"}
_COMPARISON = {getattr(operators, name): name for name in sql_value.COMPARED}
_NULLS = {operators.is_: False, operators.is_not: True}
_UNARY: dict[Any, Callable[[Value], Value]] = {
    operators.neg: sql_value.negative,
    operators.inv: sql_value.denied,
}
_FUNCTIONS: dict[str, Callable[[Sequence[Value]], Value]] = {
    "coalesce": sql_value.first_known,
    "nullif": lambda values: sql_value.unless_equal(*values),
}


def name_of(part: ClauseElement) -> str | None:
    """Give the name of the function that this calls."""
    if not isinstance(part, FunctionElement) or not part.name:
        return None
    names = (*getattr(part, "packagenames", ()), part.name)  # another schema's is another function
    return ".".join(names).lower().removeprefix("pg_catalog.")


def refuse_window(part: ClauseElement) -> None:
    """Raise `CannotMerge` for what looks at other rows than those of its group."""
    if part.__visit_name__ in {"over", "withingroup", "aggregateorderby", "aggregate_order_by"}:
        raise CannotMerge(
            "a window or an ordered aggregate sees the rows of one shard only: ask for it shard "
            "by shard, or compute it from the rows"
        )


def aggregate(part: ClauseElement) -> str | None:
    """Give the name of the aggregate that this is. `CannotMerge` for functions not known."""
    refuse_window(part)
    name = name_of(part)
    if not isinstance(part, FunctionElement) or name is None or name in SCALARS:
        return None
    if name not in AGGREGATES:
        raise CannotMerge(
            f"the function {name}() is not known here: it may be an aggregate, or count on rows "
            "of other shards; use it in WHERE, or compute it from the rows"
        )
    arguments = list(part.clauses)
    if len(arguments) > 1:
        raise CannotMerge(f"{name}() of several arguments: use greatest() or least(), or case()")
    return name


def aggregated(expression: ClauseElement) -> bool:
    """Tell whether an aggregate is in it."""
    found = [aggregate(part) for part in walk(expression)]  # each has to be one that is known
    return any(name is not None for name in found)


@dataclass(slots=True)
class Aggregates:
    """Collects what the shards have to be asked for, as the expressions are read.

    `ask` takes an expression and gives the column of the shards' rows it will be in; `once` does
    so for what has no aggregate in it, and has to be the same for all rows of a group.
    """

    dialect: Dialect
    ask: Callable[[ColumnElement[Any]], int]
    once: Callable[[ColumnElement[Any]], int]
    parts: dict[int, Part] = field(default_factory=dict)

    def value(self, expression: ClauseElement) -> Value:
        """Make what computes an expression from a row of the merged groups."""
        expression = bare(expression)
        if not aggregated(expression):
            if isinstance(expression, BindParameter):
                return sql_value.constant(expression.effective_value)
            if isinstance(expression, (Null, True_, False_)):
                constant = None if isinstance(expression, Null) else isinstance(expression, True_)
                return sql_value.constant(constant)
            return sql_value.column(self.once(_column(expression)))
        if isinstance(expression, FunctionFilter) or aggregate(expression):
            return sql_value.column(self._part(_column(expression)))
        made = self._composed(expression)
        if made is None:
            raise CannotMerge(
                f"{expression} cannot be computed from merged aggregates: ask for the aggregates "
                "and compute it from them"
            )
        return made

    def all(self, expressions: Sequence[ClauseElement]) -> list[Value]:
        """Make the same for several."""
        return [self.value(expression) for expression in expressions]

    def _part(self, expression: ColumnElement[Any]) -> int:
        function: Any = expression.func if isinstance(expression, FunctionFilter) else expression
        name = aggregate(function)
        (argument,) = list(function.clauses) or [None]
        if isinstance(argument, UnaryExpression) and argument.operator is operators.distinct_op:
            raise CannotMerge(
                f"{name}(DISTINCT …): a value may be on several shards; group by the shard key, or "
                "select the distinct values and aggregate them"
            )
        position = self.ask(expression)
        if position not in self.parts:
            self.parts[position] = self._made(name, expression, argument, position)
        return position

    def _made(
        self,
        name: str | None,
        expression: ColumnElement[Any],
        argument: ColumnElement[Any],
        position: int,
    ) -> Part:
        if name == "count":
            return Part(Kind.SUM, position)
        if isinstance(argument.type, types.TypeDecorator):
            raise CannotMerge(f"{name}() of a type of Python's own: use type_coerce() on it")
        if name == "sum":
            return Part(Kind.SUM, position)
        if name == "avg":
            parts: list[Any] = [func.sum(argument), func.count(argument)]
            if isinstance(expression, FunctionFilter):
                parts = [part.filter(expression.criterion) for part in parts]
            total, count = (self.ask(part) for part in parts)
            return Part(Kind.AVG, position, total, count)
        key = self.dialect.sort(0, argument, descending=False, first=None)
        order = sort_key([key])
        kind = Kind.MIN if name == "min" else Kind.MAX
        return Part(kind, position, before=lambda one, other: order([one]) < order([other]))

    def _composed(self, part: ClauseElement) -> Value | None:
        if isinstance(part, Binary):
            return self._binary(part)
        if isinstance(part, ExpressionClauseList):
            return self._list(part)
        if isinstance(part, Case) and part.value is None:
            whens = [(self.value(when), self.value(then)) for when, then in part.whens]
            otherwise = sql_value.constant(None)
            return sql_value.chosen(
                whens, otherwise if part.else_ is None else self.value(part.else_)
            )
        if isinstance(part, UnaryExpression) and part.operator in _UNARY:
            return _UNARY[part.operator](self.value(part.element))
        if isinstance(part, FunctionElement) and part.name in _FUNCTIONS:
            return _FUNCTIONS[part.name](self.all(list(part.clauses)))
        return None

    def _binary(self, part: Binary[Any]) -> Value | None:
        function: Any = part.operator
        if function in _NULLS and isinstance(part.right, Null):
            return sql_value.is_null(self.value(part.left), negated=_NULLS[function])
        if function is not operators.truediv and function not in {*_ARITHMETIC, *_COMPARISON}:
            return None
        left, right = self.value(part.left), self.value(part.right)
        if function in _ARITHMETIC:
            return sql_value.reckoned(_ARITHMETIC[function], left, right)
        if function in _COMPARISON:
            text = self._text(part.left)
            return sql_value.compared(_COMPARISON[function], left, right, text=text)
        sqlite = self.dialect.name == "sqlite"
        return sql_value.divided(left, right, by_zero_is_null=sqlite, as_float=sqlite)

    def _text(self, expression: ColumnElement[Any]) -> bool:
        kind = self.dialect.type(expression)
        return isinstance(kind, types.String) and self.dialect.sorted_text(expression, "compared")

    def _list(self, part: ExpressionClauseList[Any]) -> Value | None:
        function: Any = part.operator
        if function is operators.and_:
            return sql_value.both(self.all(part.clauses))
        if function is operators.or_:
            return sql_value.either(self.all(part.clauses))
        if function not in _ARITHMETIC:
            return None
        first, *others = self.all(part.clauses)
        for other in others:
            first = sql_value.reckoned(_ARITHMETIC[function], first, other)
        return first


def _column(expression: ClauseElement) -> ColumnElement[Any]:
    if isinstance(expression, ColumnElement):
        return expression
    raise CannotMerge(f"{expression} is no value that could be selected")
