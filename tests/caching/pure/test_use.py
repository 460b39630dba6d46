"""What may be done with an entry, at each of its boundaries."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.caching.pure.entry import ABSENT, Entry, Terms, WeighedEntry
from escala.caching.pure.use import EARLY, Use, early_by, expired, kept_for, paused, use_of

BORN = 100.0


def entry(**terms: float) -> Entry:
    """Born at 100, fresh for 10 seconds."""
    made = Terms(**({"fresh": 10.0} | terms))
    until = BORN + made.fresh - made.early
    return Entry("k", "value", until=until, terms=made, mark="mark", tags=("/k", "#t"))


def use(of: Entry, now: float, draw: float = 1.0) -> Use:
    return use_of(of, now=now, draw=draw)


def test_fresh_and_then_gone() -> None:
    plain = entry()
    assert use(plain, 109.999) is Use.FRESH
    assert use(plain, 110) is Use.GONE


def test_stale_for_as_long_as_news_may_be_asked_for() -> None:
    stale = entry(revalidate=5)
    assert use(stale, 110) is Use.REVALIDATE
    assert use(stale, 114.999) is Use.REVALIDATE
    assert use(stale, 115) is Use.GONE


def test_stale_for_as_long_as_it_may_stand_in_for_an_error() -> None:
    stale = entry(rescue=5)
    assert use(stale, 110) is Use.RESCUE
    assert use(stale, 114.999) is Use.RESCUE
    assert use(stale, 115) is Use.GONE


def test_both_windows_begin_with_the_end_of_freshness() -> None:
    stale = entry(revalidate=5, rescue=8)
    assert [use(stale, now) for now in (110, 114.9, 115, 117.9, 118)] == [
        Use.REVALIDATE,
        Use.REVALIDATE,
        Use.RESCUE,
        Use.RESCUE,
        Use.GONE,
    ]
    longer = entry(revalidate=8, rescue=5)
    assert [use(longer, now) for now in (114.9, 115, 117.9, 118)] == [
        Use.REVALIDATE,
        Use.REVALIDATE,
        Use.REVALIDATE,
        Use.GONE,
    ]


def test_a_pause_after_a_failure_holds_for_stale_values_only() -> None:
    stale = paused(entry(rescue=20), until=120)
    assert use(stale, 105) is Use.FRESH
    assert use(stale, 119.999) is Use.PAUSED
    assert use(stale, 120) is Use.RESCUE
    assert use(paused(entry(rescue=5), until=120), 115) is Use.GONE, "no longer than it may"
    assert use(paused(entry(revalidate=20), until=120), 119) is Use.PAUSED
    assert use(paused(entry(revalidate=20), until=120), 120) is Use.REVALIDATE


def test_before_the_window_for_early_refreshes_nobody_thinks_of_one() -> None:
    early = entry(took=1.0, early=4.0)
    assert use(early, 105.999, draw=0.0) is Use.FRESH
    assert use(early, 106, draw=0.0) is Use.EARLY


def test_the_nearer_the_end_and_the_longer_the_load_the_likelier() -> None:
    """XFetch: early if now - took * ln(draw) >= the end of freshness."""
    early = entry(took=2.0, early=9.0)
    draw = math.exp(-1.5)  # 3 seconds before the end, of a load that takes 2
    assert use(early, 106.999, draw=draw) is Use.FRESH
    assert use(early, 107.001, draw=draw) is Use.EARLY
    assert use(early, 109.999, draw=1.0) is Use.FRESH
    assert use(entry(took=1.0, early=9.0), 107.001, draw=draw) is Use.FRESH
    assert use(early, 110, draw=0.0) is Use.GONE


def test_the_chance_of_an_early_refresh_is_that_of_the_paper() -> None:
    early = entry(took=1.0, early=9.0)
    share = sum(use(early, 108, draw=n / 1000) is Use.EARLY for n in range(1000)) / 1000
    assert share == pytest.approx(math.exp(-2), abs=0.001)


def test_after_a_failure_there_is_no_early_refresh_for_a_while() -> None:
    early = paused(entry(took=1.0, early=4.0), until=108)
    assert use(early, 107.999, draw=0.0) is Use.FRESH
    assert use(early, 108, draw=0.0) is Use.EARLY


@pytest.mark.parametrize("draw", [0.0, 1e-12, 1e-9])
def test_no_draw_is_earlier_than_the_window(draw: float) -> None:
    assert pytest.approx(-math.log(1e-9)) == EARLY
    early = entry(fresh=100.0, took=1.0, early=early_by(1.0, 100.0))
    assert early.until == pytest.approx(BORN + 100 - EARLY)
    assert use(early, early.until - 1e-6, draw=draw) is Use.FRESH
    assert use(early, early.until + 1e-6, draw=draw) is Use.EARLY


def test_the_window_is_no_longer_than_freshness() -> None:
    assert early_by(1.0, 5.0) == 5.0
    assert early_by(0.1, 5.0) == pytest.approx(0.1 * EARLY)


def test_what_is_expired_is_stale_at_that_moment() -> None:
    fresh = entry(revalidate=5, took=1.0, early=4.0)
    stale = expired(fresh, now=103)
    assert stale is not fresh
    assert use(fresh, 103) is Use.FRESH
    assert use(stale, 103, draw=0.0) is Use.REVALIDATE
    assert use(stale, 107.999) is Use.REVALIDATE
    assert use(stale, 108) is Use.GONE
    assert (stale.born, stale.terms.fresh, stale.terms.early) == (BORN, 3.0, 0.0)
    assert use(expired(entry(), now=103), 103) is Use.GONE


def test_what_is_stale_is_not_made_fresher_by_expiry() -> None:
    stale = entry(rescue=5, early=2.0)
    assert expired(stale, now=110) is stale
    assert expired(stale, now=114) is stale
    assert expired(stale, now=109.999) is not stale, "in its early window it is still fresh"


def test_what_was_born_later_than_now_is_not_older_than_nothing() -> None:
    assert expired(entry(), now=99).terms.fresh == 0.0


def test_the_entry_itself_is_left_as_it_is() -> None:
    for other in (expired(entry(), now=103), paused(entry(), until=104)):
        assert (other.key, other.value, other.mark, other.tags) == (
            "k",
            "value",
            "mark",
            ("/k", "#t"),
        )
    first = entry()
    first.visits = 2
    assert paused(first, until=104).visits == 2
    assert paused(first, until=104).until == first.until
    assert first.terms.paused_until == 0.0


def test_a_weighed_entry_keeps_its_weight() -> None:
    heavy = WeighedEntry("k", "v", until=110, terms=Terms(fresh=10.0), weight=7)
    other = expired(heavy, now=105)
    assert isinstance(other, WeighedEntry)
    assert (other.weight, other.until, other.mark, other.tags) == (7, 105, None, ())


def test_an_entry_knows_its_birth_and_the_end_of_its_freshness() -> None:
    early = entry(early=4.0)
    assert (early.until, early.fresh_until, early.born, early.visits) == (106, 110, 100, 0)


def test_after_so_long_it_is_of_no_use() -> None:
    assert kept_for(Terms(fresh=10.0)) == 10
    assert kept_for(Terms(fresh=10.0, revalidate=5, rescue=3)) == 15
    assert kept_for(Terms(fresh=10.0, revalidate=2, rescue=3)) == 13


def test_absent_says_so() -> None:
    assert repr(ABSENT) == "ABSENT"


@given(
    fresh=st.floats(0, 1e6),
    revalidate=st.floats(0, 1e6),
    rescue=st.floats(0, 1e6),
    now=st.floats(0, 4e6),
    draw=st.floats(0, 1),
)
def test_uses_only_get_worse(
    fresh: float, revalidate: float, rescue: float, now: float, draw: float
) -> None:
    order = list(Use)
    made = entry(fresh=fresh, revalidate=revalidate, rescue=rescue)
    first, later = use(made, now, draw), use(made, now * 1.5, draw)
    assert order.index(later) >= order.index(first)
    assert use(expired(made, now=now), now) is not Use.FRESH
