"""S3-FIFO: who stays, who goes, and that nothing in it grows."""

from __future__ import annotations

import itertools
import math
import random
import sys
import threading
import tracemalloc
from collections.abc import Callable, Hashable, Iterable, Sequence

import pytest

from escala.caching.pure.entry import Entry, Terms, WeighedEntry
from escala.caching.pure.s3_fifo import S3Fifo

TERMS = Terms(60.0)


def entry(key: Hashable, *, visits: int = 0, until: float = 1e9) -> Entry:
    made = Entry(key, f"value of {key}", until=until, terms=TERMS)
    made.visits = visits
    return made


def weighed(key: Hashable, weight: int, *, visits: int = 0) -> WeighedEntry:
    made = WeighedEntry(key, None, until=1e9, terms=TERMS, weight=weight)
    made.visits = visits
    return made


def settled(*, max_entries: int | None, max_weight: int | None = None) -> S3Fifo:
    """As it is once it has evicted: from then on new keys have to prove themselves."""
    fifo = S3Fifo(max_entries=max_entries, max_weight=max_weight)
    fifo._filling = False
    return fifo


def filled(most: int, *keys: Hashable) -> S3Fifo:
    fifo = settled(max_entries=most)
    for key in keys:
        fifo.put(entry(key))
    return fifo


def visit(fifo: S3Fifo, key: Hashable, times: int) -> None:
    fifo.table[key].visits = min(3, fifo.table[key].visits + times)


def promoted(most: int, *keys: Hashable) -> S3Fifo:
    """A full level with these keys in the main queue, in this order, and strangers beside it."""
    fifo = filled(most, *keys)
    for key in keys:
        visit(fifo, key, 2)
    for stranger in range(most - len(keys) + 1):
        fifo.put(entry(("stranger", stranger)))
    assert list(fifo._main) == list(keys)
    return fifo


def ratio(trace: Sequence[int], most: int) -> float:
    """The share of look-ups that hit, when every miss is loaded and put."""
    fifo, hits = S3Fifo(max_entries=most), 0
    for key in trace:
        seen = fifo.table.get(key)
        if seen is None:
            fifo.put(entry(key))
        else:
            hits += 1
            if seen.visits < 3:
                seen.visits += 1
    return hits / len(trace)


def lru_ratio(trace: Iterable[int], most: int) -> float:
    kept: dict[int, None] = {}
    hits = asked = 0
    for key in trace:
        asked += 1
        if key in kept:
            hits += 1
            del kept[key]
        elif len(kept) == most:
            del kept[next(iter(kept))]
        kept[key] = None
    return hits / asked


def zipf(keys: int, count: int, exponent: float, seed: int) -> list[int]:
    weights = [1 / rank**exponent for rank in range(1, keys + 1)]
    return random.Random(seed).choices(range(keys), weights, k=count)


# Who stays


def test_keeps_what_fits() -> None:
    fifo = settled(max_entries=3)
    made = [entry(key) for key in "abc"]
    assert [fifo.put(one) for one in made] == [True] * 3
    assert list(fifo.table.values()) == made
    assert (fifo.evicted, fifo.weight) == (0, 0)


def test_one_more_than_fits_pushes_out_the_oldest_that_nobody_asked_for() -> None:
    fifo = filled(3, "a", "b", "c", "d")
    assert list(fifo.table) == ["b", "c", "d"]
    assert fifo.evicted == 1


@pytest.mark.parametrize(
    ("visits", "stays"), [(0, False), (1, False), (2, True), (3, True)], ids=str
)
def test_two_visits_in_the_small_queue_earn_a_place_in_the_main_one(
    visits: int, stays: bool
) -> None:
    fifo = filled(10, *range(10))
    visit(fifo, 0, visits)
    fifo.put(entry(10))
    assert (0 in fifo.table) is stays
    assert list(fifo._main) == ([0] if stays else [])
    if stays:
        assert fifo.table[0].visits == 0, "in the main queue it begins anew"
        assert 1 not in fifo.table, "the next one went"


def all_visited(most: int) -> S3Fifo:
    """A level that has just had to put one more, when all it held had been asked for."""
    fifo = settled(max_entries=most)
    for key in range(most):
        fifo.put(entry(key, visits=2))
    fifo.put(entry("x"))
    return fifo


def test_each_visit_is_worth_a_turn_in_the_main_queue() -> None:
    fifo = all_visited(20)
    for key, visits in ((1, 3), (2, 1), (3, 2)):
        visit(fifo, key, visits)
    gone: list[Hashable] = []
    for number in range(80):
        before = set(fifo.table)
        fifo.put(entry(("new", number), visits=2))  # moves on, and the main queue has to give
        gone += before - fifo.table.keys()
    assert [key for key in gone if key in (1, 2, 3, 4, 5)] == [4, 5, 2, 3, 1]


def test_small_queue_gives_while_it_has_its_tenth() -> None:
    fifo = all_visited(20)  # all moved on, and then the first of the main queue went
    assert list(fifo._small) == ["x"]
    assert list(fifo._main) == list(range(1, 20))
    fifo.put(entry("y"))
    assert list(fifo._small) == ["x", "y"], "one is less than a tenth"
    assert list(fifo._main) == list(range(2, 20))
    fifo.put(entry("z"))
    assert list(fifo._small) == ["y", "z"], "two are a tenth"
    assert list(fifo._main) == list(range(2, 20))


def test_a_key_that_the_ghost_remembers_goes_to_the_main_queue() -> None:
    fifo = filled(10, *range(11))
    assert 0 not in fifo.table
    fifo.put(entry(0))
    assert list(fifo._main) == [0]
    fifo.put(entry(1))
    assert list(fifo._main) == [0, 1], "1 made room for 0 and is remembered as well"


def test_the_ghost_remembers_as_many_as_the_main_queue_holds() -> None:
    fifo = filled(10, *range(1000))
    assert fifo._ghost.limit == 9
    *_, oldest = range(990 - 9)
    fifo.put(entry(oldest))  # evicts another, so that of the nine this one is past
    assert list(fifo._main) == []
    fifo = filled(10, *range(1000))
    fifo.put(entry(990 - 8))
    assert list(fifo._main) == [990 - 8]


def test_what_leaves_the_main_queue_is_not_remembered() -> None:
    fifo = all_visited(20)
    assert 0 not in fifo.table
    fifo.put(entry(0))
    assert list(fifo._small) == ["x", 0]


def test_a_new_value_takes_the_place_of_the_old_and_counts_as_a_visit() -> None:
    fifo = filled(3, "a", "b", "c")
    visit(fifo, "a", 1)
    new = entry("a")
    assert fifo.put(new)
    assert fifo.table["a"] is new
    assert new.visits == 2
    assert list(fifo._small) == ["a", "b", "c"]
    for _ in range(3):
        new = entry("a")
        fifo.put(new)
    assert new.visits == 3
    assert fifo.evicted == 0


def test_one_entry_is_a_level_too() -> None:
    fifo = settled(max_entries=1)
    for key in range(50):
        fifo.put(entry(key, visits=3))
        assert list(fifo.table) == [key]
    assert fifo.evicted == 49


def test_visited_entries_are_passed_over_so_often_and_not_for_ever() -> None:
    fifo = settled(max_entries=12_000)
    for key in range(12_000):
        fifo.put(entry(key, visits=3))
    fifo.put(entry("new"))
    assert len(fifo.table) == 12_000
    assert list(fifo._main) == list(range(10_000))
    assert 10_000 not in fifo.table, "after so many turns the next one goes, visited as it is"


# What is past all use


def stale(key: Hashable, *, visits: int = 3) -> Entry:
    """Useless from second 10 on: fresh for 5, then given as stale for 5 more when loads fail."""
    terms = Terms(4.0, revalidate=2.0, rescue=5.0, early=1.0)
    made = Entry(key, None, until=4.0, terms=terms)
    made.visits = visits
    return made


@pytest.mark.parametrize(("now", "goes"), [(3.0, False), (9.99, False), (10.0, True)], ids=str)
def test_useless_entries_at_the_head_of_the_small_queue_get_no_turn(now: float, goes: bool) -> None:
    fifo = settled(max_entries=3)
    for one in (stale("a"), entry("b"), entry("c")):
        fifo.put(one, now)
    fifo.put(entry("d"), now)
    assert ("a" not in fifo.table) is goes
    if goes:
        fifo.put(entry("a"), now)
        assert list(fifo._main) == [], "its key is no sign of a short memory"


@pytest.mark.parametrize(("now", "goes"), [(3.0, False), (9.99, False), (10.0, True)], ids=str)
def test_useless_entries_at_the_head_of_the_main_queue_go_first(now: float, goes: bool) -> None:
    fifo = promoted(4, "a", "b")
    fifo.put(stale("a"), 0.0)
    fifo.put(entry("new"), now)
    assert ("a" not in fifo.table) is goes
    assert "b" in fifo.table


def test_the_longer_of_the_two_stale_times_counts() -> None:
    fifo = settled(max_entries=2)
    terms = Terms(4.0, revalidate=7.0, rescue=5.0)
    fifo.put(Entry("a", None, until=4.0, terms=terms))
    visit(fifo, "a", 2)
    fifo.put(entry("b"), 10.9)
    fifo.put(entry("c"), 10.9)
    assert "a" in fifo.table
    fifo.put(entry("d"), 11.0)
    assert "a" not in fifo.table


def test_without_a_time_nothing_is_useless() -> None:
    fifo = settled(max_entries=2)
    fifo.put(stale("a"))
    fifo.put(entry("b"))
    fifo.put(entry("c"))
    assert "a" in fifo.table


# Removing


def test_remove_returns_the_entry_once() -> None:
    fifo = filled(3, "a")
    kept = fifo.table["a"]
    assert fifo.remove("a") is kept
    assert fifo.remove("a") is None
    assert fifo.remove("b") is None
    assert fifo.table == {}
    assert fifo.evicted == 0


def test_a_removed_key_that_comes_back_goes_on_where_it_stood() -> None:
    fifo = promoted(4, "a", "b")
    fifo.remove("a")
    fifo.put(entry("a"))
    assert list(fifo._main) == ["a", "b"]
    assert fifo._dead == set()
    assert fifo.table["a"].visits == 0


def test_the_places_of_removed_keys_are_passed_over() -> None:
    fifo = filled(5, *range(5))
    for key in (0, 1, 3):
        fifo.remove(key)
    for key in (5, 6, 7):
        fifo.put(entry(key))
    assert list(fifo.table) == [2, 4, 5, 6, 7]
    fifo.put(entry(8))
    assert list(fifo.table) == [4, 5, 6, 7, 8], "2 went, the first that is there"
    assert fifo._dead == {3}
    assert fifo.evicted == 1


def test_dead_places_are_swept_out_when_half_as_many_as_are_alive_stand_about() -> None:
    fifo = filled(100, *range(100))
    for key in range(44):  # 44 dead, 56 alive: 16 + 28
        fifo.remove(key)
    assert len(fifo._small) == 100
    fifo.remove(44)
    assert list(fifo._small) == list(range(45, 100))
    assert fifo._dead == set()


def test_a_level_that_was_emptied_is_like_new() -> None:
    fifo = filled(100, *range(100))
    for key in range(100):
        fifo.remove(key)
    assert len(fifo._small) <= 16
    for key in range(100):
        fifo.put(entry(key))
    assert len(fifo.table) == 100
    assert len(fifo._small) == 100
    assert fifo.evicted == 0


def test_clear_forgets_all_and_keeps_counting() -> None:
    fifo = settled(max_entries=10, max_weight=100)
    for key in range(40):
        fifo.put(weighed(key, 5))
    fifo.remove(39)
    fifo.clear()
    assert fifo.table == {}
    assert (fifo.weight, fifo._small_weight, fifo.evicted) == (0, 0, 30)
    fifo.put(weighed(29, 5))
    assert list(fifo._small) == [29], "the ghost is gone too"


# By weight


def test_total_weight_is_kept_and_bounded() -> None:
    fifo = settled(max_entries=None, max_weight=80)
    for key in range(8):
        assert fifo.put(weighed(key, 10))
        assert fifo.weight == 10 * (key + 1)
    fifo.put(weighed("one more", 1))
    assert fifo.weight == 71
    assert 0 not in fifo.table
    fifo.remove("one more")
    assert fifo.weight == 70


@pytest.mark.parametrize(("limit", "heaviest"), [(1, 1), (7, 1), (15, 1), (16, 2), (80, 10)])
def test_one_entry_may_weigh_an_eighth_of_the_limit(limit: int, heaviest: int) -> None:
    fifo = settled(max_entries=10, max_weight=limit)
    assert fifo.heaviest == heaviest
    assert fifo.put(weighed("a", heaviest))
    assert not fifo.put(weighed("b", heaviest + 1))
    assert list(fifo.table) == ["a"]
    assert (fifo.weight, fifo.evicted) == (heaviest, 0)


def test_a_value_that_grew_too_heavy_leaves_nothing_of_the_old_one() -> None:
    fifo = settled(max_entries=10, max_weight=80)
    fifo.put(weighed("a", 5))
    assert not fifo.put(weighed("a", 11))
    assert fifo.table == {}
    assert fifo.weight == 0


def test_a_value_that_grows_makes_room_for_itself() -> None:
    fifo = settled(max_entries=None, max_weight=80)
    for key in range(16):
        fifo.put(weighed(key, 5))
    assert fifo.put(weighed(15, 10))
    assert (fifo.weight, fifo.evicted) == (80, 1)
    assert list(fifo.table) == list(range(1, 16))
    assert fifo.put(weighed(15, 4))
    assert (fifo.weight, fifo.evicted) == (74, 1)


def test_a_value_that_grows_may_have_to_go_itself_and_comes_back_through_the_ghost() -> None:
    fifo = settled(max_entries=None, max_weight=80)
    for key in range(16):
        fifo.put(weighed(key, 5))
    assert fifo.put(weighed(0, 10))
    assert fifo.table[0].visits == 0
    assert list(fifo._main) == [0]
    assert fifo.weight == 80
    assert list(fifo.table) == [*range(2, 16), 0]


def test_both_limits_hold_at_once() -> None:
    fifo = settled(max_entries=5, max_weight=80)
    for key in range(6):
        fifo.put(weighed(key, 1))
    assert (len(fifo.table), fifo.weight) == (5, 5)
    for key in range(10, 30):
        fifo.put(weighed(key, 10))
        assert len(fifo.table) <= 5


def test_small_queue_is_a_tenth_by_weight() -> None:
    fifo = settled(max_entries=None, max_weight=100)
    for key in range(20):
        fifo.put(weighed(key, 5, visits=2))
    fifo.put(weighed("x", 4))
    assert list(fifo._small) == ["x"]
    assert 0 not in fifo.table
    fifo.put(weighed("y", 5))
    assert list(fifo._small) == ["x", "y"], "four of a hundred are less than a tenth"
    assert 1 not in fifo.table
    fifo.put(weighed("z", 5))
    assert list(fifo._small) == ["x", "y", "z"], "and so are nine"
    assert 2 not in fifo.table
    fifo.put(weighed("w", 5))
    assert list(fifo._small) == ["y", "z", "w"], "fourteen are more: the small queue gives"
    assert 3 in fifo.table
    fifo.remove("z")
    assert fifo._small_weight == 15, "its place is there until it is passed over or swept out"


def test_huge_values_that_pass_once_leave_the_others_alone() -> None:
    fifo = settled(max_entries=None, max_weight=10_000)
    for key in range(900):
        fifo.put(weighed(key, 10, visits=3))
    for key in range(10_000, 10_100):
        fifo.put(weighed(key, 10))
    for key in range(900):
        fifo.table[key].visits = 3
    for number in range(100):
        fifo.put(weighed(("huge", number), 1250))
        assert fifo.weight <= 10_000
    assert sum(key in fifo.table for key in range(900)) >= 750


def test_by_weight_alone_the_ghost_grows_with_the_number_that_fits() -> None:
    fifo = settled(max_entries=None, max_weight=100_000)
    for key in range(200):
        fifo.put(weighed(key, 1000))
    assert fifo._ghost.limit == 100
    for key in range(20_000):
        fifo.put(weighed(("light", key), 10))
    assert len(fifo.table) == 10_000
    assert 5_000 <= fifo._ghost.limit <= 10_000


# While it fills


def test_until_it_is_full_what_the_small_queue_cannot_hold_is_in_the_main_one() -> None:
    fifo = S3Fifo(max_entries=20)
    for key in range(20):
        fifo.put(entry(key))
    assert list(fifo._small) == [0, 1]
    assert list(fifo._main) == list(range(2, 20))
    for key in range(20, 30):
        fifo.put(entry(key))
    assert list(fifo._small) == [28, 29]
    assert list(fifo._main) == list(range(2, 20))


def test_by_weight_too() -> None:
    fifo = S3Fifo(max_entries=None, max_weight=100)
    for key in range(20):
        fifo.put(weighed(key, 5))
    assert list(fifo._small) == [0, 1]
    fifo.put(weighed("x", 5))
    fifo.remove(5)
    fifo.put(weighed("y", 5))
    assert list(fifo._small) == [1, "x", "y"], "it is over with the first eviction"


def test_of_a_loop_far_too_long_a_part_stays() -> None:
    loop = list(range(1_200)) * 20
    assert ratio(loop, 100) == pytest.approx(90 / 1_200 * 19 / 20, abs=0.001)


def test_a_cleared_level_fills_again() -> None:
    fifo = filled(20, *range(30))
    fifo.clear()
    for key in range(20):
        fifo.put(entry(key))
    assert list(fifo._small) == [0, 1]


# How well it keeps


def test_a_scan_does_not_push_out_what_is_asked_for() -> None:
    popular = zipf(2_000, 40_000, 1.0, seed=1)
    plain = ratio(popular, 500)
    strangers = itertools.count(10_000)
    scanned = [key for hot in popular for key in (hot, next(strangers))]
    assert 2 * ratio(scanned, 500) > 0.9 * plain
    assert 2 * lru_ratio(scanned, 500) < 0.9 * lru_ratio(popular, 500), "it does push out of LRU"


def test_one_long_scan_costs_next_to_nothing_afterwards() -> None:
    fifo = settled(max_entries=500)
    for _ in range(4):
        for key in range(400):
            if key in fifo.table:
                visit(fifo, key, 1)
            else:
                fifo.put(entry(key))
    for key in range(10_000, 12_000):  # a tenth of these moves all that was visited on
        fifo.put(entry(key))
    assert sum(key in fifo.table for key in range(400)) >= 395


def test_a_loop_longer_than_the_level_still_hits() -> None:
    loop = list(range(1_000)) * 30
    assert lru_ratio(loop, 900) == 0
    assert ratio(loop, 900) > 0.5


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.3])
@pytest.mark.parametrize("most", [20, 200, 1_000])
def test_never_far_below_lru(exponent: float, most: int) -> None:
    trace = zipf(5_000, 30_000, exponent, seed=2)
    assert ratio(trace, most) > lru_ratio(trace, most) - 0.01


# That nothing grows


def places(fifo: S3Fifo) -> int:
    return len(fifo._small) + len(fifo._main)


def test_a_million_random_removals_leave_nothing_behind() -> None:
    fifo, draw = settled(max_entries=1_000), random.Random(3)
    keys = [f"key-{number}" for number in range(3_000)]
    values = {key: entry(key) for key in keys}
    picks = draw.choices(keys, k=250_000)
    most = 0
    for step in range(4):
        for key, other in zip(picks, reversed(picks), strict=True):
            fifo.put(values[key])
            fifo.remove(other)
        most = max(most, places(fifo))
        assert places(fifo) <= 1.5 * len(fifo.table) + 17
        assert len(fifo._dead) <= len(fifo.table) / 2 + 17
        assert sys.getsizeof(fifo.table) <= 100_000, step
    assert len(fifo.table) <= 1_000


def test_removing_everything_again_and_again_keeps_no_places() -> None:
    fifo = settled(max_entries=None, max_weight=10_000)
    for number in range(20_000):
        fifo.put(weighed(number, 7))
        if number % 3:
            fifo.remove(number)
    assert places(fifo) <= 1.5 * len(fifo.table) + 17
    assert len(fifo._small_weights) == len(fifo._small)
    for key in list(fifo.table):
        fifo.remove(key)
    assert places(fifo) <= 16
    assert (fifo.weight, fifo.table) == (0, {})
    assert fifo._small_weight == sum(fifo._small_weights)


@pytest.mark.parametrize("most", [100, 1_000, 5_000])
def test_the_table_stays_as_small_as_a_new_one(most: int) -> None:
    """Of its own a dict whose keys all change grows to twice or four times what they need."""
    fifo = filled(most, *(f"key-{number}" for number in range(8 * most)))
    assert len(fifo.table) == most
    assert sys.getsizeof(fifo.table) == sys.getsizeof(dict.fromkeys(map(str, range(most))))


def test_the_table_is_left_to_itself_where_making_it_anew_gains_little() -> None:
    most = 2_700  # of 2,730 places in a dict of this size, so it would be anew every 30 evictions
    fifo = filled(most, *(f"key-{number}" for number in range(8 * most)))
    assert sys.getsizeof(fifo.table) > sys.getsizeof(dict.fromkeys(map(str, range(most))))


def test_an_entry_takes_less_than_170_bytes_with_all_that_belongs_to_it() -> None:
    most = 100_000
    keys = [f"key-{number}" for number in range(2 * most)]
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    fifo = settled(max_entries=most)
    for number, key in enumerate(keys):
        fifo.put(Entry(key, None, until=1000.0 + number, terms=TERMS))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / most <= 170


def read(fifo: S3Fifo, key: int) -> bool:
    """Look up as a hit does; whether what is there is whole."""
    seen = fifo.table.get(key)
    if seen is not None and seen.visits < 3:
        seen.visits += 1
    return seen is None or seen.value == f"value of {key}"


def test_readers_without_the_lock_see_whole_entries() -> None:
    fifo, stop = settled(max_entries=50), threading.Event()
    wrong: list[int] = []

    def reading() -> None:
        while not stop.is_set():
            wrong.extend(key for key in range(100) if not read(fifo, key))

    readers = [threading.Thread(target=reading) for _ in range(3)]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for reader in readers:
            reader.start()
        draw = random.Random(4)
        for key in draw.choices(range(100), k=10_000):
            fifo.put(entry(key))
            fifo.remove(99 - key)
            assert len(fifo.table) <= 50
    finally:
        stop.set()
        for reader in readers:
            reader.join()
        sys.setswitchinterval(switch)
    assert not wrong


def test_no_limit_at_all_evicts_nothing() -> None:
    fifo = settled(max_entries=None)
    for key in range(5_000):
        fifo.put(entry(key), math.inf if key % 2 else 0.0)
    assert (len(fifo.table), fifo.evicted) == (5_000, 0)


class Ending:
    """A value that does something when it ends."""

    def __init__(self, then: Callable[[], object]) -> None:
        self.then = then

    def __del__(self) -> None:
        self.then()


def test_what_ends_in_the_middle_of_a_step_may_come_back() -> None:
    fifo = settled(max_entries=2)
    seen: list[object] = []

    def then() -> None:
        old = fifo.table["b"]
        seen.append(fifo.put(entry("b")))  # it is not kept, and neither is the one before
        seen.append((old.until, old.fresh_until, old.terms == Terms(0.0)))
        seen.append(fifo.put(entry("new")))
        seen.append(fifo.remove("nothing"))

    fifo.put(Entry("a", Ending(then), until=1e9, terms=TERMS))
    fifo.put(entry("b"))
    assert fifo.put(entry("c"))
    assert seen == [False, (-math.inf, -math.inf, True), False, None]
    assert list(fifo.table) == ["c"]
    assert fifo.put(entry("b"))
    assert fifo.remove("b") is not None
    assert fifo.remove("c") is not None
    assert not fifo.table


def test_what_is_put_may_be_removed_before_that_is_over() -> None:
    fifo = settled(max_entries=1, max_weight=100)
    doomed = WeighedEntry("a", Ending(lambda: fifo.remove("b")), until=1e9, terms=TERMS, weight=1)
    fifo.put(doomed)
    del doomed
    assert fifo.put(weighed("b", 1))
    assert not fifo.table
    assert fifo.weight == 0
