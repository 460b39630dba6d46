"""The first level by itself: what invalidations, doubt and detached loads leave of an entry."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from escala.caching.first_level import FirstLevel
from escala.caching.l1 import L1
from escala.caching.landing import NOTHING, Boarding, Landing, Trail
from escala.caching.pure.entry import Entry, Terms
from escala.caching.pure.flight import Part
from escala.caching.pure.use import Use


class Spot:
    """A parker that notes whether it was woken; `gone`: its event loop has ended."""

    def __init__(self, *, gone: bool = False) -> None:
        self.woken, self.gone = False, gone

    async def park(self, timeout: float | None = None) -> bool:
        return self.woken

    def unpark(self) -> bool:
        self.woken = True
        return not self.gone


def made(
    value: object = "v", *, at: float = 0.0, tags: tuple[str, ...] = ("#t",), **terms: float
) -> Entry:
    """Of the key "k", fresh for ten seconds."""
    fresh = Terms(**({"fresh": 10.0} | terms))
    return Entry("k", value, until=at + fresh.fresh - fresh.early, terms=fresh, tags=("/k", *tags))


def board(first: FirstLevel, now: float = 0.0, place: Callable[[], Any] = Spot) -> Boarding:
    return first.board("k", now=now, draw=1.0, place=place)


def led(first: FirstLevel, now: float = 0.0) -> Trail:
    """A flight that the caller leads."""
    found = board(first, now)
    assert found.leads
    assert found.flight is not None
    return found.flight


def kept(first: FirstLevel, entry: Entry, now: float = 0.0) -> Entry:
    """Keep an entry, as a load does."""
    assert first.land(first.take_off("k"), Landing(entry), now=now)
    return entry


def value(first: FirstLevel, now: float = 0.0) -> Any:
    entry = first.find("k", now=now)
    return None if entry is None else entry.value


# Hits and boards


def test_the_first_leads_the_others_wait_and_all_are_woken() -> None:
    first = FirstLevel(L1(10))
    leader, waiters = board(first), [board(first) for _ in range(3)]
    assert leader.leads
    assert [each.leads or each.serves for each in waiters] == [False] * 3
    assert leader.flight is not None
    assert first.land(leader.flight, Landing(made()), now=1.0)
    places: list[Any] = [each.seat and each.seat.place for each in waiters]
    assert [place.woken for place in places] == [True] * 3
    found = board(first, 1.0)
    assert (found.use, found.serves, found.flight) == (Use.FRESH, True, None)
    assert first.snapshot() == {"entries": 1, "weight": 0, "evicted": 0, "loading": 0}


def test_a_hit_takes_no_lock_and_counts_three_visits() -> None:
    first = FirstLevel(L1(10))
    entry = kept(first, made())
    first.lock = None  # type: ignore[assignment]
    assert [first.hit("k", 9.999) for _ in range(5)] == [entry] * 5
    assert entry.visits == 3
    assert first.hit("k", 10) is None
    assert first.hit("other", 0) is None


def test_after_an_invalidation_of_something_else_a_hit_is_one_again_when_it_was_looked_at() -> None:
    first = FirstLevel(L1(10))
    entry = kept(first, made())
    first.invalidate("#other", now=1)
    assert first.hit("k", 1) is None
    assert first.find("k", now=1) is entry
    assert first.hit("k", 1) is entry


def test_without_entries_loads_are_shared_all_the_same() -> None:
    first = FirstLevel(None)
    flight = led(first)
    waiter = board(first)
    assert first.land(flight, Landing(made()), now=1.0), "the second level may have it"
    assert waiter.seat is not None
    assert waiter.seat.part is Part.TAKE
    assert first.find("k", now=1.0) is None
    assert first.snapshot()["entries"] == 0


# Detached loads


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("what", ["key", "tag", "all"])
def test_a_load_that_an_invalidation_has_hit_stores_nothing(what: str, soft: bool) -> None:
    first = FirstLevel(L1(10))
    before = led(first)
    early = board(first)
    if what == "key":
        first.drop("k", now=1, soft=soft)
    elif what == "tag":
        first.invalidate("#t", now=1, soft=soft)
    else:
        first.invalidate_all(now=1, soft=soft)
    late = board(first, 2.0)
    landing = Landing(made())
    assert first.land(before, landing, now=3) is False
    assert value(first, 3) is None
    assert early.seat is not None
    assert early.seat.part is Part.TAKE
    assert first.fits(landing, before, early.mark), "it asked before"
    if late.flight is before:
        assert not first.fits(landing, before, late.mark), "it asked after"
    else:
        assert late.leads


def test_an_invalidation_of_something_else_is_no_reason_to_load_again() -> None:
    first = FirstLevel(L1(10))
    before = led(first)
    first.invalidate("#other", now=1)
    late = board(first, 2.0)
    assert late.flight is before
    landing = Landing(made())
    assert first.land(before, landing, now=3)
    assert first.fits(landing, before, late.mark)
    assert value(first, 3) == "v"


def test_that_there_is_nothing_is_told_only_to_those_who_asked_before() -> None:
    """Since no one knows the tags of what is not there."""
    first = FirstLevel(L1(10))
    before = led(first)
    early = board(first)
    first.invalidate("#t", now=1)
    late = board(first, 2.0)
    first.land(before, NOTHING, now=3)
    assert first.fits(NOTHING, before, early.mark)
    assert not first.fits(NOTHING, before, late.mark)


def test_an_error_is_told_to_all() -> None:
    first = FirstLevel(L1(10))
    before = led(first)
    first.invalidate("#t", now=1)
    late = board(first, 2.0)
    assert first.fits(Landing(error=ValueError()), before, late.mark)


def test_a_new_flight_takes_the_place_of_the_one_before() -> None:
    first = FirstLevel(L1(10))
    old = led(first)
    new = first.take_off("k")
    assert first.land(new, Landing(made("new")), now=1)
    assert first.land(old, Landing(made("old")), now=2) is False
    assert value(first, 2) == "new"


def test_one_is_overtaken_unless_it_has_been_already() -> None:
    first = FirstLevel(L1(10))
    stuck = led(first)
    second = first.overtake(stuck)
    assert second is not None
    assert first.overtake(stuck) is None
    third = first.overtake(second)
    assert third is not None
    first.drop("k", now=0)
    assert first.overtake(third) is not None, "nobody loads it"


def test_what_the_source_says_is_not_there_takes_the_place_of_what_was() -> None:
    first = FirstLevel(L1(10))
    kept(first, made(rescue=100.0))
    assert first.land(first.take_off("k"), NOTHING, now=11)
    assert value(first, 11) is None


def test_so_does_what_may_not_be_kept() -> None:
    first = FirstLevel(L1(10))
    kept(first, made(rescue=100.0))
    assert first.land(first.take_off("k"), Landing(made("new")), now=11, keep=False) is False
    assert value(first, 11) is None


def test_an_error_leaves_what_was() -> None:
    first = FirstLevel(L1(10))
    kept(first, made(rescue=100.0))
    first.land(first.take_off("k"), Landing(error=ValueError()), now=11, keep=False)
    assert value(first, 11) == "v"


def test_what_was_written_takes_the_place_of_what_was_even_if_someone_else_loads_by_now() -> None:
    first = FirstLevel(L1(10))
    kept(first, made("old"))
    flight, other = first.take_off("k"), first.take_off("k")
    first.wrote(flight, Landing(made("new")), now=1)
    assert value(first, 1) is None
    first.land(other, Landing(made("old")), now=1)
    assert value(first, 1) is None, "it may have found that before the new one was written"
    first.wrote(first.take_off("k"), Landing(made("newer")), now=2)
    assert value(first, 2) == "newer"
    first.wrote(first.take_off("k"), Landing(made("newest")), now=3, keep=False)
    assert value(first, 3) is None


# Rescue


def test_a_stale_entry_stands_in_for_a_load_that_failed_and_asking_pauses() -> None:
    first = FirstLevel(L1(10))
    kept(first, made(rescue=100.0))
    flight = led(first, 11)
    entry = first.rescue(flight, now=12, pause=1)
    assert entry is not None
    assert first.land(flight, Landing(entry, source="stale"), now=12, keep=False) is False
    assert board(first, 12.999).use is Use.PAUSED
    assert board(first, 13).leads


@pytest.mark.parametrize("what", ["key", "tag", "all", "another flight", "past"])
def test_no_error_brings_back_what_was_deleted(what: str) -> None:
    first = FirstLevel(L1(10))
    kept(first, made(rescue=100.0))
    flight, now = led(first, 11), 12.0
    match what:
        case "key":
            first.drop("k", now=12)
        case "tag":
            first.invalidate("#t", now=12)
        case "all":
            first.invalidate_all(now=12)
        case "another flight":
            first.take_off("k")
        case _:
            now = 110.0
    assert first.rescue(flight, now=now, pause=1) is None


def test_what_was_expired_while_it_was_asked_for_may_stand_in() -> None:
    first = FirstLevel(L1(10))
    kept(first, made(rescue=100.0))
    flight = first.take_off("k")
    first.invalidate("#t", now=5, soft=True)
    entry = first.rescue(flight, now=6, pause=1)
    assert entry is not None
    assert entry.fresh_until == 6, "when it was looked at"


# What the second level had


def test_what_is_offered_is_kept_for_the_case_of_failure() -> None:
    first = FirstLevel(L1(10))
    flight = led(first)
    first.offer(flight, made("offered", at=-11, rescue=100.0), now=1)
    assert value(first, 1) == "offered"
    first.drop("k", now=2)
    first.offer(flight, made("offered", at=-11, rescue=100.0), now=3)
    assert value(first, 3) is None, "it was deleted"


def test_nothing_older_takes_the_place_of_what_is_here() -> None:
    first = FirstLevel(L1(10))
    kept(first, made("here", at=0, rescue=100.0))
    flight = led(first, 11)
    first.offer(flight, made("older", at=-1, rescue=100.0), now=11)
    assert value(first, 11) == "here"
    stale = Landing(made("older", at=-1, revalidate=100.0), source="stale")
    assert first.land(flight, stale, now=11, on=True)
    assert value(first, 11) == "here"
    first.offer(flight, made("younger", at=1, rescue=100.0), now=11)
    assert value(first, 11) == "younger"


def test_a_load_that_goes_on_behind_a_stale_value_is_joined_and_may_store() -> None:
    first = FirstLevel(L1(10))
    flight, waiter = led(first), board(first)
    stale = Landing(made("stale", at=-11, revalidate=100.0), source="stale")
    assert first.land(flight, stale, now=1, on=True)
    assert waiter.seat is not None
    assert waiter.seat.part is Part.TAKE
    assert board(first, 1).serves
    assert not board(first, 1).leads, "someone is at it"
    assert first.land(flight, Landing(made("news")), now=2)
    assert value(first, 2) == "news"


# Lookups


def test_what_was_found_is_kept_unless_something_happened_meanwhile() -> None:
    first = FirstLevel(L1(10))
    since = first.look_up("k")
    assert since is not None
    assert first.look_up("k") is None, "someone is at it"
    first.found(made(), "k", since, now=1)
    assert value(first, 1) == "v"
    assert first.look_up("k") is not None


@pytest.mark.parametrize("what", ["key", "tag", "all", "load", "loaded", "renewed", "nothing"])
def test_what_was_found_is_not_kept(what: str) -> None:
    first = FirstLevel(L1(10))
    since = first.look_up("k")
    assert since is not None
    match what:
        case "key":
            first.drop("k", now=1)
        case "tag":
            first.invalidate("#t", now=1)
        case "all":
            first.invalidate_all(now=1)
        case "load":
            led(first, 1)
        case "loaded":
            first.land(led(first, 1), NOTHING, now=1)
        case "renewed":
            first.take_off("k")
    first.found(None if what == "nothing" else made(), "k", since, now=2)
    assert value(first, 2) is None
    assert not first._lookups


def test_a_lookup_that_was_given_up_does_not_end_the_next_one() -> None:
    first = FirstLevel(L1(10))
    old = first.look_up("k")
    assert old is not None
    first.drop("k", now=0)
    new = first.look_up("k")
    assert new is not None
    first.found(made("old"), "k", old, now=1)
    assert value(first, 1) is None
    first.found(made("new"), "k", new, now=1)
    assert value(first, 1) == "new"


def test_while_someone_loads_nobody_looks() -> None:
    first = FirstLevel(L1(10))
    led(first)
    assert first.look_up("k") is None


# Expiry and hold-off


def test_what_is_expired_is_stale_and_what_is_deleted_is_not_brought_back_by_that() -> None:
    first = FirstLevel(L1(10))
    kept(first, made(revalidate=100.0))
    first.drop("k", now=2, soft=True)
    assert board(first, 2).use is Use.REVALIDATE
    first.drop("k", now=3)
    first.drop("k", now=4, soft=True)
    first.invalidate("#t", now=4, soft=True)
    first.invalidate_all(now=4, soft=True)
    assert value(first, 4) is None
    kept(first, made(revalidate=100.0), now=5)
    first.invalidate("#t", now=5)
    first.drop("k", now=6, soft=True)
    assert value(first, 6) is None


@pytest.mark.parametrize("what", ["tag", "all"])
def test_an_expired_tag_makes_stale_what_it_hits_when_it_is_looked_at(what: str) -> None:
    first = FirstLevel(L1(10))
    entry = kept(first, made(revalidate=100.0))
    if what == "tag":
        first.invalidate("#t", now=2, soft=True)
    else:
        first.invalidate_all(now=2, soft=True)
    assert first.hit("k", 2) is None
    stale = first.find("k", now=2)
    assert stale is not None
    assert stale is not entry
    assert (stale.fresh_until, stale.mark is first.versions.mark) == (2, True)
    assert first.find("k", now=3) is stale


@pytest.mark.parametrize("what", ["key", "tag", "all"])
def test_for_a_while_after_an_invalidation_nothing_is_stored(what: str) -> None:
    first = FirstLevel(L1(10))
    if what == "key":
        first.drop("k", now=1, lag=3)
    elif what == "tag":
        first.invalidate("#t", now=1, lag=3)
    else:
        first.invalidate_all(now=1, lag=3)
    assert first.land(led(first, 2), Landing(made(at=2)), now=3.999) is False
    assert value(first, 3.999) is None
    assert first.land(led(first, 4), Landing(made(at=4)), now=4)
    assert value(first, 4) == "v"


def test_a_key_named_like_a_tag_is_held_off_by_itself() -> None:
    first = FirstLevel(L1(10))
    first.drop("#t", now=1, lag=3)
    assert first.land(led(first, 2), Landing(made(at=2)), now=2)


# Hearing


def test_while_nothing_is_heard_what_there_was_is_trusted_for_so_long() -> None:
    first = FirstLevel(L1(10))
    entry = kept(first, made(revalidate=100.0))
    first.deafen(2.0, now=3)
    assert first.bound == 2.0
    assert first.hit("k", 3) is None
    assert first.find("k", now=4.999) is entry
    assert first.hit("k", 4.999) is None, "each time it is looked at anew"
    assert first.find("k", now=5) is None
    assert board(first, 5).leads


def test_to_be_deafened_again_gives_no_more_time() -> None:
    first = FirstLevel(L1(10))
    kept(first, made())
    first.deafen(2.0, now=3)
    first.deafen(9.0, now=4)
    assert (first.bound, value(first, 5)) == (2.0, None)


def test_what_came_since_is_trusted_as_it_says() -> None:
    first = FirstLevel(L1(10))
    first.deafen(2.0, now=3)
    kept(first, made(at=3), now=3)
    first.invalidate("#other", now=4)
    assert value(first, 9) == "v"


def test_what_was_asked_for_before_is_in_doubt_however_late_it_lands() -> None:
    first = FirstLevel(L1(10))
    flight = led(first)
    first.deafen(2.0, now=3)
    assert first.land(flight, Landing(made()), now=4)
    assert first.hit("k", 4) is None
    assert (value(first, 4.999), value(first, 5)) == ("v", None)


def test_what_is_expired_while_in_doubt_stays_in_doubt() -> None:
    first = FirstLevel(L1(10))
    kept(first, made(revalidate=100.0))
    first.deafen(2.0, now=3)
    first.invalidate("#t", now=4, soft=True)
    assert board(first, 4).use is Use.REVALIDATE
    assert value(first, 4.999) == "v"
    assert value(first, 5) is None, "it may have been deleted, and no one would know"
    first.drop("k", now=6, soft=True)
    assert value(first, 6) is None


def test_what_is_deleted_while_in_doubt_is_gone() -> None:
    first = FirstLevel(L1(10))
    kept(first, made())
    first.deafen(2.0, now=3)
    first.invalidate("#t", now=3.5)
    assert value(first, 4) is None
    assert "k" not in first.store.table


def test_when_it_is_heard_again_everything_from_before_is_forgotten() -> None:
    first = FirstLevel(L1(10))
    kept(first, made())
    first.deafen(2.0, now=3)
    before = led(first, 6)
    first.hear(now=7)
    assert first.bound is None
    late = board(first, 7)
    assert late.leads
    assert late.flight is not before
    assert first.land(before, Landing(made()), now=8) is False
    assert late.flight is not None
    assert first.land(late.flight, Landing(made("new", at=7)), now=8)
    assert first.hit("k", 8) is not None
    first.deafen(2.0, now=9)
    assert (value(first, 10.9), value(first, 11)) == ("new", None)


# Seats


def test_a_leader_that_gives_up_is_followed_by_the_one_who_has_waited_longest() -> None:
    first = FirstLevel(L1(10))
    flight = led(first)
    seats = [board(first).seat for _ in range(2)]
    assert seats[0] is not None
    assert seats[1] is not None
    first.give_up(flight)
    assert [seat.part for seat in seats if seat] == [Part.LEAD, Part.WAIT]
    first.leave(flight, seats[0])
    assert seats[1].part is Part.LEAD
    assert first.snapshot()["loading"] == 1
    first.leave(flight, seats[1])
    assert first.snapshot()["loading"] == 0
    assert board(first).leads


def test_those_whose_loop_has_ended_are_passed_over() -> None:
    first = FirstLevel(L1(10))
    flight = led(first)
    gone = [board(first, place=lambda: Spot(gone=True)) for _ in range(2)]
    alive = board(first)
    first.give_up(flight)
    assert alive.seat is not None
    assert alive.seat.part is Part.LEAD
    assert len(gone) == 2
    first.leave(flight, alive.seat)
    assert first.snapshot()["loading"] == 0


def test_when_all_loops_have_ended_nobody_loads() -> None:
    first = FirstLevel(L1(10))
    flight = led(first)
    for _ in range(2):
        board(first, place=lambda: Spot(gone=True))
    first.give_up(flight)
    assert first.snapshot()["loading"] == 0
    assert board(first).leads


def test_who_leaves_a_flight_that_was_replaced_does_not_end_the_new_one() -> None:
    first = FirstLevel(L1(10))
    old = led(first)
    seat = board(first).seat
    new = first.take_off("k")
    first.give_up(old)
    assert seat is not None
    assert seat.part is Part.LEAD
    first.leave(old, seat)
    assert first._flights == {"k": new}


def test_a_waiter_that_woke_by_itself_gives_up_its_seat_or_keeps_it_elsewhere() -> None:
    first = FirstLevel(L1(10))
    flight, seat = led(first), board(first).seat
    assert seat is not None
    other = Spot()
    first.stay(seat, other)
    assert (seat.place, len(flight), other.woken) == (other, 1, False)
    assert first.part(flight, seat) is Part.WAIT
    assert len(flight) == 0
    again = first.join(flight, Spot())
    first.land(flight, Landing(made()), now=1)
    assert first.part(flight, again) is Part.TAKE
    first.stay(again, other)
    assert other.woken, "it was called while it was not looking"


def test_a_forked_child_keeps_entries_and_no_loads() -> None:
    first = FirstLevel(L1(10))
    kept(first, made())
    first.take_off("other")
    first.look_up("third")
    held = threading.Thread(target=first.lock.acquire)
    held.start()
    held.join()
    first.forked()
    assert (value(first), first.snapshot()["loading"]) == ("v", 0)
    assert first.look_up("third") is not None
