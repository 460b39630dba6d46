"""Expressions over aggregates, computed here once the aggregates are whole.

Each function makes a `Value`: a function of a row. NULL is None, and follows SQL's rules.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from escala.databases.pure import sql_number
from escala.databases.pure.groups import Row, Value
from escala.errors import CannotMerge

NUMERIC = {"add": sql_number.add, "sub": sql_number.subtract, "mul": sql_number.multiply}
COMPARED = {name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")}
_NUMBERS = (int, float, Decimal)


def column(position: int) -> Value:
    """Take what stands in a column."""
    return operator.itemgetter(position)


def constant(value: object) -> Value:
    """Take a value that is in the statement."""
    return lambda _row: value


def reckoned(name: str, left: Value, right: Value) -> Value:
    """`left` plus, minus or times `right`; NULL if either is."""
    function = NUMERIC[name]

    def value(row: Row) -> Any:  # noqa: ANN401  whatever a column holds
        a, b = left(row), right(row)
        if a is None or b is None:
            return None
        return function(_number(a), _number(b))

    return value


def divided(left: Value, right: Value, *, by_zero_is_null: bool, as_float: bool) -> Value:
    """`left / right`: between whole numbers too it is no whole number.

    `as_float` divides them as SQLite does, otherwise they become `numeric`.
    """

    def value(row: Row) -> Any:  # noqa: ANN401
        a, b = left(row), right(row)
        if a is None or b is None:
            return None
        a, b = _number(a), _number(b)
        if b == 0 and by_zero_is_null:
            return None
        if as_float or isinstance(a, float) or isinstance(b, float):
            return float(a) / float(b)
        return sql_number.divide(Decimal(a), Decimal(b))

    return value


def as_decimal(inner: Value, digits: int) -> Value:
    """A `float` as a `Decimal` with so many digits after the point."""

    def value(row: Row) -> Any:  # noqa: ANN401
        found = inner(row)
        return Decimal(f"{found:.{digits}f}") if isinstance(found, float) else found

    return value


def negative(inner: Value) -> Value:
    """`-inner`."""
    return reckoned("sub", constant(0), inner)


def compared(name: str, left: Value, right: Value, *, text: bool) -> Value:
    """Compare numbers, dates, and text where the servers order it by its bytes (`text`)."""
    function = COMPARED[name]

    def value(row: Row) -> bool | None:
        a, b = left(row), right(row)
        if a is None or b is None:
            return None
        if isinstance(a, str) and not text and name not in {"eq", "ne"}:
            raise CannotMerge("text that is no column is not compared here: cast it to a number")
        if isinstance(a, Decimal) and isinstance(b, float):
            a = float(a)
        elif isinstance(b, Decimal) and isinstance(a, float):
            b = float(b)
        try:
            return bool(function(a, b))
        except TypeError as error:
            raise CannotMerge(f"these are not compared here: {error}") from error

    return value


def is_null(inner: Value, *, negated: bool) -> Value:
    """`inner IS NULL`, or `IS NOT NULL`."""
    return lambda row: (inner(row) is None) is not negated


def both(parts: Sequence[Value]) -> Value:
    """AND: false if one is, else NULL if one is."""
    return _junction(parts, decisive=False)


def either(parts: Sequence[Value]) -> Value:
    """OR: true if one is, else NULL if one is."""
    return _junction(parts, decisive=True)


def _junction(parts: Sequence[Value], *, decisive: bool) -> Value:
    def value(row: Row) -> bool | None:
        found: bool | None = not decisive
        for part in parts:
            each = part(row)
            if each is None:
                found = None
            elif bool(each) is decisive:
                return decisive
        return found

    return value


def denied(inner: Value) -> Value:
    """NOT; of NULL it is NULL."""

    def value(row: Row) -> bool | None:
        found = inner(row)
        return None if found is None else not found

    return value


def first_known(parts: Sequence[Value]) -> Value:
    """COALESCE: the first that is not NULL."""

    def value(row: Row) -> Any:  # noqa: ANN401
        return next((found for part in parts if (found := part(row)) is not None), None)

    return value


def unless_equal(left: Value, right: Value) -> Value:
    """NULLIF: `left`, or NULL where it equals `right`."""
    equal = compared("eq", left, right, text=False)
    return lambda row: None if equal(row) else left(row)


def chosen(whens: Sequence[tuple[Value, Value]], otherwise: Value) -> Value:
    """CASE: the value of the first condition that is true."""

    def value(row: Row) -> Any:  # noqa: ANN401
        for condition, result in whens:
            if condition(row):
                return result(row)
        return otherwise(row)

    return value


def _number(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, _NUMBERS):
        return value
    raise CannotMerge(f"{type(value).__name__} is no number to reckon with: cast it to one")
