from __future__ import annotations

import pytest

from escala.http.limits import Limits
from escala.http.pure.pace import Pace, Verdict

LIMITS = Limits(header_time=10, body_window=10, body_rate=100, keepalive=75, write_stall=30)


def judge(pace: Pace, now: float, unsent: int = 0, received: int | None = None) -> Verdict:
    return pace.judge(now, unsent=unsent, received=received)


def test_a_newcomer_that_says_nothing_is_closed_after_the_header_time() -> None:
    pace = Pace(LIMITS, 100.0)
    assert judge(pace, 110.0) is Verdict.FINE
    assert judge(pace, 110.1) is Verdict.CLOSE


def test_a_header_counts_from_its_first_byte() -> None:
    pace = Pace(LIMITS, 100.0)
    pace.head(105.0)
    assert judge(pace, 115.0) is Verdict.FINE
    assert judge(pace, 115.1) is Verdict.SLOW_HEAD


def test_work_takes_as_long_as_it_takes_and_idling_does_not() -> None:
    pace = Pace(LIMITS, 0.0)
    pace.head(1.0)
    pace.body(2.0)
    assert judge(pace, 1e6) is Verdict.FINE
    pace.head(2.0)
    pace.work()
    assert judge(pace, 1e6) is Verdict.FINE
    pace.idle(1e6)
    assert judge(pace, 1e6 + 75) is Verdict.FINE
    assert judge(pace, 1e6 + 75.1) is Verdict.CLOSE


def test_lingering_ends_with_a_cut() -> None:
    pace = Pace(LIMITS, 0.0)
    pace.linger(50.0)
    assert judge(pace, 52.0) is Verdict.FINE
    assert judge(pace, 52.1) is Verdict.CUT


@pytest.mark.parametrize(("received", "verdict"), [(999, Verdict.SLOW_BODY), (1000, Verdict.FINE)])
def test_a_body_must_bring_its_rate_in_every_window(received: int, verdict: Verdict) -> None:
    pace = Pace(LIMITS, 0.0)
    pace.body(100.0)
    assert judge(pace, 109.9, received=0) is Verdict.FINE
    assert judge(pace, 110.0, received=received) is verdict


def test_each_window_is_judged_by_itself() -> None:
    pace = Pace(LIMITS, 0.0)
    pace.body(0.0)
    assert judge(pace, 10.0, received=1_000_000) is Verdict.FINE
    assert judge(pace, 19.9, received=1_000_000) is Verdict.FINE
    assert judge(pace, 20.0, received=1_000_999) is Verdict.SLOW_BODY


def test_what_we_did_not_read_is_not_the_clients_fault() -> None:
    pace = Pace(LIMITS, 0.0)
    pace.body(0.0)
    assert judge(pace, 60.0, received=None) is Verdict.FINE
    pace.paused(60.0, 500)
    assert judge(pace, 69.9, received=500) is Verdict.FINE
    assert judge(pace, 70.0, received=1499) is Verdict.SLOW_BODY


def test_an_answer_must_be_taken_but_may_be_taken_slowly() -> None:
    pace = Pace(LIMITS, 0.0)
    pace.work()
    assert judge(pace, 1.0, unsent=500) is Verdict.FINE
    assert judge(pace, 31.0, unsent=500) is Verdict.FINE
    assert judge(pace, 31.25, unsent=500) is Verdict.CUT
    assert judge(pace, 31.5, unsent=499) is Verdict.FINE
    assert judge(pace, 61.5, unsent=499) is Verdict.FINE
    assert judge(pace, 61.75, unsent=499) is Verdict.CUT
    assert judge(pace, 62.0, unsent=0) is Verdict.FINE
    assert judge(pace, 200.0, unsent=0) is Verdict.FINE
    assert judge(pace, 200.0, unsent=1) is Verdict.FINE
