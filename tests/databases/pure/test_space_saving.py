from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.databases.pure.space_saving import Counted, SpaceSaving

CALLS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5)), max_size=200)


def test_a_key_that_is_new_takes_the_place_and_the_count_of_the_least() -> None:
    keys = SpaceSaving(2)
    assert [keys.add(key, 1) for key in "aab"] == [1, 2, 1]
    assert keys.add("c", 1) == 1
    assert keys.top(9) == [Counted("a", 2, 0), Counted("c", 2, 1)]
    assert keys.top(1) == [Counted("a", 2, 0)]
    assert (keys.sure("a"), keys.sure("c"), keys.sure("b")) == (2, 1, 0)
    assert keys.total == 4
    assert keys.add("c", 3) == 4
    assert keys.top(1) == [Counted("c", 5, 1)]
    assert keys.add("d", 1) == 1  # "a" goes, which had grown since its entry was made
    assert [*keys.counts] == ["c", "d"]
    assert keys.top(2)[1] == Counted("d", 3, 2)
    assert keys.top(2)[1].sure == 1


def test_the_least_is_found_among_old_and_new_after_a_change_of_scale() -> None:
    keys = SpaceSaving(2)
    keys.add("a", 4)
    keys.add("b", 5)
    keys.scale(0.5)
    keys.add("c", 1)  # in the place of "a", so it has 3
    keys.add("d", 1)  # and "b" has 2.5
    assert keys.top(2) == [Counted("d", 3.5, 2.5), Counted("c", 3, 2)]
    assert keys.total == 6.5


@given(st.integers(1, 8), CALLS)
def test_what_the_paper_promises(capacity: int, calls: list[tuple[int, int]]) -> None:
    keys, true = SpaceSaving(capacity), Counter[int]()
    for number, (key, weight) in enumerate(calls):
        sure = keys.add(key, weight)
        true[key] += weight
        assert sure == keys.sure(key) <= true[key]
        if number % 50 == 49:
            keys.scale(0.5)
            true = Counter({each: found / 2 for each, found in true.items()})
    assert len(keys.counts) <= capacity
    assert keys.total == pytest.approx(sum(true.values()))
    top = keys.top(capacity)
    assert [each.amount for each in top] == sorted((each.amount for each in top), reverse=True)
    for each in top:
        assert each.sure <= true[each.key] + 1e-9  # type: ignore[index]
        assert true[each.key] <= each.amount + 1e-9  # type: ignore[index]
        assert each.error <= keys.total / capacity + 1e-9
    for key, found in true.items():
        if found > keys.total / capacity + 1e-9:
            assert key in keys.counts
    if len(true) <= capacity:
        assert all(each.error == 0 for each in top)
