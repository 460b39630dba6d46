from __future__ import annotations

import pytest

from escala.databases.pure.topology import View
from escala.databases.replicas.seen import Seen


def view(*samples: tuple[float, int], timeline: int = 1) -> View:
    return View(1, 7, timeline, 0, (), (), samples)


def test_who_has_seen_nothing_reads_anything() -> None:
    assert Seen().floor(view()) == 0


def test_what_was_done_at_the_primary_is_known_after_the_next_look() -> None:
    seen = Seen()
    seen.at_primary(5.0)
    assert seen.floor(view((4.0, 100))) is None
    assert seen.floor(view((4.0, 100), (5.5, 120), (6.0, 130))) == 120
    assert (seen.since, seen.lsn, seen.timeline) == (None, 120, 1)
    assert seen.floor(view()) == 120


def test_the_last_moment_counts() -> None:
    seen = Seen()
    seen.at_primary(5.0)
    seen.at_primary(4.0)
    assert seen.since == 5.0
    seen.at_primary(6.0)
    assert seen.since == 6.0


def test_a_floor_only_rises() -> None:
    seen = Seen(lsn=100)
    seen.at_replica(90)
    assert seen.lsn == 100
    seen.at_replica(110)
    seen.at_least(50, 3)
    assert (seen.lsn, seen.timeline) == (110, 3)


def test_a_later_timeline_is_not_reached_before_it_is_known() -> None:
    seen = Seen(lsn=100, timeline=2)
    assert seen.floor(view(timeline=1)) is None
    assert seen.floor(view(timeline=2)) == 100


@pytest.mark.parametrize(("asked", "left"), [(5.0, None), (4.9, 5.0)])
def test_an_answer_settles_what_was_before_it(asked: float, left: float | None) -> None:
    seen = Seen()
    seen.at_primary(5.0)
    seen.asked(asked, 200, 1)
    assert (seen.since, seen.lsn) == (left, 200)


def test_two_floors_become_one() -> None:
    one, other = Seen(lsn=100), Seen(lsn=50, timeline=2)
    other.at_primary(5.0)
    one.join(other)
    assert (one.lsn, one.timeline, one.since) == (100, 2, 5.0)
    one.join(Seen())
    assert (one.lsn, one.timeline, one.since) == (100, 2, 5.0)
