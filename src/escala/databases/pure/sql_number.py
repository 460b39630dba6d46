"""Reckon as the database does: exact `numeric`, and its rule for the digits of a quotient."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any, TypeAlias

Number: TypeAlias = int | float | Decimal

# Sums and products are exact, so no digit of it is ever kept in vain.
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_SIGNIFICANT, _GROUP, _MOST_DIGITS = 16, 4, 1000  # NUMERIC_MIN_SIG_DIGITS, DEC_DIGITS


def add(left: Number, right: Number) -> Number:
    """`left + right`."""
    return _reckoned(left, right, operator.add, _EXACT.add)


def subtract(left: Number, right: Number) -> Number:
    """`left - right`."""
    return _reckoned(left, right, operator.sub, _EXACT.subtract)


def multiply(left: Number, right: Number) -> Number:
    """`left * right`."""
    return _reckoned(left, right, operator.mul, _EXACT.multiply)


def _reckoned(
    left: Number,
    right: Number,
    plainly: Callable[[Any, Any], Number],
    exactly: Callable[[Decimal, Decimal], Decimal],
) -> Number:
    # With a double precision number, a numeric becomes one.
    if isinstance(left, float) or isinstance(right, float):
        return plainly(float(left), float(right))
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        return exactly(Decimal(left), Decimal(right))
    return plainly(left, right)


def divide(left: Decimal, right: Decimal) -> Decimal:
    """Divide as PostgreSQL's `numeric` does: at least 16 significant digits, half away from zero.

    It estimates the quotient's size from the first four digits of each (`select_div_scale`).

    >>> divide(Decimal(10), Decimal(3)), divide(Decimal("2.50"), Decimal(5))
    (Decimal('3.3333333333333333'), Decimal('0.50000000000000000000'))
    """
    if not (left.is_finite() and right.is_finite()):
        return left / right
    if not right:
        raise ZeroDivisionError("division by zero")
    (weight, first), (other_weight, other_first) = _leading(left), _leading(right)
    quotient_weight = weight - other_weight - (first <= other_first)
    scale = max(_SIGNIFICANT - quotient_weight * _GROUP, _scale(left), _scale(right), 0)
    scale = min(scale, _MOST_DIGITS)
    over, under = left.as_integer_ratio(), right.as_integer_ratio()
    upper = abs(over[0] * under[1]) * 10**scale
    lower = abs(over[1] * under[0])
    digits = (2 * upper + lower) // (2 * lower)
    made = Decimal(digits).scaleb(-scale, _EXACT)
    return made if (left < 0) == (right < 0) else _EXACT.minus(made)


def _scale(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)  # noqa: S101  it is finite
    return max(-exponent, 0)


def _leading(value: Decimal) -> tuple[int, int]:
    """Give the weight and value of the first group of four digits that is not zero."""
    if not value:
        return 0, 0
    weight = value.adjusted() // _GROUP
    first = int(abs(value).scaleb(-weight * _GROUP, _EXACT))
    return weight, first
