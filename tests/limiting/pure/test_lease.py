"""Tokens in advance: only for hot keys, never more than were taken, and for a second."""

from __future__ import annotations

import random

import pytest

from escala.limiting.decision import Decision
from escala.limiting.pure.lease import Leases

GRANT = Decision(allowed=True, limit=100, remaining=40, reset_after=6.0, retry_after=0.0)
REFUSAL = Decision(allowed=False, limit=100, remaining=4, reset_after=6.0, retry_after=1.0)


def leased(most: int = 5, max_keys: int = 10, now: float = 10.0) -> Leases:
    """Leases of which key "k" has just fetched some and spent one."""
    leases = Leases(most, max_keys)
    for _ in range(most):
        assert leases.spend("k", 1, now) is None
    assert leases.begin("k", 1, now)
    leases.end("k", 1, GRANT, now)
    return leases


def test_only_a_key_that_asks_as_often_gets_some() -> None:
    leases = Leases(3, 10)
    for expected in (False, False, True):
        assert leases.spend("k", 1, 10.0) is None
        assert leases.begin("k", 1, 10.0) is expected
    assert not leases.begin("other", 1, 10.0)


@pytest.mark.parametrize(("now", "hot"), [(10.9, True), (11.9, True), (12.0, False), (13.0, False)])
def test_what_was_asked_in_the_second_before_counts(now: float, hot: bool) -> None:
    leases = Leases(3, 10)
    for _ in range(3):
        leases.spend("k", 1, 10.0)
    assert leases.begin("k", 1, now) is hot


def test_a_key_that_has_not_asked_gets_none() -> None:
    assert not Leases(1, 10).begin("k", 1, 10.0)


def test_what_was_asked_before_a_quiet_second_is_forgotten() -> None:
    one, two, quiet = Leases(1, 10), Leases(2, 10), Leases(1, 10)
    quiet.spend("k", 1, 10.0)
    assert not quiet.begin("k", 1, 12.0)
    one.spend("k", 1, 10.0)
    assert one.begin("k", 1, 11.0)
    one.end("k", 1, None, 11.0)
    assert not one.begin("k", 1, 12.0), "none was asked for in 11"
    two.spend("k", 1, 10.0)
    two.spend("k", 1, 12.0)
    assert not two.begin("k", 1, 12.0), "one of two"
    two.spend("k", 1, 12.0)
    assert two.begin("k", 1, 12.0)


@pytest.mark.parametrize(("now", "kept"), [(11.999, 2), (12.0, 1)])
def test_a_key_makes_room_when_it_says_nothing_any_more(now: float, kept: int) -> None:
    leases = Leases(3, 10)
    leases.spend("old", 3, 10.0)
    leases.spend("new", 1, now)
    assert len(leases.keys) == kept


def test_costs_are_counted() -> None:
    leases = Leases(3, 10)
    leases.spend("k", 3, 10.0)
    assert leases.begin("k", 3, 10.0)


def test_a_cost_beyond_the_lease_gets_none() -> None:
    leases = Leases(3, 10)
    leases.spend("k", 4, 10.0)
    assert not leases.begin("k", 4, 10.0)


def test_one_at_a_time_fetches() -> None:
    leases = Leases(1, 10)
    leases.spend("k", 1, 10.0)
    assert leases.begin("k", 1, 10.0)
    assert not leases.begin("k", 1, 10.0)
    leases.end("k", 1, None, 10.0)
    assert leases.begin("k", 1, 10.0)


def test_it_is_spent_and_told_what_is_left() -> None:
    leases = leased(5)
    seen = [leases.spend("k", 1, 10.5) for _ in range(5)]
    assert [each.remaining if each else None for each in seen] == [43, 42, 41, 40, None]
    first = seen[0]
    assert first is not None
    assert (first.allowed, first.limit, first.reset_after, first.retry_after) == (True, 100, 5.5, 0)
    assert (first.decided_by, first.each) == (0, ())


def test_of_several_limits_each_is_told() -> None:
    leases = Leases(5, 10)
    grant = Decision(
        allowed=True,
        limit=9,
        remaining=2,
        reset_after=3.0,
        retry_after=0.0,
        decided_by=1,
        each=((7, 0.25), (2, 3.0)),
    )
    leases.spend("k", 5, 10.0)
    assert leases.begin("k", 1, 10.0)
    leases.end("k", 1, grant, 10.0)
    spent = leases.spend("k", 1, 10.5)
    assert spent is not None
    assert spent.each == ((10, 0.0), (5, 2.5))
    assert (spent.decided_by, spent.remaining, spent.reset_after) == (1, 5, 2.5)


@pytest.mark.parametrize(("later", "there"), [(0.99, True), (1.0, False), (5.0, False)])
def test_it_ends_after_a_second(later: float, there: bool) -> None:
    assert (leased().spend("k", 1, 10.0 + later) is not None) is there


def test_a_cost_that_is_not_there_whole_is_not_taken() -> None:
    leases = leased(5)
    assert leases.spend("k", 5, 10.0) is None
    assert leases.spend("k", 4, 10.0) is not None
    assert leases.spend("k", 1, 10.0) is None


def test_a_refusal_leaves_what_there_was() -> None:
    leases = leased(5)
    assert leases.begin("k", 1, 10.0)
    leases.end("k", 1, REFUSAL, 10.0)
    assert leases.spend("k", 4, 10.0) is not None


def test_what_is_given_back_has_room_or_is_the_stores() -> None:
    leases = leased(5)
    assert leases.give_back("k", 1, 10.0)
    assert not leases.give_back("k", 1, 10.0), "full"
    assert not leases.give_back("other", 1, 10.0)
    assert leases.spend("k", 5, 10.0) is not None
    assert not leases.give_back("k", 1, 11.0), "over"
    assert not Leases(5, 10).give_back("k", 1, 10.0)
    for now in (0.5, 10.0):
        fresh = Leases(5, 10)
        fresh.spend("k", 1, now)
        assert not fresh.give_back("k", 1, now), "nothing was leased"
        assert fresh.spend("k", 1, now) is None


def test_a_key_that_is_forgotten_has_nothing() -> None:
    leases = leased()
    leases.forget("k")
    leases.forget("other")
    assert leases.spend("k", 1, 10.0) is None


def test_only_so_many_keys_are_kept() -> None:
    leases = Leases(2, 4)
    for number in range(100):
        leases.spend(number, 1, 10.0 + number / 1000)
    assert len(leases.keys) == 4


def test_no_more_is_spent_than_was_fetched() -> None:
    """Whatever is asked in whatever order, and all that is unspent is at most one lease."""
    rng, leases, fetched, spent, now = random.Random(7), Leases(6, 5), 0, 0, 0.0
    fetching: list[tuple[str, int]] = []
    for _ in range(20_000):
        now += rng.choice([0.0, 0.0, 0.01, 0.4])
        key, cost = rng.choice("ab"), rng.choice([1, 1, 2, 7])
        if fetching and rng.random() < 0.5:
            key, cost = fetching.pop()
            granted = rng.random() < 0.7
            leases.end(key, cost, GRANT if granted else REFUSAL, now)
            fetched += (6 - cost) * granted
        elif leases.spend(key, cost, now) is not None:
            spent += cost
        elif leases.begin(key, cost, now):
            assert key not in [other for other, _ in fetching]
            fetching.append((key, cost))
        assert all(0 <= lease.left <= 6 for lease in leases.keys.states.values())
    assert 1000 < spent <= fetched
