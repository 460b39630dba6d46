"""Tell whether two answers to a question are the same, as far as the question says."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from tests.databases.books import Country, Item, Order
from tests.databases.questions import Question


def plain(value: Any) -> Any:
    """Write an object with what was loaded for it, and a float with the digits that count."""
    if isinstance(value, Order):
        items = value.__dict__.get("items")
        place = value.__dict__.get("place")
        return (
            "order",
            *(getattr(value, name) for name in ("id", "tenant", "city", "qty", "price", "at")),
            None if items is None else tuple(plain(item) for item in items),
            plain(place),
        )
    if isinstance(value, Item):
        return ("item", value.tenant, value.order_id, value.n, value.sku)
    if isinstance(value, Country):
        return ("country", value.code, value.zone)
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, Decimal):
        return value.normalize()
    return value


def fetched(session: Any, statement: Any, question: Question) -> list[tuple[Any, ...]]:
    result = session.execute(statement, question.parameters)
    if question.unique:
        result = result.unique()
    return [tuple(plain(value) for value in row) for row in result]


def alike(question: Question, expected: list[Any], found: list[Any], everything: list[Any]) -> bool:
    """Compare row by row where the order is total, else as bags of rows."""
    if question.total:
        return expected == found
    if len(expected) != len(found):
        return False
    if len(expected) == len(everything):
        return Counter(expected) == Counter(found)
    return not Counter(found) - Counter(everything)  # any rows will do, but none twice
