"""Which breaker makes room for a new key, and that each key has its own."""

from __future__ import annotations

from functools import partial

import pytest

from escala.resilience.pure.breaker import REFUSED, UNCOUNTED, BreakerMachine, BreakerRules
from escala.resilience.pure.breaker_map import BreakerMap
from escala.resilience.pure.breaker_table import BreakerState

MAKE = partial(BreakerMachine, BreakerRules(minimum_calls=1))


def full(most: int = 4, mode: str = "enforce") -> BreakerMap:
    """Keys 0, 1, 2 ... which were last used in that order, at those times."""
    breakers = BreakerMap(MAKE, most, mode)  # type: ignore[arg-type]
    for key in range(most):
        breakers.use(key, float(key))
    return breakers


def open_(breakers: BreakerMap, *keys: int, now: float = 100.0) -> None:
    for key in keys:
        machine = breakers.use(key, now)
        machine.failed(machine.admit(now), now)


def test_each_key_has_a_breaker_of_its_own() -> None:
    breakers = full()
    open_(breakers, 1)
    assert [machine.state.value for _, machine in breakers] == [
        "closed",
        "open",
        "closed",
        "closed",
    ]
    assert breakers.use(1, 101.0) is breakers.get(1)
    assert breakers.get(9) is None
    assert len(breakers) == 4


def test_the_closed_one_that_was_not_asked_for_the_longest_makes_room() -> None:
    breakers = full()
    breakers.use(0, 50.0)
    breakers.use("new", 51.0)
    assert [key for key, _ in breakers] == [0, "new", 2, 3]
    breakers.use("newer", 52.0)
    assert [key for key, _ in breakers] == [0, "new", "newer", 3]
    assert breakers.get(1) is breakers.get(2) is None
    assert len(breakers) == 4


def test_an_open_one_stays_while_a_closed_one_can_go() -> None:
    breakers = full()
    open_(breakers, 0, 1, 2, now=0.0)
    breakers.use(3, 1000.0)
    breakers.use("new", 1001.0)
    assert [key for key, _ in breakers] == [0, 1, 2, "new"]


def test_of_open_ones_too_the_one_not_asked_for_the_longest_goes() -> None:
    breakers = full(3)
    open_(breakers, 2, now=10.0)
    open_(breakers, 0, now=11.0)
    open_(breakers, 1, now=12.0)
    breakers.use("new", 13.0)
    assert [key for key, _ in breakers] == [0, 1, "new"]
    assert breakers.use("new", 13.0).state is BreakerState.CLOSED


def test_half_open_is_not_closed() -> None:
    breakers = full(2)
    open_(breakers, 0, now=0.0)
    assert breakers.use(0, 10.0).admit(10.0) != REFUSED
    breakers.use(1, 11.0)
    breakers.use("new", 12.0)
    assert [key for key, _ in breakers] == [0, "new"]


def test_a_new_key_costs_eight_looks() -> None:
    breakers = full(20)
    open_(breakers, *range(8), now=30.0)
    breakers.use("first", 40.0)
    assert [key for key, _ in breakers][:8] == ["first", *range(1, 8)], "all eight are open"
    breakers.use("second", 41.0)
    assert [key for key, _ in breakers][8] == "second", "the hand has gone on"
    breakers.use("third", 42.0)
    assert [key for key, _ in breakers][16] == "third"


def test_calls_under_way_of_a_forgotten_key_change_nothing() -> None:
    breakers = full(1)
    machine = breakers.use(0, 0.0)
    permit = machine.admit(0.0)
    breakers.use("new", 1.0)
    machine.failed(permit, 1.0)
    assert machine.changes == []
    assert machine.admit(1.0) == UNCOUNTED
    again = breakers.use(0, 2.0)
    assert again is not machine
    assert again.admit(2.0) == again.epoch


@pytest.mark.parametrize("mode", ["shadow", "disabled", "forced_open"])
def test_new_ones_are_made_in_its_mode(mode: str) -> None:
    breakers = full(2, mode)
    assert breakers.mode == mode
    breakers.mode = "enforce"
    assert breakers.use("new", 9.0).reason == ""
    assert [machine.reason for _, machine in breakers] == ["", f"it was switched to {mode}"]
