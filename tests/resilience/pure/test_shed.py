"""How much is shed, and whom it hits."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escala.resilience.pure.shed import ShedMachine

INTERVAL = 0.125  # a part of two, so that intervals end exactly when they should


def machine() -> ShedMachine:
    return ShedMachine(interval=INTERVAL)


def interval(
    shed: ShedMachine,
    number: int,
    stands: int | None,
    arrivals: dict[int, int] | None = None,
) -> None:
    """One interval, the first of them number 0: what came in it, and what stood all the time."""
    now = number * INTERVAL
    for priority, count in (arrivals or {0: 1}).items():
        for _ in range(count):
            shed.arrived(priority, stands, 1.0, now)
    shed.began(stands, now + 0.05)


def test_a_queue_that_stands_for_an_interval_sheds_a_tenth_of_the_rest_each() -> None:
    shed = machine()
    for number in range(4):
        interval(shed, number, 0)
    assert shed.share == pytest.approx(1 - 0.9**3)
    for number in range(4, 200):
        interval(shed, number, 0)
    assert shed.share == 0.95
    assert not shed.arrived(0, 0, 0.94, 199 * INTERVAL)
    assert shed.arrived(0, 0, 0.95, 199 * INTERVAL), "someone gets in"


def test_one_look_at_a_queue_that_does_not_stand_is_enough_to_be_well() -> None:
    shed = machine()
    for number in range(5):
        interval(shed, number, 0)
        shed.began(None, number * INTERVAL + 0.06)
        shed.began(0, number * INTERVAL + 0.07)
    assert shed.share == 0.0


def test_those_who_come_look_as_well_as_those_who_begin() -> None:
    shed = machine()
    for number in range(3):
        shed.arrived(0, 0, 1.0, number * INTERVAL)
    assert shed.share == pytest.approx(0.19)
    shed.arrived(0, None, 1.0, 3 * INTERVAL - 0.001)
    shed.arrived(0, 0, 1.0, 3 * INTERVAL)
    assert shed.share == pytest.approx(0.14)


def test_priorities_above_what_stands_are_not_shed() -> None:
    shed = machine()
    for number in range(60):
        interval(shed, number, 1, {0: 3, 1: 3, 2: 4})
    assert shed.share == pytest.approx(0.6)
    shed.began(2, 60 * INTERVAL)
    assert shed._cuts == {0: 1.0, 1: pytest.approx(1.0), 2: pytest.approx(0.0, abs=1e-12)}


def test_the_least_of_what_stood_at_all_looks_says_whom() -> None:
    shed = machine()
    for number in range(60):
        shed.began(2, number * INTERVAL)
        interval(shed, number, 0, {0: 3, 2: 7})
        shed.began(2, number * INTERVAL + 0.06)
    assert shed.share == pytest.approx(0.3)


def test_it_goes_back_slowly_when_only_a_smaller_priority_stands() -> None:
    shed = machine()
    for number in range(20):
        interval(shed, number, 1, {0: 5, 1: 5})
    before = shed.share
    assert before > 0.8
    for number in range(20, 22):
        interval(shed, number, 0, {0: 5, 1: 5})
    assert shed.share == pytest.approx(before + (1 - before) * 0.1 - 0.05)
    for number in range(22, 40):
        interval(shed, number, 0, {0: 5, 1: 5})
    assert shed.share == pytest.approx(0.5)


def test_what_stands_and_does_not_come_any_more_sheds_no_one() -> None:
    shed = machine()
    for number in range(60):
        interval(shed, number, 0, {5: 5})
    assert shed.share == 0.0


def test_it_goes_back_by_a_twentieth() -> None:
    shed = machine()
    for number in range(3):
        interval(shed, number, 9)
    assert shed.share == pytest.approx(0.19)
    for number, left in ((3, 0.271), (4, 0.221), (5, 0.171), (6, 0.121)):
        interval(shed, number, None)
        assert shed.share == pytest.approx(left)
    for number in range(7, 12):
        interval(shed, number, None)
    assert shed.share == 0.0


def test_an_interval_ends_with_the_first_look_after_it() -> None:
    shed = machine()
    shed.arrived(0, 0, 1.0, 0.0)
    shed.arrived(0, 0, 1.0, INTERVAL - 0.001)
    assert shed.share == 0.0
    shed.began(0, INTERVAL)
    assert shed.share == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("late", "stands", "share"),
    [
        (0.0, None, 0.0),
        (-0.001, None, 0.271),
        (0.0, 0, 0.271),
    ],
    ids=["quiet", "not for a whole interval", "someone waits"],
)
def test_when_no_call_came_for_an_interval_and_nothing_stands_all_is_quiet(
    late: float, stands: int | None, share: float
) -> None:
    shed = machine()
    for number in range(3):
        interval(shed, number, 9)
    shed.arrived(9, stands, 0.0, 4 * INTERVAL + late)
    assert shed.share == pytest.approx(share)


def test_calls_that_are_slower_than_an_interval_are_judged_by_each_look() -> None:
    shed = machine()
    for number in range(4):
        shed.arrived(0, 0, 1.0, number * 10.0)
    assert shed.share == pytest.approx(1 - 0.9**3)


def test_it_hits_the_smallest_numbers_first_and_those_between_by_lot() -> None:
    shed = machine()
    number = 0
    while shed.share < 0.5:
        interval(shed, number, 9, {0: 10, 1: 10, 2: 10})
        number += 1
    now = number * INTERVAL
    shed.began(9, now)
    part = shed.share * 3 - 1  # of the middle priority
    assert 0 < part < 1
    assert not shed.arrived(0, 9, 0.9999, now)
    assert not shed.arrived(1, 9, part - 0.001, now)
    assert shed.arrived(1, 9, part + 0.001, now)
    assert shed.arrived(2, 9, 0.0, now)


def test_what_came_in_the_last_intervals_counts_too() -> None:
    """One interval in which only those came who matter most must not shed them."""
    shed = machine()
    for number in range(20):
        interval(shed, number, 9, {0: 5, 1: 1})
    for number in range(20, 23):
        interval(shed, number, 9, {1: 1})
    shed.began(9, 23 * INTERVAL)
    high = sum(0.9**age for age in range(23))
    low = 5 * sum(0.9**age for age in range(3, 23))
    assert shed._cuts == {0: 1.0, 1: pytest.approx((shed.share * (low + high) - low) / high)}
    assert shed._cuts[1] < 0.8 < shed.share


def test_what_does_not_come_any_more_is_forgotten() -> None:
    shed = machine()
    shed.arrived(5, None, 1.0, 0.0)
    for number in range(1, 23):
        shed.began(None, number * INTERVAL)
        assert shed._offered == {5: pytest.approx(0.9**number)}
    shed.began(None, 23 * INTERVAL)
    assert shed._offered == {}


def test_a_priority_that_did_not_come_before_is_treated_as_the_one_above_it() -> None:
    shed = machine()
    for number in range(30):
        interval(shed, number, 9, {1: 10, 7: 10})
    now = 30 * INTERVAL
    shed.began(9, now)
    assert 0 < shed._cuts[7] < 1 == shed._cuts[1]
    assert shed.arrived(9, 9, 0.0, now)
    assert not shed.arrived(3, 9, shed._cuts[7] - 0.001, now)
    assert shed.arrived(3, 9, shed._cuts[7], now)
    assert not shed.arrived(0, 9, 0.999, now)


def test_so_many_priorities_are_told_apart_and_no_more() -> None:
    shed = machine()
    for priority in range(0, 128, 2):
        shed.arrived(priority, None, 1.0, 0.0)
    for priority in (1000, 1000, -7, 40, 40, 40):
        shed.arrived(priority, None, 1.0, 0.0)
    assert len(shed._offered) == 64
    assert (shed._offered[126], shed._offered[0], shed._offered[40]) == (3.0, 2.0, 4.0)


@given(
    st.dictionaries(st.integers(0, 5), st.integers(1, 30), min_size=1),
    st.integers(1, 40),
)
def test_what_is_refused_is_the_share(offered: dict[int, int], rounds: int) -> None:
    shed = machine()
    for number in range(rounds):
        interval(shed, number, 9, offered)
    shed.began(9, rounds * INTERVAL)
    assert shed.share == pytest.approx(min(0.95, 1 - 0.9**rounds))
    refused = sum(shed._cuts[priority] * count for priority, count in offered.items())
    assert refused == pytest.approx(shed.share * sum(offered.values()))
    cuts = [shed._cuts[priority] for priority in sorted(offered, reverse=True)]
    assert cuts == sorted(cuts)
    assert sum(0 < cut < 1 for cut in cuts) <= 1


class Model:
    """The share, from all that was seen in an interval; whom it hits, from all that ever came."""

    def __init__(self) -> None:
        self.share, self.ends = 0.0, -math.inf
        self.looks: list[int | None] = [None]
        self.turn = 0
        self.came: list[tuple[int, int]] = []  # in which turn, priority
        self.weights: dict[int, float] = {}

    def look(self, stands: int | None, now: float) -> None:
        if now >= self.ends:
            self.weights = {}
            for turn, priority in self.came:
                weight = 0.9 ** (self.turn - turn)
                self.weights[priority] = self.weights.get(priority, 0) + weight
            self.share = self.moved(quiet=stands is None and now - self.ends >= INTERVAL)
            self.looks, self.ends = [], now + INTERVAL
            self.came = [each for each in self.came if each[0] > self.turn - 200]
            self.turn += 1
        self.looks.append(stands)

    def moved(self, *, quiet: bool) -> float:
        if quiet:
            return 0.0
        stood = [look for look in self.looks if look is not None]
        less, more = max(0.0, self.share - 0.05), min(0.95, 0.1 + 0.9 * self.share)
        if len(stood) < len(self.looks) or not self.weights:
            return less
        hit = sum(weight for at, weight in self.weights.items() if at <= min(stood))
        return max(less, min(more, hit / sum(self.weights.values())))

    def cut(self, priority: int) -> float:
        below = sum(weight for at, weight in self.weights.items() if at < priority)
        left = self.share * sum(self.weights.values()) - below
        return max(0.0, min(1.0, left / self.weights[priority]))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_hundred_thousand_steps(seed: int) -> None:
    rng, shed, model = Random(seed), machine(), Model()
    now = 0.0
    for step in range(5000):
        now += rng.choice([0, 0, 1, 1, 2, 16 if rng.random() < 0.05 else 0]) / 64
        hour = step // 500 % 4  # quiet, the lowest stand, some stand, all stand
        stands = rng.choice([(None, None, 0), (0, 0, 1), (1, 1, 2), (2,)][hour])
        if rng.random() < 0.3:
            shed.began(stands, now)
            model.look(stands, now)
        else:
            priority, draw = rng.choice((0, 1, 1, 2)), rng.random()
            let_in = shed.arrived(priority, stands, draw, now)
            model.look(stands, now)
            model.came.append((model.turn, priority))
            if not shed.share:
                assert let_in
            elif model.weights.get(priority, 0) > 4:  # and not about to be forgotten
                cut = model.cut(priority)
                assert let_in is (draw >= cut) or abs(draw - cut) < 0.08
        # What has faded below a tenth is forgotten, which the model does not do.
        assert shed.share == pytest.approx(model.share, abs=0.03)
        model.share = shed.share
