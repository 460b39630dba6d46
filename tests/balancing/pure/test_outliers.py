"""Who is ejected, for how long, and who never is."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.balancing.pure.outliers import Ejection, Outliers, Rules

RULES = Rules(
    in_a_row=3,
    deviations=2.0,
    slower=4.0,
    interval=10.0,
    calls=10,
    ejection=30.0,
    longest=100.0,
    most=0.5,
)
OFF = RULES._replace(in_a_row=0, deviations=0.0, slower=0.0)


def watching(names: str, rules: Rules = RULES) -> Outliers:
    machine = Outliers(rules)
    machine.watch(set(names), 0.0)
    return machine


def calls(
    machine: Outliers, name: str, good: int, bad: int = 0, *, now: float = 1.0, took: float = 0.1
) -> list[Ejection]:
    """Bad calls never stand in a row, as far as there are good ones."""
    told = []
    for _ in range(max(good, bad)):
        if bad > 0:
            told.append(machine.record(name, now, ok=False, took=took))
            bad -= 1
        if good > 0:
            told.append(machine.record(name, now, ok=True, took=took))
            good -= 1
    return [each for each in told if each is not None]


def out(machine: Outliers, names: str = "abcdefghij") -> str:
    return "".join(name for name in names if machine.out(name))


# -- a row of failures


def test_a_row_of_failures_ejects_at_once() -> None:
    machine = watching("abc")
    assert machine.record("a", 1.0, ok=False) is None
    assert machine.record("a", 2.0, ok=False) is None
    told = machine.record("a", 3.0, ok=False)
    assert told == Ejection("a", 3.0, 30.0, "3 calls in a row failed")
    assert (out(machine), machine.ejected, machine.until("a")) == ("a", 1, 33.0)


def test_a_success_breaks_the_row() -> None:
    machine = watching("abc")
    for _ in range(10):
        assert not machine.record("a", 1.0, ok=False)
        assert not machine.record("a", 1.0, ok=False)
        assert not machine.record("a", 1.0, ok=True)
    assert out(machine) == ""


def test_rows_are_counted_for_each_target() -> None:
    machine = watching("abc")
    for name in "abab":
        assert machine.record(name, 1.0, ok=False) is None
    assert machine.record("c", 1.0, ok=True) is None
    assert machine.record("b", 1.0, ok=False) is not None
    assert out(machine) == "b"


def test_a_row_goes_on_over_the_end_of_an_interval() -> None:
    machine = watching("abc")
    machine.record("a", 9.0, ok=False)
    machine.record("a", 9.0, ok=False)
    assert machine.turn(10.0) == []
    assert machine.record("a", 11.0, ok=False) is not None


def test_without_a_row_none_is_looked_for() -> None:
    machine = watching("abc", OFF)
    assert calls(machine, "a", 0, 1000) == []
    assert machine.turn(10.0) == []


def test_a_row_may_be_a_single_failure() -> None:
    told = watching("abc", RULES._replace(in_a_row=1)).record("a", 1.0, ok=False)
    assert told is not None
    assert told.reason == "a call failed"
    machine = watching("abc", RULES._replace(in_a_row=2))
    assert [each.reason for each in calls(machine, "a", 0, 2)] == ["2 calls in a row failed"]


def test_what_an_ejected_target_still_answers_counts_for_nothing() -> None:
    machine = watching("abcd")
    calls(machine, "a", 0, 3)
    assert calls(machine, "a", 0, 100) == []
    machine.turn(31.0)
    assert out(machine) == ""
    assert calls(machine, "a", 0, 2, now=32.0) == [], "its row begins anew"
    assert len(calls(machine, "a", 0, 1, now=32.0)) == 1


def test_a_stranger_is_not_counted() -> None:
    machine = watching("abc")
    assert calls(machine, "x", 0, 10) == []
    assert machine.turn(10.0) == []


# -- how long


def test_each_ejection_lasts_longer_up_to_the_longest() -> None:
    machine, now = watching("abc"), 0.0
    lengths = []
    for _ in range(6):
        (told,) = calls(machine, "a", 0, 3, now=now)
        lengths.append(told.seconds)
        now = machine.until("a")
        assert machine.turn(now - 0.001) == []
        assert machine.out("a")
        assert machine.turn(now) == [Ejection("a", now, 0.0, "its time is over")]
        assert not machine.out("a")
    assert lengths == [30.0, 60.0, 90.0, 100.0, 100.0, 100.0]


def test_each_interval_in_peace_makes_the_next_one_shorter() -> None:
    machine = watching("abc", RULES._replace(longest=1000.0))
    now = 0.0
    for _ in range(3):
        calls(machine, "a", 0, 3, now=now)
        now = machine.until("a")
        machine.turn(now)
    assert now == 30 + 60 + 90
    # The interval in which it came back began with it; the first whole one ends 10 s later.
    machine.turn(now + 10)
    (told,) = calls(machine, "a", 0, 3, now=now + 11)
    assert told.seconds == 90.0, "two strikes are left, and this is the third"
    machine.turn(now + 11 + 90)
    for step in range(1, 6):
        machine.turn(now + 101 + 10 * step)
    (told,) = calls(machine, "a", 0, 3, now=now + 200)
    assert told.seconds == 30.0, "as if it had been the first"


def test_a_long_pause_without_calls_is_peace_as_well() -> None:
    machine, now = watching("abc"), 0.0
    for _ in range(3):
        calls(machine, "a", 0, 3, now=now)
        now = machine.until("a")
        machine.turn(now)
    machine.turn(now + 3600)
    (told,) = calls(machine, "a", 0, 3, now=now + 3601)
    assert told.seconds == 30.0


def test_strikes_are_bounded_so_that_peace_is_in_reach() -> None:
    machine, now = watching("abc"), 0.0
    for _ in range(50):
        calls(machine, "a", 0, 3, now=now)
        now = machine.until("a")
        machine.turn(now)
    for step in range(1, 5):
        machine.turn(now + 10 * step)
    (told,) = calls(machine, "a", 0, 3, now=now + 41)
    assert told.seconds == 30.0


# -- how many


@pytest.mark.parametrize(
    ("names", "most", "room"),
    [
        ("a", 1.0, 0),
        ("ab", 0.1, 1),
        ("ab", 1.0, 1),
        ("abc", 0.1, 1),
        ("abc", 0.67, 2),
        ("abc", 1.0, 2),
        ("abcd", 0.5, 2),
        ("abcde", 0.5, 2),
        ("abcdefghij", 0.3, 3),
        ("abcdefghij", 1.0, 9),
    ],
)
def test_only_so_many_are_out_and_never_the_last(names: str, most: float, room: int) -> None:
    machine = watching(names, RULES._replace(most=most))
    for name in names:
        calls(machine, name, 0, 10)
    assert machine.ejected == room
    assert out(machine) == names[:room]


def test_who_was_one_too_many_goes_when_there_is_room_again() -> None:
    machine = watching("abcd", RULES._replace(most=0.25))
    calls(machine, "a", 0, 3)
    assert calls(machine, "b", 0, 5) == []
    machine.turn(31.0)
    (told,) = calls(machine, "b", 0, 1, now=32.0)
    assert told.reason == "6 calls in a row failed"


# -- success rates


def judged(rates: dict[str, tuple[int, int]], rules: Rules = RULES) -> list[Ejection]:
    machine = watching("".join(rates), rules._replace(in_a_row=0, most=1.0))
    for name, (good, bad) in rates.items():
        calls(machine, name, good, bad)
    assert machine.turn(9.999) == []
    return machine.turn(10.0)


def test_a_success_rate_far_below_the_others_ejects_at_the_end_of_the_interval() -> None:
    (told,) = judged({"a": (80, 20), "b": (100, 0), "c": (100, 0)})
    assert told == Ejection("a", 10.0, 30.0, "80% of its calls succeeded, 100% of the others'")


def test_the_target_is_not_part_of_what_it_is_compared_with() -> None:
    # Within five values none lies 1.9 deviations from a mean that it is part of: 4 / 5**0.5 = 1.79.
    rates = {"a": (0, 100), "b": (100, 0), "c": (100, 0), "d": (100, 0), "e": (100, 0)}
    assert [each.name for each in judged(rates, RULES._replace(deviations=1.9))] == ["a"]


@pytest.mark.parametrize(("bad", "ejected"), [(10, False), (11, True)], ids=["10", "11"])
def test_small_differences_are_chance(bad: int, *, ejected: bool) -> None:
    # Two times the least deviation of five points.
    found = judged({"a": (100 - bad, bad), "b": (100, 0), "c": (100, 0)})
    assert bool(found) == ejected


def test_where_the_others_differ_more_it_takes_more() -> None:
    others = {"b": (60, 40), "c": (100, 0), "d": (60, 40), "e": (100, 0)}  # mean 80, deviation 20
    assert judged({"a": (41, 59), **others}) == []
    assert [each.name for each in judged({"a": (39, 61), **others})] == ["a"]


def test_all_that_fail_alike_stay() -> None:
    assert judged({"a": (50, 50), "b": (45, 55), "c": (55, 45)}) == []
    assert judged({"a": (0, 100), "b": (0, 100), "c": (0, 100)}) == []


def test_the_worst_goes_first_where_not_all_may() -> None:
    rates = {"a": (60, 40), "b": (50, 50), **dict.fromkeys("cdefghij", (100, 0))}
    machine = watching("".join(rates), RULES._replace(in_a_row=0, most=0.1))
    for name, (good, bad) in rates.items():
        calls(machine, name, good, bad)
    assert [each.name for each in machine.turn(10.0)] == ["b"]


@pytest.mark.parametrize(("count", "ejected"), [(9, False), (10, True)], ids=["9", "10"])
def test_few_calls_prove_nothing(count: int, *, ejected: bool) -> None:
    found = judged({"a": (0, count), "b": (100, 0), "c": (100, 0)})
    assert bool(found) == ejected


def test_two_cannot_say_which_of_them_is_odd() -> None:
    assert judged({"a": (0, 100), "b": (100, 0)}) == []
    assert judged({"a": (0, 100), "b": (100, 0), "c": (9, 0)}) == [], "c has too few calls"


def test_each_interval_is_judged_by_its_own_calls() -> None:
    machine = watching("abc", RULES._replace(in_a_row=0))
    for name in "abc":
        calls(machine, name, 100)
    assert machine.turn(10.0) == []
    calls(machine, "a", 80, 20, now=12.0)
    for name in "bc":
        calls(machine, name, 100, now=12.0)
    assert machine.due == 20.0
    assert [each.name for each in machine.turn(20.0)] == ["a"]


def test_success_rates_may_be_left_alone() -> None:
    assert judged({"a": (0, 100), "b": (100, 0), "c": (100, 0)}, OFF) == []


# -- times


def timed(times: dict[str, float], rules: Rules = RULES, count: int = 10) -> list[Ejection]:
    machine = watching("".join(times), rules._replace(most=1.0))
    for name, took in times.items():
        calls(machine, name, count, took=took)
    return machine.turn(10.0)


@pytest.mark.parametrize(("took", "ejected"), [(0.4, False), (0.41, True)], ids=["4 times", "more"])
def test_it_takes_so_many_times_the_median(took: float, *, ejected: bool) -> None:
    found = timed({"a": took, "b": 0.1, "c": 0.1})
    assert [each.reason for each in found] == (
        ["its calls took 410 ms, the median is 100 ms"] if ejected else []
    )


def test_the_median_of_an_even_number_lies_between_the_middle_two() -> None:
    # Median 0.2: more than 0.8 is too slow.
    assert timed({"a": 0.79, "b": 0.1, "c": 0.1, "d": 0.3}) == []
    assert [each.name for each in timed({"a": 0.81, "b": 0.1, "c": 0.1, "d": 0.3})] == ["a"]


def test_the_median_of_an_odd_number_is_the_middle_one() -> None:
    assert timed({"a": 0.79, "b": 0.1, "c": 0.2}) == []
    (told,) = timed({"a": 0.999, "b": 0.1, "c": 0.2})
    assert told.reason == "its calls took 999 ms, the median is 200 ms"


def test_who_fails_goes_before_who_is_slow() -> None:
    machine = watching("abcd", RULES._replace(in_a_row=0, most=0.25))
    calls(machine, "a", 100, took=9.0)
    calls(machine, "b", 80, 20)
    for name in "cd":
        calls(machine, name, 100)
    assert [each.name for each in machine.turn(10.0)] == ["b"]


def test_seconds_are_told_as_such() -> None:
    (told,) = timed({"a": 12.5, "b": 1.0, "c": 1.0})
    assert told.reason == "its calls took 12.5 s, the median is 1 s"


def test_less_than_ten_milliseconds_are_chance() -> None:
    assert timed({"a": 0.0109, "b": 0.001, "c": 0.001}) == []
    assert [each.name for each in timed({"a": 0.0111, "b": 0.001, "c": 0.001})] == ["a"]


def test_only_calls_that_succeeded_and_were_timed_count() -> None:
    machine = watching("abc", RULES._replace(in_a_row=0, deviations=0.0))
    for name in "abc":
        calls(machine, name, 10)
    for _ in range(100):
        machine.record("a", 1.0, ok=False, took=60.0)
        machine.record("b", 1.0, ok=True)
    assert machine.turn(10.0) == []


def test_few_timed_calls_prove_nothing() -> None:
    assert timed({"a": 9.0, "b": 0.1, "c": 0.1}, count=9) == []
    assert timed({"a": 9.0, "b": 0.1}) == []


def test_times_may_be_left_alone() -> None:
    assert timed({"a": 9.0, "b": 0.1, "c": 0.1}, RULES._replace(slower=0.0)) == []


def test_who_fails_and_is_slow_is_ejected_once() -> None:
    machine = watching("abcd", RULES._replace(in_a_row=0, most=1.0))
    calls(machine, "a", 50, 50, took=9.0)
    for name in "bcd":
        calls(machine, name, 100)
    (told,) = machine.turn(10.0)
    assert (told.name, told.seconds) == ("a", 30.0)


# -- when


def test_it_is_due_at_the_end_of_an_interval_and_of_an_ejection() -> None:
    machine = Outliers(RULES)
    assert machine.due == inf
    machine.watch({"a", "b", "c"}, 5.0)
    assert machine.due == 15.0
    calls(machine, "a", 0, 3, now=6.0)
    machine.turn(15.0)
    assert machine.due == 25.0
    machine.turn(25.0)
    machine.turn(35.0)
    assert machine.due == 36.0
    assert [each.name for each in machine.turn(36.0)] == ["a"]
    assert machine.due == 45.0


def test_of_several_ejections_the_first_to_end_is_due() -> None:
    machine = watching("abcd")
    calls(machine, "b", 0, 3, now=1.0)
    calls(machine, "a", 0, 3, now=2.0)
    machine.turn(10.0)
    machine.turn(20.0)
    machine.turn(30.0)
    assert machine.due == 31.0
    assert [each.name for each in machine.turn(31.0)] == ["b"]
    assert machine.due == 32.0
    assert [each.name for each in machine.turn(32.0)] == ["a"]


# -- targets that come and go


def test_who_stays_keeps_its_record_and_who_goes_loses_it() -> None:
    machine = watching("abc")
    calls(machine, "a", 0, 3)
    machine.record("b", 1.0, ok=False)
    machine.record("b", 1.0, ok=False)
    machine.watch(set("bcd"), 2.0)
    assert (out(machine), machine.ejected) == ("", 0)
    assert machine.due == 10.0, "the interval goes on"
    assert machine.record("b", 2.0, ok=False) is not None
    machine.watch(set("abcd"), 3.0)
    assert out(machine) == "b"
    (told,) = calls(machine, "a", 0, 3, now=4.0)
    assert told.seconds == 30.0, "nothing is left of its first ejection"


def test_when_fewer_are_left_those_come_back_whose_time_is_over_first() -> None:
    machine = watching("abcdefgh")
    for now, name in enumerate("cdab", 1):
        calls(machine, name, 0, 3, now=float(now))
    assert out(machine) == "abcd"
    assert machine.watch(set("abcde"), 9.0) == [
        Ejection("c", 9.0, 0.0, "too many would be out"),
        Ejection("d", 9.0, 0.0, "too many would be out"),
    ]
    assert out(machine) == "ab"
    assert machine.watch(set("ab"), 9.5) == [Ejection("a", 9.5, 0.0, "too many would be out")]
    machine.turn(10.0)
    machine.turn(20.0)
    machine.turn(30.0)
    assert machine.due == 34.0
    assert [each.name for each in machine.watch(set("b"), 31.0)] == ["b"]
    assert machine.due == 40.0
    assert machine.watch(set(), 32.0) == []


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("abcde"), st.booleans(), st.floats(0.001, 10)),
            st.floats(0.1, 60),
        ),
        max_size=300,
    ),
    st.sampled_from([0.1, 0.4, 1.0]),
)
def test_in_any_history_the_limits_hold(
    steps: list[tuple[str, bool, float] | float], most: float
) -> None:
    machine, now = watching("abcde", RULES._replace(most=most, calls=2)), 0.0
    back: dict[str, float] = {}
    for step in steps:
        if isinstance(step, float):
            now += step
        else:
            name, ok, took = step
            if (told := machine.record(name, now, ok=ok, took=took)) is not None:
                assert not ok
                back[told.name] = now + told.seconds
        if now >= machine.due:
            for told in machine.turn(now):
                if told.seconds:
                    back[told.name] = now + told.seconds
                else:
                    assert back.pop(told.name) <= now
                assert told.seconds in (0.0, 30.0, 60.0, 90.0, 100.0)
        assert set(back) == set(out(machine))
        assert all(at > now for at in back.values())
        assert machine.ejected <= min(max(1, int(5 * most)), 4)
        assert machine.due > now
