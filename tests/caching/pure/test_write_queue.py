"""When a batch is due, how a failure is narrowed down, and who waits: each at its boundary."""

from __future__ import annotations

import math
from typing import Any

import pytest

from escala.caching.pure.flush_marks import FlushMarks
from escala.caching.pure.write_place import Entry
from escala.caching.pure.write_queue import WriteQueue
from escala.resilience.pure.backoff import Backoff

NEVER, NOW = math.inf, -math.inf


class Line:
    """A queue, with sequences counted by itself."""

    def __init__(self, *, merge: Any = None, **given: Any) -> None:
        options: dict[str, Any] = {
            "flush": 2.0,
            "max_batch": 4,
            "max_bytes": 100,
            "max_pending": 100,
            "park_after": 3,
        }
        backoff = Backoff(attempts=1, base=1.0, cap=8.0, jitter="none")
        self.queue = WriteQueue[str](**(options | given), backoff=backoff, merge=merge)
        self.sequence = 0

    def put(self, key: str, payload: bytes = b"v", now: float = 0.0, **given: Any) -> list[int]:
        assert self.queue.admit(key)
        return self.arrive(key, payload, now, **given)

    def arrive(self, key: str, payload: bytes, now: float, **given: Any) -> list[int]:
        self.sequence += 1
        return self.queue.accept(Entry(key, payload, self.sequence, **given), now)

    def through(self, key: str, waiter: str, now: float = 0.0) -> None:
        self.queue.force(key)
        self.arrive(key, b"t", now, through=waiter)

    def take(self, now: float) -> list[tuple[str, bytes]]:
        assert self.queue.due(now) <= now
        return [(entry.key, entry.payload) for entry in self.queue.take(now)]

    def keys(self, now: float) -> list[str]:
        return [key for key, _ in self.take(now)]

    def fail(self, now: float) -> Any:
        return self.queue.failed(now, 0.5, "no")


def test_nothing_is_due_without_a_write() -> None:
    line = Line()
    assert line.queue.due(0.0) == NEVER
    assert line.queue.admit("a")
    assert line.queue.due(100.0) == NEVER, "one on its way cannot be sent"


def test_the_oldest_write_is_due_after_the_flush_time() -> None:
    line = Line()
    line.put("a", now=1.0)
    line.put("b", now=2.0)
    assert line.queue.due(1.0) == 3.0
    assert line.keys(3.0) == ["a", "b"]
    assert line.queue.due(3.0) == NEVER, "one batch at a time"
    assert line.queue.away == 2
    assert line.queue.saved().rows == [1, 2]
    assert line.queue.entries == line.queue.keys == line.queue.bytes == line.queue.away == 0


def test_a_full_batch_is_due_at_once_and_holds_no_more() -> None:
    line = Line()
    for key in "abc":
        line.put(key)
    assert line.queue.due(0.0) == 2.0
    line.put("d")
    assert line.queue.due(0.0) == NOW
    line.put("e")
    assert line.keys(0.0) == ["a", "b", "c", "d"]
    line.queue.saved()
    assert line.queue.due(0.0) == 2.0
    assert line.keys(2.0) == ["e"]


def test_as_many_bytes_as_fit_are_due_at_once() -> None:
    line = Line()
    line.put("a", bytes(60))
    line.put("b", bytes(39))
    assert line.queue.due(0.0) == 2.0
    line.put("c", bytes(1))
    assert line.queue.due(0.0) == NOW
    line.put("d", bytes(1))
    assert line.keys(0.0) == ["a", "b", "c"]
    line.queue.saved()
    assert line.queue.due(0.0) == 2.0, "the bytes of what was sent do not count"
    line.put("e", bytes(500))
    assert line.keys(0.0) == ["d"], "before one that is too large for it"
    line.queue.saved()
    assert line.keys(0.0) == ["e"], "which goes alone"


def test_a_replaced_payload_counts_no_more() -> None:
    line = Line()
    line.put("a", bytes(90))
    line.put("a", bytes(9))
    line.put("b", bytes(90))
    assert line.queue.due(0.0) == 2.0
    assert line.queue.bytes == 99
    line.put("a", bytes(10))
    assert line.queue.due(0.0) == NOW


def test_the_last_write_of_a_key_takes_the_others_place_and_age() -> None:
    line = Line()
    assert line.put("a", b"1", now=0.0) == []
    assert line.put("b", b"2", now=0.5) == []
    assert line.put("a", b"3", now=1.9) == [1]
    assert line.queue.due(1.9) == 2.0
    assert line.take(2.0) == [("a", b"3"), ("b", b"2")]
    assert line.queue.saved().rows == [3, 2]


def test_what_is_away_is_not_replaced() -> None:
    line = Line()
    line.put("a", b"1")
    line.take(2.0)
    assert line.put("a", b"2", now=2.0) == []
    assert line.put("a", b"3", now=3.0) == [2]
    assert line.queue.look("a") == (False, b"3")
    assert line.queue.saved().rows == [1]
    assert line.queue.due(3.0) == 4.0
    assert line.take(4.0) == [("a", b"3")]


def test_what_has_failed_is_dropped_for_what_overwrites_it() -> None:
    line = Line()
    line.put("a", b"1")
    line.take(2.0)
    line.put("a", b"2", now=3.0)
    assert line.fail(3.0).rows == [1]
    assert line.take(4.0) == [("a", b"2")]


def join(key: str, older: bytes, newer: bytes) -> bytes | None:
    return None if newer == b"!" else older + newer


def test_merged_writes_carry_the_rows_of_all() -> None:
    line = Line(merge=join)
    assert [line.put("a", body) for body in (b"1", b"2", b"3")] == [[], [], []]
    assert line.take(2.0) == [("a", b"123")]
    assert line.queue.saved().rows == [1, 2, 3]


def test_what_was_sent_once_is_not_merged_any_more() -> None:
    line = Line(merge=join)
    line.put("a", b"1")
    line.take(2.0)
    line.put("a", b"2", now=2.0)
    assert line.fail(2.0).rows == []
    line.put("a", b"3", now=2.5)
    assert line.queue.look("a") == (False, b"123")
    assert line.take(3.0) == [("a", b"1")]
    line.queue.saved()
    assert line.take(4.0) == [("a", b"23")]


def test_sealed_writes_of_the_journal_are_not_merged() -> None:
    line = Line(merge=join)
    line.put("a", b"1", sealed=True)
    line.put("a", b"2")
    line.put("a", b"3")
    assert line.take(2.0) == [("a", b"1")]


def test_a_deletion_replaces_all_that_can_change_and_is_not_merged_with() -> None:
    line = Line(merge=join)
    line.put("a", b"1")
    assert line.put("a", b"", deleted=True) == [1]
    assert line.queue.look("a") == (True, None)
    assert line.put("a", b"2") == []
    assert line.queue.look("a") == (False, b"2")
    assert line.put("a", b"", deleted=True) == [3, 2]
    assert line.queue.entries == 1


def test_what_cannot_be_merged_stays_two_in_order() -> None:
    line = Line(merge=join)
    line.put("a", b"1")
    line.put("a", b"!")
    assert line.queue.look("a") == (False, b"!")
    assert line.take(2.0) == [("a", b"1")]
    line.queue.saved()
    assert line.take(2.0) == [("a", b"!")]


def test_only_bytes_that_could_be_sent_make_a_batch_due() -> None:
    line = Line(merge=lambda *_: None)
    line.put("a", bytes(60))
    line.put("a", bytes(60))
    assert line.queue.due(0.0) == 2.0
    line.put("b", bytes(40))
    assert line.queue.due(0.0) == NOW


def test_what_is_replaced_behind_another_does_not_change_what_could_be_sent() -> None:
    line = Line(merge=join)
    line.put("a", bytes(10), sealed=True)
    line.put("a", bytes(60))
    line.put("a", bytes(20))
    line.put("b", bytes(89))
    assert line.queue.due(0.0) == 2.0
    line.put("c", bytes(1))
    assert line.queue.due(0.0) == NOW
    assert line.queue.bytes == 180


def test_a_key_whose_merge_fails_is_bounded_too() -> None:
    line = Line(merge=join)
    for _ in range(1000):
        line.put("a", b"!")
    assert not line.queue.admit("a")
    assert line.queue.admit("b")
    line.take(2.0)
    line.queue.saved()
    assert line.queue.admit("a")


def test_a_failed_batch_is_halved_at_once_down_to_one_write() -> None:
    line = Line(max_batch=5)
    for key in "abcde":
        line.put(key)
    assert line.keys(0.0) == ["a", "b", "c", "d", "e"]
    line.fail(2.0)
    assert line.keys(2.0) == ["a", "b"]
    line.fail(2.0)
    assert line.keys(2.0) == ["a"]
    line.fail(2.0)
    assert line.queue.suspects == 1
    assert line.keys(2.0) == ["b"], "the others go on"
    line.queue.saved()
    assert line.keys(2.0) == ["c", "d"], "and are twice as many after each success"
    line.queue.saved()
    assert line.keys(2.0) == ["e"]
    line.queue.saved()
    assert line.queue.due(2.0) == 3.0
    assert line.keys(3.0) == ["a"]


def test_the_limit_grows_back_to_the_whole_batch_and_no_further() -> None:
    line = Line(max_batch=3)
    line.put("a")
    line.take(2.0)
    line.fail(2.0)
    line.take(3.0)
    line.queue.saved()
    for count in (2, 3, 3):
        for key in "abcd":
            line.put(key, now=9.0)
        assert len(line.take(20.0)) == count
        line.queue.saved()


def test_a_source_that_takes_nothing_is_asked_ever_more_rarely() -> None:
    line = Line(max_batch=1)
    for key in "abcdefgh":
        line.put(key)
    moments = []
    now = 0.0
    for _ in range(7):
        now = max(now, line.queue.due(now))
        moments.append(now)
        line.take(now)
        line.fail(now)
    assert moments == [0.0, 0.0, 1.0, 3.0, 7.0, 15.0, 23.0]


def test_one_success_ends_the_pause() -> None:
    line = Line(max_batch=1)
    for key in "abcd":
        line.put(key)
    for _ in range(2):
        line.take(0.0)
        line.fail(0.0)
    assert line.queue.due(0.0) == 1.0
    line.take(1.0)  # a suspect, whose time has come
    line.queue.saved()
    assert line.queue.due(1.0) <= 1.0


def poison(line: Line, tries: int, *, others: bool = True) -> float:
    """Fail key "bad" alone so many times; with others the source takes something in between."""
    line.put("bad")
    now = 2.0
    for attempt in range(tries):
        assert line.keys(now) == ["bad"]
        done = line.fail(now)
        assert done.parked == []
        if others:
            line.put(f"good-{attempt}", now=now - 2.0)
            assert line.keys(now) == [f"good-{attempt}"]
            line.queue.saved()
        now = line.queue.due(now)
    return now


def test_a_write_that_fails_alone_is_parked() -> None:
    line = Line()
    now = poison(line, 2)
    line.keys(now)
    done = line.queue.failed(now, 0.5, "OSError: no")
    assert [entry.key for entry in done.parked] == ["bad"]
    assert [(entry.key, cause) for entry, cause in line.queue.parked()] == [("bad", "OSError: no")]
    assert line.queue.due(now) == NEVER
    assert line.queue.look("bad") == (False, b"v"), "reads see it"
    assert line.queue.keys == 1


def test_an_outage_counts_as_one_failure() -> None:
    line = Line()
    now = poison(line, 20, others=False)
    line.put("good", now=now - 2.0)
    assert line.keys(now) == ["good"], "which has its turn, though a suspect is due"
    line.queue.saved()
    for parks in (False, True):
        now = max(now, line.queue.due(now))
        assert line.keys(now) == ["bad"]
        assert bool(line.fail(now).parked) is parks


def test_parking_after_one_failure_still_needs_another_write_to_be_taken() -> None:
    line = Line(park_after=1)
    line.put("bad")
    line.keys(2.0)
    assert line.fail(2.0).parked == []
    line.keys(3.0)
    assert line.fail(3.0).parked == []
    line.put("good", now=3.0)
    assert line.keys(5.0) == ["good"]
    line.queue.saved()
    assert line.keys(5.0) == ["bad"]
    assert line.fail(5.0).parked != []


def test_a_suspect_and_the_others_take_turns() -> None:
    line = Line(max_batch=1)
    for key in "abc":
        line.put(key)
    line.take(0.0)
    line.fail(0.0)
    line.put("d", now=1.0)
    assert line.keys(1.0) == ["a"]
    line.fail(1.0)
    assert line.keys(3.0) == ["b"]
    line.queue.saved()
    assert line.keys(3.0) == ["a"]


def test_a_suspects_turn_makes_no_other_write_early() -> None:
    line = Line()
    line.put("a")
    line.take(2.0)
    line.fail(2.0)
    line.take(3.0)
    line.fail(3.0)
    line.put("b", now=4.5)
    assert line.queue.due(4.5) == 5.0
    assert line.keys(5.0) == ["a"]


def parked(**given: Any) -> tuple[Line, float]:
    line = Line(**given)
    now = poison(line, 2)
    line.keys(now)
    assert line.fail(now).parked != []
    return line, now


def test_retry_parked_tries_again_at_once() -> None:
    line, now = parked()
    assert line.queue.retry_parked(now) == 1
    assert line.queue.retry_parked(now) == 0
    assert line.queue.parked() == []
    assert line.keys(now) == ["bad"]
    assert line.queue.saved().rows == [1]


def test_a_new_write_takes_a_parked_ones_place() -> None:
    line, now = parked()
    assert line.put("bad", b"new", now=now) == [1]
    assert line.queue.parked() == []
    assert line.queue.due(now) == now + 2.0
    assert line.take(now + 2.0) == [("bad", b"new")]
    assert line.fail(now).parked == [], "and has as many tries as any"


def test_who_is_tried_again_has_as_many_tries_as_before() -> None:
    line, now = parked(park_after=3)
    line.queue.retry_parked(now)
    for turn in range(3):
        assert line.keys(now) == ["bad"]
        assert bool(line.fail(now).parked) is (turn == 2)
        line.put("other", now=now - 2.0)
        now = max(now, line.queue.due(now))
        assert line.keys(now) == ["other"]
        line.queue.saved()
        now = now if turn == 2 else max(now, line.queue.due(now))


def test_a_success_forgets_the_failures_before_it() -> None:
    line = Line(park_after=2)
    line.put("a", b"1")
    line.keys(2.0)
    line.fail(2.0)
    line.keys(3.0)
    line.put("a", b"2", now=3.0)
    line.queue.saved()
    line.put("b", now=3.0)
    assert line.keys(5.0) == ["a", "b"]
    line.fail(5.0)
    assert line.keys(5.0) == ["a"]
    assert line.fail(5.0).parked == []
    assert line.keys(5.0) == ["b"]
    line.queue.saved()
    assert line.queue.due(5.0) == 6.0, "and the first wait is the shortest"


def test_what_is_to_be_merged_waits_behind_a_parked_one() -> None:
    line, now = parked(merge=join)
    line.put("bad", b"1", now=now)
    line.put("bad", b"2", now=now)
    assert line.queue.due(now) == NEVER
    assert line.queue.entries == 2
    line.queue.retry_parked(now)
    assert line.take(now) == [("bad", b"v")]
    line.queue.saved()
    assert line.take(now + 2.0) == [("bad", b"12")]


def test_what_cannot_even_be_sent_is_parked_at_once() -> None:
    line = Line()
    line.put("a")
    line.put("b")
    entries = line.queue.take(2.0)
    done = line.queue.reject(entries[0], "Undecodable")
    assert [entry.key for entry in done.parked] == ["a"]
    assert line.queue.away == 1
    assert line.queue.saved().rows == [2]
    assert line.queue.parked()[0][1] == "Undecodable"


def test_what_was_not_sent_stays_next_in_order() -> None:
    line = Line()
    for key in "abc":
        line.put(key)
    line.take(2.0)
    line.put("d", now=2.0)
    line.queue.returned(5.0)
    assert line.queue.due(2.0) == 5.0
    assert line.keys(5.0) == ["a", "b", "c", "d"]


def test_a_suspect_that_was_not_sent_stays_one() -> None:
    line = Line()
    line.put("a")
    line.take(2.0)
    line.fail(2.0)
    line.take(3.0)
    line.queue.returned(NOW)
    assert line.queue.suspects == 1
    assert line.keys(3.0) == ["a"]


def test_the_bound_is_of_keys() -> None:
    line = Line(max_pending=2)
    line.put("a")
    assert line.queue.admit("b"), "one on its way"
    assert not line.queue.admit("c")
    assert line.queue.admit("a")
    assert line.queue.admit("b")
    assert line.queue.keys == 2


def test_who_waits_for_a_place_is_served_in_order() -> None:
    line = Line(max_pending=1)
    assert line.queue.admit("a")
    for waiter, key in (("first", "b"), ("second", "c"), ("third", "d")):
        assert not line.queue.admit(key)
        line.queue.wait(key, waiter)
    assert line.queue.waiting == 3
    assert line.queue.leave("second")
    assert not line.queue.leave("second")
    assert line.queue.withdraw("a") == ["first"]
    assert not line.queue.leave("first"), "it has got the place"
    line.arrive("b", b"v", 0.0)
    line.take(2.0)
    assert line.queue.saved().wake == ["third"]
    assert line.queue.waiting == 0


def test_a_place_is_not_given_up_while_another_write_is_on_its_way() -> None:
    line = Line(max_pending=1)
    line.put("a")
    assert line.queue.admit("a")
    line.queue.wait("b", "waiter")
    line.take(2.0)
    assert line.queue.saved().wake == []
    line.arrive("a", b"v", 2.0)
    line.take(4.0)
    assert line.queue.saved().wake == ["waiter"]


def test_what_goes_through_goes_first_and_at_once() -> None:
    line = Line(max_pending=1)
    line.put("a")
    line.through("b", "waiter")
    assert line.queue.keys == 2
    assert line.queue.look("b") is None, "no one has been told that it is safe"
    assert line.keys(0.0) == ["b", "a"]
    assert line.queue.saved().through == ["waiter"]


def test_what_goes_through_stands_behind_its_keys_own_writes() -> None:
    line = Line()
    line.put("a", b"1")
    line.through("a", "waiter")
    line.put("a", b"2")
    assert line.take(0.0) == [("a", b"1")]
    assert line.queue.saved().through == []
    assert line.take(0.0) == [("a", b"t")]
    assert line.queue.saved().through == ["waiter"]
    assert line.take(0.0) == [("a", b"2")]


def test_what_goes_through_fails_when_it_fails_alone() -> None:
    line = Line()
    line.put("a")
    line.through("b", "waiter")
    assert line.keys(0.0) == ["b", "a"]
    assert line.fail(0.0).through == []
    assert line.keys(0.0) == ["b"]
    done = line.fail(0.0)
    assert done.through == ["waiter"]
    assert done.rows == []
    assert line.queue.look("b") is None
    assert line.queue.keys == 1


def test_a_through_write_is_not_dropped_for_one_behind_it() -> None:
    line = Line()
    line.through("a", "waiter")
    line.take(0.0)
    line.put("a", b"2")
    done = line.fail(0.0)
    assert done.through == ["waiter"]
    assert line.take(2.0) == [("a", b"2")]


def test_parking_ends_the_wait_of_who_goes_through_behind_it() -> None:
    line = Line()
    now = poison(line, 2)
    line.through("bad", "waiter", now=now)
    line.keys(now)
    done = line.fail(now)
    assert done.through == ["waiter"]
    assert [entry.key for entry in done.parked] == ["bad"]
    line.through("bad", "other", now=now)
    assert line.queue.parked() == [], "and a later one has it tried again"
    assert line.keys(now) == ["bad"]


def test_one_that_goes_through_and_cannot_be_sent() -> None:
    line = Line()
    line.through("a", "waiter")
    (entry,) = line.queue.take(0.0)
    assert line.queue.reject(entry, "Undecodable").through == ["waiter"]
    assert line.queue.parked() == []
    assert line.queue.keys == 0


def test_a_flush_makes_all_due_and_ends_with_what_had_come() -> None:
    line = Line(max_batch=1)
    assert line.queue.flush("nothing to do")
    line.put("a")
    line.put("b", now=0.5)
    assert not line.queue.flush("waiter")
    line.put("c", now=0.5)
    assert line.keys(0.5) == ["a"]
    assert line.queue.saved().wake == []
    assert line.keys(0.5) == ["b"]
    assert line.queue.saved().wake == ["waiter"]


def test_a_flush_covers_a_write_that_is_replaced_meanwhile() -> None:
    line = Line()
    line.put("a")
    assert not line.queue.flush("waiter")
    line.put("a", b"2")
    line.put("b")
    line.take(0.0)
    assert line.queue.saved().wake == ["waiter"]


def test_a_flush_covers_what_has_failed_and_is_overwritten() -> None:
    line = Line()
    line.put("a", b"1")
    line.take(2.0)
    assert not line.queue.flush("waiter")
    line.put("a", b"2", now=2.0)
    assert line.fail(2.0).wake == []
    line.take(3.0)
    assert line.queue.saved().wake == ["waiter"]


def test_a_flush_does_not_wait_for_what_is_parked() -> None:
    line = Line()
    now = poison(line, 2)
    assert not line.queue.flush("waiter")
    line.keys(now)
    assert line.fail(now).wake == ["waiter"]
    assert line.queue.flush("another"), "nothing else is left"
    line.queue.retry_parked(now)
    assert not line.queue.flush("a third")


def test_who_leaves_a_flush_hurries_no_one() -> None:
    line = Line()
    line.put("a")
    line.queue.flush("waiter")
    assert line.queue.due(0.0) == NOW
    assert line.queue.leave("waiter")
    assert line.queue.due(0.0) == 2.0


def test_everyone_is_told_at_the_end() -> None:
    line = Line(max_pending=1)
    line.put("a")
    line.queue.wait("b", "in line")
    line.queue.flush("flush")
    line.through("c", "through")
    assert sorted(line.queue.everyone()) == ["flush", "in line", "through"]
    assert line.queue.waiting == 0


@pytest.mark.parametrize("back", [0.001, 1_000_000.0])
def test_a_clock_that_goes_back_holds_nothing_up(back: float) -> None:
    line = Line()
    line.put("a", now=0.0)
    assert line.queue.due(0.0 - back) == NOW
    line.take(-back)
    line.fail(0.0)  # as if it had jumped ahead again
    assert line.queue.due(-1_000_000.0) == NOW
    assert line.queue.suspects == 1
    assert line.keys(-1_000_000.0) == ["a"]


def test_a_clock_that_jumps_ahead_only_makes_things_due() -> None:
    line = Line()
    line.put("a")
    line.put("b", now=1e9)
    assert line.keys(1e9) == ["a", "b"]


def test_a_pause_of_a_clock_that_has_gone_back_is_over() -> None:
    line = Line(max_batch=1)
    line.put("a")
    line.put("b")
    line.take(0.0)
    line.queue.returned(8.0)
    assert line.queue.due(0.0) == 8.0
    assert line.queue.due(-0.001) == NOW


def test_the_age_of_the_oldest() -> None:
    line = Line(max_batch=2)
    assert line.queue.oldest(5.0) == 0.0
    line.put("a", now=1.0)
    line.put("b", now=2.0)
    line.put("c", now=4.0)
    assert line.queue.oldest(5.0) == 4.0
    line.take(5.0)
    assert line.queue.oldest(6.0) == 5.0
    line.queue.saved()
    assert line.queue.oldest(6.0) == 2.0
    line.take(6.0)
    line.fail(6.0)
    assert line.queue.oldest(7.0) == 3.0


def test_flush_marks_are_forgotten() -> None:
    marks = FlushMarks[str]()
    assert marks.wait("no one")
    assert not marks
    marks.came(marks.era)
    assert not marks.wait("first")
    assert marks.era == 1
    marks.came(marks.era)
    marks.came(marks.era)
    assert not marks.wait("second")
    assert marks.done() == []
    marks.went(0)
    assert marks.done() == ["first"]
    marks.went(1)
    assert marks.done() == []
    marks.went(1)
    assert marks.done() == ["second"]
    assert not marks
    assert not marks.leave("second")
