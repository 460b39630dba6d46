from __future__ import annotations

import math
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.hashing.pure import race
from escala.hashing.pure.race import ranking, winner

TOP = 2**52 - 1
DRAWS = st.one_of(st.integers(0, TOP), st.sampled_from([0, 1, 2**51, TOP - 1, TOP]))
FIELDS = st.lists(
    st.tuples(DRAWS, st.sampled_from([0.001, 0.5, 1.0, 1.5, 2.0, 3.0, 1e6])), min_size=1, max_size=9
)


def arrival(draw: int, weight: float) -> Decimal:
    with localcontext(prec=80):
        return -(Decimal(2 * draw + 1) / Decimal(2**53)).ln() / Decimal(weight)


@given(FIELDS)
def test_they_arrive_in_the_order_of_their_exact_times(field: list[tuple[int, float]]) -> None:
    draws, weights = [draw for draw, _ in field], [weight for _, weight in field]
    with localcontext(prec=50):
        times = [+arrival(*each) for each in field]
    order = sorted(range(len(field)), key=lambda at: (times[at], at))
    assert ranking(draws, weights) == order
    assert winner(draws, weights) == order[0]


def test_of_equal_weights_the_highest_draw_is_first() -> None:
    assert winner([5, 9, 7], [1, 1, 1]) == 1
    assert winner([9, 9, 7], [2.0, 2.0, 2.0]) == 0
    assert ranking([5, 9, 9], [1, 1, 1]) == [1, 2, 0]


def test_times_too_near_for_a_float_are_told_apart() -> None:
    # Twice the weight and the square of the odds arrive together, but for what a float rounds.
    for draw in range(2**51, 2**51 + 2000):
        odds = Decimal(2 * draw + 1) / Decimal(2**53)
        square = int(odds * odds * 2**52)
        draws, weights = [draw, square], [1.0, 2.0]
        first = 0 if arrival(draw, 1.0) < arrival(square, 2.0) else 1
        assert winner(draws, weights) == first
        assert winner(draws[::-1], weights[::-1]) == 1 - first
        assert ranking(draws, weights) == [first, 1 - first]


@pytest.mark.parametrize("off", [1 - 4e-16, 1 + 4e-16], ids=["lower", "higher"])
def test_another_machines_logarithm_changes_nothing(
    off: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields: list[tuple[list[int], list[float]]] = []
    for draw in range(2**51, 2**51 + 500):
        odds = Decimal(2 * draw + 1) / Decimal(2**53)
        fields.append(([draw, int(odds * odds * 2**52), 77], [1.0, 2.0, 0.5]))
    here = [(winner(*field), ranking(*field)) for field in fields]
    calls = iter(range(10**9))
    monkeypatch.setattr(race, "log", lambda odds: math.log(odds) * (off if next(calls) % 2 else 1))
    assert [(winner(*field), ranking(*field)) for field in fields] == here
