"""Put the groups of several shards together: what an aggregate is made of, and made into."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from escala.databases.pure.sql_number import add, divide
from escala.errors import CannotMerge

Row = Sequence[Any]
Value = Callable[[Row], Any]
_NUMBERS = (int, float, Decimal)


class Kind(Enum):
    """How the parts of an aggregate become the whole."""

    SUM = "sum"  # of counts too
    MIN = "min"
    MAX = "max"
    AVG = "avg"


@dataclass(frozen=True, slots=True)
class Part:
    """One aggregate: the shards' values at `position`, and the whole put there.

    An average needs two more columns: the sum and the count of what it is of. `before` tells
    whether one value comes before another, for `MIN` and `MAX`.
    """

    kind: Kind
    position: int
    total: int = -1
    count: int = -1
    before: Callable[[Any, Any], bool] | None = None

    def joined(self, rows: Sequence[Row]) -> Any:  # noqa: ANN401  whatever a column holds
        """Make the aggregate over all rows of a group; None where SQL says NULL."""
        if self.kind is Kind.AVG:
            return self._average(rows)
        values = [value for row in rows if (value := row[self.position]) is not None]
        if not values:
            return None
        if self.kind is Kind.SUM:
            return _sum(values)
        assert self.before is not None  # noqa: S101  the planner gives it to these two
        best = values[0]
        for value in values[1:]:
            ahead = (value, best) if self.kind is Kind.MIN else (best, value)
            if self.before(*ahead):
                best = value
        return best

    def _average(self, rows: Sequence[Row]) -> Any:  # noqa: ANN401
        count = sum(row[self.count] for row in rows)
        if not count:
            return None
        total = _sum([row[self.total] for row in rows if row[self.total] is not None])
        sample = next(row[self.position] for row in rows if row[self.position] is not None)
        if isinstance(sample, Decimal):
            return divide(Decimal(total), Decimal(count))
        return float(total) / count


def _sum(values: Sequence[Any]) -> Any:  # noqa: ANN401
    total = values[0]
    for value in values:
        if not isinstance(value, _NUMBERS):
            raise CannotMerge(
                f"sums of {type(value).__name__} cannot be added up here: cast to a number"
            )
    for value in values[1:]:
        total = add(total, value)
    return total


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows of equal `keys` become one, with each of `parts` made whole.

    A group for which `having` is not true is left out, and `values` are computed from the
    row: each goes to its position, or is appended when the row has none such. Without keys
    there is one group.
    """

    keys: tuple[int, ...] = ()
    parts: tuple[Part, ...] = ()
    having: Value | None = None
    values: tuple[tuple[int, Value], ...] = ()

    def rows(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield one row for each group. All groups are held; rows are few of a group."""
        groups: dict[Hashable, list[Row]] = {}
        for row in rows:
            groups.setdefault(same(row, self.keys), []).append(row)
        for group in groups.values():
            whole = list(group[0])
            for part in self.parts:
                whole[part.position] = part.joined(group)
            if self.having is not None and not self.having(whole):
                continue
            # All are computed before any is put down: they read the aggregates themselves.
            made = [(position, value(whole)) for position, value in self.values]
            for position, value in made:
                if position < len(whole):
                    whole[position] = value
                else:
                    whole.append(value)
            yield whole


def same(row: Row, positions: Iterable[int]) -> Hashable:
    """Give what rows are equal by; two NULLs are equal here, and so are two NaNs."""
    key = tuple(value if (value := row[position]) == value else "NaN" for position in positions)
    try:
        hash(key)
    except TypeError as error:
        raise CannotMerge(f"rows cannot be told apart by such values: {error}") from error
    return key
