"""The merge of sorted shards against a sort of all rows, and what it refuses to merge."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.databases.pure.groups import Groups, Kind, Part
from escala.databases.pure.merge import Merge, SortKey, sort_key
from escala.errors import CannotMerge

VALUES = st.one_of(st.none(), st.integers(-3, 3), st.just(math.nan), st.just(math.inf))
ROWS = st.lists(st.tuples(VALUES, VALUES, st.integers(0, 2)), max_size=12)
KEYS = st.lists(
    st.builds(SortKey, st.integers(0, 2), st.booleans(), st.booleans()), min_size=1, max_size=3
)


def seen(row: Any) -> tuple[Any, ...]:
    return tuple("NaN" if value != value else value for value in row)  # noqa: PLR0124


@given(
    st.lists(ROWS, min_size=1, max_size=4), KEYS, st.integers(0, 6), st.none() | st.integers(0, 8)
)
def test_sorted_shards_make_one_sorted_answer(
    shards: list[list[Any]], order: list[SortKey], offset: int, limit: int | None
) -> None:
    key = sort_key(order)
    merge = Merge(order=tuple(order), offset=offset, limit=limit)
    found = list(merge.rows([sorted(rows, key=key) for rows in shards]))
    everything = sorted((row for rows in shards for row in rows), key=key)
    expected = everything[offset : None if limit is None else offset + limit]
    assert [key(row) for row in found] == [key(row) for row in expected]
    if limit is None and not offset:
        assert sorted(map(repr, map(seen, found))) == sorted(map(repr, map(seen, everything)))


@given(st.lists(ROWS, min_size=1, max_size=4), KEYS)
def test_distinct_rows_come_once_and_in_order(
    shards: list[list[Any]], order: list[SortKey]
) -> None:
    key = sort_key(order)
    merge = Merge(order=tuple(order), distinct=(0, 1, 2))
    found = [seen(row) for row in merge.rows([sorted(rows, key=key) for rows in shards])]
    assert len(found) == len(set(found))
    assert set(found) == {seen(row) for rows in shards for row in rows}


def test_nulls_and_nan_stand_where_postgres_puts_them() -> None:
    rows = [(None,), (math.nan,), (math.inf,), (0,)]

    def sorted_by(**how: bool) -> list[str]:
        return [str(value) for (value,) in sorted(rows, key=sort_key([SortKey(0, **how)]))]

    assert sorted_by() == ["0", "inf", "nan", "None"]
    assert sorted_by(nulls_first=True) == ["None", "0", "inf", "nan"]
    assert sorted_by(descending=True) == ["nan", "inf", "0", "None"]
    assert sorted_by(descending=True, nulls_first=True) == ["None", "nan", "inf", "0"]


def test_distinct_by_a_later_sort_column_remembers_all_of_them() -> None:
    merge = Merge(order=(SortKey(0), SortKey(1)), distinct=(1,))
    assert list(merge.rows([[(1, 7), (2, 8)], [(3, 7)]])) == [(1, 7), (2, 8)]


def test_distinct_on_keeps_the_first_of_each() -> None:
    merge = Merge(order=(SortKey(0), SortKey(1)), distinct=(0,))
    assert list(merge.rows([[(1, 5), (2, 1)], [(1, 3), (2, 9)]])) == [(1, 3), (2, 1)]


@pytest.mark.parametrize("value", ["a", [1], {"n": 1}, 2j], ids=["text", "list", "dict", "complex"])
def test_values_without_a_known_order_are_refused(value: Any) -> None:
    with pytest.raises(CannotMerge, match="not known to sort"):
        list(Merge(order=(SortKey(0),)).rows([[(value,)]]))


def test_text_is_in_order_where_the_server_sorts_bytes() -> None:
    merge = Merge(order=(SortKey(0, text=True),))
    assert list(merge.rows([[("B",), ("a",)], [("Z",), ("é",)]])) == [
        ("B",),
        ("Z",),
        ("a",),
        ("é",),
    ]


def test_a_shard_that_sorts_otherwise_is_found_out() -> None:
    with pytest.raises(CannotMerge, match="sorts these values otherwise"):
        list(Merge(order=(SortKey(0, text=True),)).rows([[("a",), ("B",)], []]))


def test_no_more_is_read_of_a_shard_than_the_limit_needs() -> None:
    read = []

    def shard(first: int) -> Any:
        for number in range(first, 100, 2):
            read.append(number)
            yield (number,)

    assert list(Merge(order=(SortKey(0),), limit=3).rows([shard(0), shard(1)])) == [
        (0,),
        (1,),
        (2,),
    ]
    assert max(read) < 6


def part(kind: Kind) -> Part:
    return Part(kind, 1, total=2, count=3, before=lambda one, other: one < other)


def joined(kind: Kind, *rows: tuple[Any, ...]) -> Any:
    ((_, value, *_),) = list(Groups((0,), (part(kind),)).rows([("k", *row) for row in rows]))
    return value


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (Kind.SUM, [1, None, 3], 4),
        (Kind.SUM, [None, None], None),
        (Kind.SUM, [Decimal("0.10"), 2], Decimal("2.10")),
        (Kind.MIN, [None, 3, 1, 2], 1),
        (Kind.MAX, [None, 3, 1, 4, 2], 4),
        (Kind.MAX, [date(2026, 1, 2), date(2025, 1, 2)], date(2026, 1, 2)),
        (Kind.MIN, [None], None),
    ],
    ids=["sum", "sum of nothing", "numeric", "min", "max", "dates", "min of nothing"],
)
def test_the_parts_of_an_aggregate_make_the_whole(
    kind: Kind, values: list[Any], expected: Any
) -> None:
    assert joined(kind, *[(value,) for value in values]) == expected


def test_an_average_is_of_the_rows_and_not_of_the_shards() -> None:
    assert joined(Kind.AVG, (1.0, 1, 1), (4.0, 12, 3)) == 3.25
    assert joined(Kind.AVG, (None, None, 0), (2.0, 4, 2)) == 2.0
    assert joined(Kind.AVG, (None, None, 0)) is None
    average = joined(Kind.AVG, (Decimal(1), 1, 1), (Decimal(2), 4, 2))
    assert str(average) == "1.6666666666666667"


def test_sums_of_what_is_no_number_are_refused() -> None:
    with pytest.raises(CannotMerge, match="cannot be added up"):
        joined(Kind.SUM, ("1",), ("2",))


def test_groups_are_put_together_filtered_computed_and_sorted() -> None:
    groups = Groups(
        (0,),
        (Part(Kind.SUM, 1),),
        having=lambda row: row[1] > 1,
        values=((1, lambda row: row[1] * 10), (2, lambda row: -row[1])),
    )
    merge = Merge(order=(SortKey(2),), groups=groups, limit=2)
    shards: list[list[Any]] = [
        [("a", 1), (None, 2)],
        [(None, 3), ("b", 2), ("c", 1)],
        [("c", 1), ("a", 0)],
    ]
    assert [row[:2] for row in merge.rows(shards)] == [[None, 50], ["b", 20]]


def test_nan_is_one_group_and_a_list_is_none() -> None:
    groups = Groups((0,), (Part(Kind.SUM, 1),))
    ((_, count),) = list(groups.rows([(math.nan, 1), (math.nan, 2)]))
    assert count == 3
    with pytest.raises(CannotMerge, match="told apart"):
        list(groups.rows([([1], 1)]))
