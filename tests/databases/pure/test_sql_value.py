"""Reckoning as the database does: NULL, NaN, exact numeric, and the digits of a quotient."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from escala.databases.pure import sql_value
from escala.databases.pure.sql_number import add, divide, multiply, subtract
from escala.errors import CannotMerge

ROW: list[Any] = [3, None, Decimal("1.50"), 2.0, True, False, "a", 0]
THREE, NULL, NUMERIC, FLOAT, TRUE, FALSE, TEXT, ZERO = map(sql_value.column, range(8))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("10", "3", "3.3333333333333333"),
        ("1", "3", "0.33333333333333333333"),
        ("2.50", "5", "0.50000000000000000000"),
        ("-1", "3", "-0.33333333333333333333"),
        ("-2", "-3", "0.66666666666666666667"),
        ("0", "7", "0E-20"),
        ("123456.78", "7", "17636.682857142857"),
        ("99999999999999999999", "3", "33333333333333333333"),
        ("1", "99999999999999999999", "1.0000000000000000E-20"),
        ("20000", "3", "6666.6666666666666667"),
        ("30000", "2", "15000.000000000000"),
        ("10000", "10000", "1.00000000000000000000"),
        ("0.0001", "0.0003", "0.33333333333333333333"),
        ("1.00000000000000000000000001", "1", "1.00000000000000000000000001"),
    ],
    ids=lambda value: value,
)
def test_a_quotient_has_the_digits_of_postgres(left: str, right: str, expected: str) -> None:
    assert str(divide(Decimal(left), Decimal(right))) == expected


def test_numeric_is_exact_and_becomes_double_beside_one() -> None:
    long = Decimal("1234567890123456789012345678901234567890.5")
    assert str(add(long, 1)) == "1234567890123456789012345678901234567891.5"
    assert str(subtract(long, Decimal("0.50"))) == "1234567890123456789012345678901234567890.00"
    assert str(multiply(long, 2)) == "2469135780246913578024691357802469135781.0"
    assert add(Decimal("0.5"), 0.25) == 0.75
    assert isinstance(multiply(Decimal(2), 0.5), float)
    assert add(2, 3) == 5
    assert divide(Decimal("Infinity"), Decimal(2)).is_infinite()
    assert divide(Decimal(2), Decimal("Infinity")) == 0
    assert divide(Decimal("1e-998"), Decimal(3)).as_tuple().exponent == -1000
    with pytest.raises(ZeroDivisionError):
        divide(Decimal(1), Decimal(0))


def test_null_makes_null() -> None:
    for name in ("add", "sub", "mul"):
        assert sql_value.reckoned(name, THREE, NULL)(ROW) is None
        assert sql_value.reckoned(name, NULL, THREE)(ROW) is None
    for name in sql_value.COMPARED:
        assert sql_value.compared(name, NULL, THREE, text=False)(ROW) is None
    assert sql_value.denied(NULL)(ROW) is None
    assert sql_value.negative(NULL)(ROW) is None
    assert sql_value.divided(THREE, NULL, by_zero_is_null=False, as_float=True)(ROW) is None


def test_arithmetic() -> None:
    assert sql_value.reckoned("add", THREE, NUMERIC)(ROW) == Decimal("4.50")
    assert sql_value.reckoned("sub", THREE, FLOAT)(ROW) == 1.0
    assert sql_value.reckoned("mul", THREE, THREE)(ROW) == 9
    assert sql_value.negative(THREE)(ROW) == -3
    with pytest.raises(CannotMerge, match="no number"):
        sql_value.reckoned("add", THREE, TEXT)(ROW)


def test_division() -> None:
    def divided(left: Any, right: Any, **how: bool) -> Any:
        how = {"by_zero_is_null": False, "as_float": False, **how}
        return sql_value.divided(left, right, **how)(ROW)

    assert str(divided(THREE, NUMERIC)) == "2.0000000000000000"
    assert divided(THREE, FLOAT) == 1.5
    assert divided(NUMERIC, THREE, as_float=True) == 0.5
    assert divided(THREE, ZERO, by_zero_is_null=True) is None
    with pytest.raises(ZeroDivisionError):
        divided(THREE, ZERO)


def test_comparing() -> None:
    def compared(name: str, left: Any, right: Any, *, text: bool = False) -> Any:
        return sql_value.compared(name, left, right, text=text)(ROW)

    assert compared("gt", THREE, FLOAT) is True
    assert compared("le", THREE, NUMERIC) is False
    assert compared("lt", NUMERIC, FLOAT) is True
    assert compared("ge", FLOAT, NUMERIC) is True
    assert compared("eq", TEXT, TEXT) is True
    tenth, long = sql_value.constant(Decimal("0.1")), Decimal("1.000000000000000000001")
    assert compared("eq", tenth, sql_value.constant(0.1)) is True
    assert compared("eq", sql_value.constant(0.1), tenth) is True
    assert compared("gt", sql_value.constant(long), sql_value.constant(Decimal(1))) is True
    assert compared("lt", sql_value.constant(Decimal(1)), sql_value.constant(long)) is True
    assert compared("lt", TEXT, TEXT, text=True) is False
    with pytest.raises(CannotMerge, match="text that is no column"):
        compared("lt", TEXT, TEXT)
    with pytest.raises(CannotMerge, match="not compared here"):
        compared("lt", THREE, TEXT)


@pytest.mark.parametrize(
    ("parts", "all_of_them", "any_of_them"),
    [
        ([TRUE, TRUE], True, True),
        ([TRUE, FALSE], False, True),
        ([FALSE, NULL], False, None),
        ([NULL, TRUE], None, True),
        ([NULL, NULL], None, None),
        ([FALSE, FALSE], False, False),
    ],
    ids=["tt", "tf", "fn", "nt", "nn", "ff"],
)
def test_three_valued_logic(parts: list[Any], all_of_them: Any, any_of_them: Any) -> None:
    assert sql_value.both(parts)(ROW) is all_of_them
    assert sql_value.either(parts)(ROW) is any_of_them


def test_choices() -> None:
    seven = sql_value.constant(7)
    assert sql_value.first_known([NULL, THREE, seven])(ROW) == 3
    assert sql_value.first_known([NULL])(ROW) is None
    assert sql_value.unless_equal(THREE, THREE)(ROW) is None
    assert sql_value.unless_equal(THREE, NULL)(ROW) == 3
    assert sql_value.chosen([(NULL, THREE), (TRUE, seven)], ZERO)(ROW) == 7
    assert sql_value.chosen([(FALSE, THREE)], ZERO)(ROW) == 0
    assert sql_value.is_null(NULL, negated=False)(ROW) is True
    assert sql_value.is_null(THREE, negated=True)(ROW) is True
    assert sql_value.denied(TRUE)(ROW) is False
    assert not math.isnan(sql_value.constant(1.0)(ROW))
