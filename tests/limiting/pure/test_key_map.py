"""A bounded map that forgets only what does not matter, as long as there is such a thing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.limiting.pure.key_map import KeyMap

LOOKS = 8


def of_moments(most: int) -> KeyMap[float]:
    """A map in which a state is no more than its moment."""
    return KeyMap(most, float)


def filled(most: int, moments: list[float]) -> KeyMap[float]:
    keys = of_moments(most)
    for number, moment in enumerate(moments):
        keys.add(number, moment, now=-1.0)
    return keys


def test_a_state_says_when_it_may_go() -> None:
    keys = KeyMap[tuple[str, float]](10, lambda state: state[1])
    keys.add("a", ("x", 5.0), 0.0)
    keys.add("b", ("y", 4.0), 0.0)
    keys.add("c", ("z", 9.0), 4.0)
    assert keys.states == {"a": ("x", 5.0), "c": ("z", 9.0)}


def test_holds_what_was_put_in() -> None:
    keys = of_moments(10)
    keys.add("a", 1.0, 0.0)
    keys.add("b", 2.0, 0.0)
    assert keys.states == {"a": 1.0, "b": 2.0}
    assert len(keys) == 2


def test_a_new_key_takes_the_place_of_one_whose_moment_has_come() -> None:
    keys = filled(10, [5.0, 3.0, 4.0])
    keys.add("new", 9.0, now=3.0)
    assert keys.states == {0: 5.0, 2: 4.0, "new": 9.0}
    assert len(keys) == 3


def test_the_hand_goes_on_from_where_it_stopped() -> None:
    keys = filled(10, [5.0, 3.0, 4.0])
    keys.add("new", 9.0, now=3.0)
    keys.add("newer", 9.0, now=5.0)
    assert set(keys.states) == {0, "new", "newer"}, "2 stood next, not 0"
    keys.add("newest", 9.0, now=5.0)
    assert set(keys.states) == {"new", "newer", "newest"}


def test_looks_at_a_few_keys_only() -> None:
    keys = filled(100, [50.0] * LOOKS + [3.0])
    keys.add("new", 50.0, now=4.0)
    assert len(keys) == LOOKS + 2, "the one whose moment has come is the ninth"
    keys.add("newer", 50.0, now=4.0)
    assert len(keys) == LOOKS + 2
    assert LOOKS not in keys.states


def test_a_full_map_forgets_the_key_that_matters_the_shortest_of_a_few() -> None:
    moments = [9.0, 8.0, 7.0, 3.0, 6.0, 9.5, 8.5, 5.0, 2.0, 4.0]
    keys = filled(10, moments)
    places = list(range(10))
    for step in range(30):
        looked_at = [places[(keys._hand + look) % 10] for look in range(LOOKS)]
        shortest = min(looked_at, key=lambda key: keys.states[key])
        new = 100 + step
        keys.add(new, 3.0 + (step * 7) % 10, now=1.0)
        assert len(keys) == len(keys.states) == 10
        assert shortest not in keys.states
        places[places.index(shortest)] = new


def test_one_place_is_enough() -> None:
    keys = of_moments(1)
    for number in range(5):
        keys.add(number, 9.0, now=0.0)
        assert keys.states == {number: 9.0}


@pytest.mark.parametrize("most", [1, 2, 8, 9, 50])
def test_a_full_map_of_live_keys_takes_any_number_of_new_ones(most: int) -> None:
    keys = of_moments(most)
    for number in range(200):
        keys.add(number, 1000.0 + number, now=0.0)
        assert number in keys.states
        assert len(keys) == len(keys.states) == min(number + 1, most)


@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 10)), max_size=80),
)
def test_forgets_a_live_key_only_when_it_is_full(
    most: int, steps: list[tuple[float, float]]
) -> None:
    keys, now = of_moments(most), 0.0
    for number, (pause, ahead) in enumerate(steps):
        now += pause
        before = dict(keys.states)
        keys.add(number, now + ahead, now)
        gone = before.keys() - keys.states.keys()
        assert len(keys) == len(keys.states) == len(before) + 1 - len(gone) <= most
        assert len(gone) <= 1
        for key in gone:
            assert before[key] <= now or len(before) == most
            if most <= LOOKS and before[key] > now:
                assert before[key] == min(before.values())
        if most <= LOOKS and any(moment <= now for moment in before.values()):
            assert gone, "a dead key among the few is always seen"


def test_churn_does_not_fill_the_map_with_the_dead() -> None:
    keys = of_moments(100_000)
    for number in range(20_000):
        keys.add(number, number + 50.0, float(number))
    assert len(keys) <= 120, "fifty keys are alive at any moment"
