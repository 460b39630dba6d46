"""Groups get their shares, keys stay put, and what is to be avoided is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.balancing.pure.least_connections import LeastConnectionsChoice
from escala.balancing.pure.round_robin import RoundRobinChoice
from escala.balancing.pure.spread import Spread


class Telling(RoundRobinChoice):
    """Tells what it was given."""

    def __init__(self, size: int) -> None:
        super().__init__([1] * size)
        self.told: list[tuple[object, ...]] = []

    def pick(self, now: float, skip: Collection[int] = (), key: str | bytes | None = None) -> int:
        self.told.append(("pick", now, set(skip), key))
        return super().pick(now, skip, key)

    def release(self, index: int, now: float, took: float | None = None) -> None:
        self.told.append(("release", index, now, took))

    def seconds(self, index: int) -> float | None:
        return 10.0 + index


def spread(*groups: tuple[float, int]) -> Spread:
    return Spread(groups, [RoundRobinChoice([1] * size) for _, size in groups])


def test_shares_are_exact_and_evenly_mixed() -> None:
    choice = spread((0.75, 2), (0.25, 1))
    assert [choice.pick(0.0) for _ in range(8)] == [0, 1, 2, 0, 1, 0, 2, 1]
    counts = Counter(choice.pick(0.0) for _ in range(392))
    assert counts[2] == 98


@given(
    st.lists(st.integers(1, 20), min_size=2, max_size=5),
    st.integers(1, 200),
)
def test_each_group_is_less_than_a_call_per_group_from_its_share(
    weights: list[int], count: int
) -> None:
    total = sum(weights)
    choice = spread(*((weight / total, 1) for weight in weights))
    counts = Counter(choice.pick(0.0) for _ in range(count))
    for at, weight in enumerate(weights):
        assert abs(counts[at] - count * weight / total) < len(weights)


def test_all_targets_are_numbered_through() -> None:
    first, second = Telling(2), Telling(3)
    choice = Spread([(0.5, 2), (0.5, 3)], [first, second])
    assert {choice.pick(1.0) for _ in range(12)} == {0, 1, 2, 3, 4}
    choice.release(1, 2.0, 0.1)
    choice.release(4, 3.0)
    assert first.told[-1] == ("release", 1, 2.0, 0.1)
    assert second.told[-1] == ("release", 2, 3.0, None)
    assert [choice.seconds(index) for index in range(5)] == [10.0, 11.0, 10.0, 11.0, 12.0]


def test_a_group_learns_only_of_its_own() -> None:
    first, second = Telling(2), Telling(3)
    choice = Spread([(1.0, 2), (0.0, 3)], [first, second])
    choice.pick(7.0, {1, 3}, None)
    assert first.told == [("pick", 7.0, {1}, None)]
    choice.pick(8.0)
    assert first.told[-1] == ("pick", 8.0, set(), None)


def test_a_group_that_is_to_be_avoided_whole_is() -> None:
    choice = spread((0.9, 2), (0.05, 1), (0.05, 1))
    assert {choice.pick(0.0, {0, 1}) for _ in range(20)} == {2, 3}
    assert {choice.pick(0.0, {0, 1, 2}) for _ in range(20)} == {3}
    assert {choice.pick(0.0, {0}) for _ in range(3)} >= {1}
    assert choice.pick(0.0, {0, 1, 2, 3}) in {0, 1, 2, 3}


def test_what_others_took_over_is_not_caught_up_for_ever() -> None:
    choice = spread((0.5, 1), (0.5, 1))
    assert {choice.pick(0.0, {0}) for _ in range(1000)} == {1}
    after = [choice.pick(0.0) for _ in range(20)]
    assert after == [0, 0, 0, 0] + [1, 0] * 8


@pytest.mark.parametrize("kind", [str, str.encode], ids=["text", "bytes"])
def test_keys_fall_by_share_and_stay(kind: Callable[[str], str | bytes]) -> None:
    choice = spread((0.7, 1), (0.3, 1))
    keys = [kind(f"user-{number}") for number in range(5000)]
    first = [choice.pick(0.0, (), key) for key in keys]
    assert [choice.pick(1.0, (), key) for key in keys] == first
    assert first.count(0) / len(keys) == pytest.approx(0.7, abs=0.02)
    wider = spread((0.8, 1), (0.2, 1))
    moved = [
        (old, new)
        for old, new in zip(first, (wider.pick(0.0, (), key) for key in keys), strict=True)
        if old != new
    ]
    assert set(moved) == {(1, 0)}, "none moves but into what has grown"
    assert len(moved) / len(keys) == pytest.approx(0.1, abs=0.02)


def test_keys_do_not_count_against_the_turns() -> None:
    choice = spread((0.5, 1), (0.5, 1))
    (key,) = [f"{n}" for n in range(50) if spread((0.5, 1), (0.5, 1)).pick(0.0, (), f"{n}") == 0][
        :1
    ]
    for _ in range(100):
        assert choice.pick(0.0, (), key) == 0
    assert Counter(choice.pick(0.0) for _ in range(10)) == {0: 5, 1: 5}


def test_a_key_whose_group_is_avoided_goes_to_the_next() -> None:
    choice = spread((0.5, 1), (0.5, 1))
    for number in range(20):
        at = choice.pick(0.0, (), f"{number}")
        assert choice.pick(0.0, {at}, f"{number}") == 1 - at


def test_shares_that_do_not_quite_add_up_find_someone_for_every_key() -> None:
    choice = spread((0.0, 1), (1e-12, 1))
    assert choice.pick(0.0, (), "far behind the last share") in {0, 1}


def test_calls_in_flight_are_the_groups_own_business() -> None:
    choices = [LeastConnectionsChoice([1, 1], [0, 0]), LeastConnectionsChoice([1], [0])]
    choice = Spread([(0.5, 2), (0.5, 1)], choices)
    picked = [choice.pick(0.0) for _ in range(4)]
    assert sorted(picked) == [0, 1, 2, 2]
    choice.release(0, 0.0)
    assert 0 in {choice.pick(0.0), choice.pick(0.0)}
