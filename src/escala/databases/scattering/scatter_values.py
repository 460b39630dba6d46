"""Which values are compared here as the database compares them, and as what they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import String, types
from sqlalchemy.sql import operators, type_coerce
from sqlalchemy.sql.elements import BinaryExpression, ClauseElement, ColumnElement

from escala.databases.pure.groups import Value
from escala.databases.pure.merge import SortKey
from escala.databases.pure.sql_value import as_decimal
from escala.databases.scattering.scatter_tables import walk
from escala.errors import CannotMerge

# Text under these collations sorts by its bytes, which in UTF-8 is the order of Python's text.
BYTE_ORDER = frozenset({"c", "posix", "c.utf-8", "c.utf8", "pg_c_utf8", "ucs_basic", "binary"})
_SORTED = (
    types.Integer,
    types.Numeric,
    types.Float,
    types.Boolean,
    types.Date,
    types.DateTime,
    types.Time,
    types.LargeBinary,
    types.Uuid,
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the shards' database compares.

    `byte_order` asks whether its text sorts by its bytes where no collation is named.
    """

    name: str
    byte_order: Callable[[], bool]

    @property
    def nulls_high(self) -> bool:
        """Whether NULL comes after all others where the statement does not say."""
        return self.name == "postgresql"

    def type(self, expression: ColumnElement[Any]) -> types.TypeEngine[Any]:
        """Give the type of an expression on this database."""
        found = expression.type
        variants: Any = getattr(found, "_variant_mapping", {})
        made: types.TypeEngine[Any] = variants.get(self.name, found)
        return made

    def sort(
        self, position: int, expression: ColumnElement[Any], *, descending: bool, first: bool | None
    ) -> SortKey:
        """Make the key to merge by what stands at `position`; `first` is where NULLs are asked."""
        if first is None:
            first = self.nulls_high is descending
        return SortKey(position, descending, first, self.sorted_text(expression, "ORDER BY"))

    def sorted_text(self, expression: ColumnElement[Any], what: str) -> bool:
        """Tell whether it is text, in the order of its bytes. `CannotMerge` for another order."""
        kind = self.type(expression)
        if isinstance(kind, String) and not isinstance(kind, types.Enum | types.CHAR):
            collations = _collations(expression)
            known = bool(collations) and _by_bytes(collations)
            if _plain(kind) and (known or (not collations and self.byte_order())):
                return True
            raise CannotMerge(
                f"{what} text in a collation other than C: the shards' rows cannot be put in its "
                "order here; say `.collate('C')`, or order by something else"
            )
        if isinstance(kind, types.NullType):
            return False  # the values will tell
        timed = isinstance(kind, types.Time | types.Interval) and getattr(kind, "timezone", False)
        if not isinstance(kind, _SORTED) or timed:
            raise CannotMerge(
                f"{what} {type(kind).__name__}: its values do not sort here as they do on the "
                "server; order by a number, a date or text in collation C"
            )
        return False

    def answered(self, value: Value, expression: ClauseElement) -> Value:
        """Make the value what it would be asked for: SQLite's numbers become decimal ones."""
        kind = self.type(expression) if isinstance(expression, ColumnElement) else None
        if self.name != "sqlite" or not isinstance(kind, types.Numeric) or not kind.asdecimal:
            return value
        return as_decimal(value, kind._effective_decimal_return_scale)  # noqa: SLF001

    def told_apart(self, expression: ColumnElement[Any], what: str) -> None:
        """Raise `CannotMerge` unless values that are equal there are equal here."""
        kind = self.type(expression)
        if isinstance(kind, types.JSON | types.ARRAY):
            raise CannotMerge(f"{what} {type(kind).__name__}: its values are not compared here")
        text = isinstance(kind, String) and not (_plain(kind) or isinstance(kind, types.Enum))
        if text or not _by_bytes(_collations(expression)):
            raise CannotMerge(
                f"{what} text that may be equal without being the same: say `.collate('C')`"
            )


def raw(expression: ColumnElement[Any]) -> ColumnElement[Any]:
    """Give the expression as the database has it, where a type of Python's own is in between."""
    kind = expression.type
    if isinstance(kind, types.TypeDecorator) and not isinstance(kind, types.Interval):
        return raw(type_coerce(expression, kind.impl_instance))
    return expression


def _collations(expression: ColumnElement[Any]) -> set[str]:
    """Give the collations that an expression names, or the columns that it is made of."""
    if isinstance(expression, BinaryExpression) and expression.operator is operators.collate:
        return {str(getattr(expression.right, "collation", ""))}
    kinds = [part.type for part in walk(expression) if isinstance(part, ColumnElement)]
    return {kind.collation for kind in kinds if isinstance(kind, String) and kind.collation}


def _by_bytes(collations: set[str]) -> bool:
    return all(name.lower() in BYTE_ORDER for name in collations)


def _plain(kind: String) -> bool:
    return type(kind).__module__ == "sqlalchemy.sql.sqltypes" or kind.__visit_name__ in {
        "TEXT",
        "VARCHAR",
    }
