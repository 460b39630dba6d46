"""Make one answer of several shards' rows: plain tuples in, plain tuples out.

Rows are compared as PostgreSQL and SQLite compare them: a NULL goes first or last as it was
asked, a NaN is greater than any number and the same as another NaN.
"""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from itertools import chain, islice, takewhile
from typing import Any, NamedTuple

from escala.databases.pure.groups import Groups, same
from escala.errors import CannotMerge

Row = Sequence[Any]
_ORDERED = (int, float, Decimal, date, time, bytes, uuid.UUID)


class SortKey(NamedTuple):
    """One column to sort by; `text` says that the servers order text by its bytes."""

    position: int
    descending: bool = False
    nulls_first: bool = False
    text: bool = False


class _Downwards:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:  # noqa: ANN401  whatever a column holds
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Downwards) and bool(self.value == other.value)

    def __lt__(self, other: _Downwards) -> bool:
        return bool(other.value < self.value)

    __hash__ = None  # type: ignore[assignment]  # an order, never a key


_NULL_FIRST, _NAN_FIRST, _VALUE, _NAN_LAST, _NULL_LAST = ((rank, None) for rank in range(5))


def sort_key(order: Sequence[SortKey]) -> Callable[[Row], list[Any]]:
    """Make the function that gives rows an order; `CannotMerge` for values that have none."""

    def key(row: Row) -> list[Any]:
        found: list[Any] = []
        for position, descending, nulls_first, text in order:
            value = row[position]
            if value is None:
                found.append(_NULL_FIRST if nulls_first else _NULL_LAST)
            elif not isinstance(value, _ORDERED) and not (text and isinstance(value, str)):
                raise CannotMerge(_no_order(value))
            elif value != value:  # noqa: PLR0124  NaN
                found.append(_NAN_FIRST if descending else _NAN_LAST)
            else:
                found.append((_VALUE[0], _Downwards(value) if descending else value))
        return found

    return key


def _no_order(value: object) -> str:
    return (
        f"values of type {type(value).__name__} are not known to sort here as they do on the "
        "server: order by a number or a date, or by text as `cast(…, Text).collate('C')`"
    )


@dataclass(frozen=True, slots=True)
class Merge:
    """What is left to do when each shard has answered.

    - `order`: the shards' rows come sorted by these, and so do those of the answer.
    - `distinct`: of rows that are equal in these columns only the first is kept.
    - `groups`: rows are first put together by the key they have.
    - `offset` and `limit` count rows of the answer.

    Without `groups` it holds no more than one row of each shard at a time, and with `distinct`
    those that sort as the last one does.
    """

    order: tuple[SortKey, ...] = ()
    distinct: tuple[int, ...] | None = None
    groups: Groups | None = None
    offset: int = 0
    limit: int | None = None

    def rows(self, shards: Sequence[Iterable[Row]]) -> Iterator[Row]:
        """Yield the rows of the answer. Raises `CannotMerge` where it would be a wrong one."""
        if self.groups is not None:
            rows: Iterable[Row] = self.groups.rows(chain.from_iterable(shards))
            if self.order:
                rows = sorted(rows, key=sort_key(self.order))
        elif self.order:
            rows = _in_order(shards, sort_key(self.order))
        else:
            rows = chain.from_iterable(shards)
        if self.distinct is not None:
            rows = _once(rows, self.distinct, [key.position for key in self.order])
        stop = None if self.limit is None else self.offset + self.limit
        return islice(iter(rows), self.offset, stop)


def _in_order(shards: Sequence[Iterable[Row]], key: Callable[[Row], list[Any]]) -> Iterator[Row]:
    checked = [_checked(rows, key) for rows in shards]
    return (row for _, row in heapq.merge(*checked, key=lambda pair: pair[0]))


def _checked(
    rows: Iterable[Row], key: Callable[[Row], list[Any]]
) -> Iterator[tuple[list[Any], Row]]:
    last: list[Any] | None = None
    for row in rows:
        here = key(row)
        if last is not None and here < last:
            raise CannotMerge(
                "a shard sorts these values otherwise than by number, date or byte: order by "
                "something else, or by text as `column.collate('C')`"
            )
        yield here, row
        last = here


def _once(
    rows: Iterable[Row], positions: tuple[int, ...], sorted_by: Sequence[int]
) -> Iterator[Row]:
    # Rows that are equal in `positions` are equal in what they are sorted by first, as long as
    # that is among `positions`: so they follow each other, and the others can be forgotten.
    first = tuple(takewhile(positions.__contains__, sorted_by))
    seen: set[Hashable] = set()
    stretch: Hashable = None
    for row in rows:
        here = same(row, first)
        if here != stretch:
            stretch = here
            seen.clear()
        key = same(row, positions)
        if key not in seen:
            seen.add(key)
            yield row
