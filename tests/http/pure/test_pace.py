from __future__ import annotations

import pytest

from escala.http.limits import Limits
from escala.http.pure.pace import Pace, Phase, Verdict

LIMITS = Limits(header_time=10, body_window=10, body_rate=100, keepalive=75, write_stall=30)


def judge(
    pace: Pace,
    now: float,
    phase: Phase = Phase.BUSY,
    request: int = 1,
    *,
    unsent: int = 0,
    received: int | None = None,
) -> Verdict:
    return pace.judge(now, phase, request, unsent=unsent, received=received)


def test_a_newcomer_that_says_nothing_is_closed_after_the_header_time() -> None:
    pace = Pace(LIMITS, 100.0)
    assert judge(pace, 110.0, Phase.FRESH, 0) is Verdict.FINE
    assert judge(pace, 110.5, Phase.FRESH, 0) is Verdict.CLOSE


@pytest.mark.parametrize(
    ("phase", "seconds", "verdict"),
    [
        (Phase.HEAD, 10, Verdict.SLOW_HEAD),
        (Phase.IDLE, 75, Verdict.CLOSE),
        (Phase.LINGER, 2, Verdict.CUT),
        (Phase.BUSY, 1e9, Verdict.FINE),
    ],
)
def test_each_phase_has_its_time(phase: Phase, seconds: float, verdict: Verdict) -> None:
    pace = Pace(LIMITS, 0.0)
    assert judge(pace, 50.0, phase) is Verdict.FINE
    assert judge(pace, 50.0 + seconds, phase) is Verdict.FINE
    assert judge(pace, 50.5 + seconds, phase) is verdict


def test_a_phase_of_another_request_begins_anew() -> None:
    pace = Pace(LIMITS, 0.0)
    for number in range(1, 20):
        assert judge(pace, number * 9.0, Phase.HEAD, number) is Verdict.FINE
    assert judge(pace, 19 * 9.0 + 10.5, Phase.HEAD, 19) is Verdict.SLOW_HEAD


@pytest.mark.parametrize(("received", "verdict"), [(999, Verdict.SLOW_BODY), (1000, Verdict.FINE)])
def test_a_body_must_bring_its_rate_in_every_window(received: int, verdict: Verdict) -> None:
    pace = Pace(LIMITS, 0.0)
    assert judge(pace, 100.0, received=0) is Verdict.FINE
    assert judge(pace, 109.5, received=0) is Verdict.FINE
    assert judge(pace, 110.0, received=received) is verdict


def test_each_window_is_judged_by_itself() -> None:
    pace = Pace(LIMITS, 0.0)
    judge(pace, 0.0, received=0)
    assert judge(pace, 10.0, received=1_000_000) is Verdict.FINE
    assert judge(pace, 19.5, received=1_000_000) is Verdict.FINE
    assert judge(pace, 20.0, received=1_000_999) is Verdict.SLOW_BODY


def test_the_body_of_another_request_is_another_body() -> None:
    pace = Pace(LIMITS, 0.0)
    judge(pace, 0.0, request=1, received=5000)
    assert judge(pace, 9.0, request=2, received=10) is Verdict.FINE
    assert judge(pace, 18.5, request=2, received=10) is Verdict.FINE
    assert judge(pace, 19.0, request=2, received=10) is Verdict.SLOW_BODY


def test_what_we_did_not_read_is_not_the_clients_fault() -> None:
    pace = Pace(LIMITS, 0.0)
    judge(pace, 0.0, received=500)
    assert judge(pace, 60.0, received=None) is Verdict.FINE
    assert judge(pace, 69.5, received=500) is Verdict.FINE
    assert judge(pace, 70.0, received=1499) is Verdict.FINE, "from nothing at 60 s, as far as seen"
    assert judge(pace, 80.0, received=2498) is Verdict.SLOW_BODY


def test_an_answer_must_be_taken_but_may_be_taken_slowly() -> None:
    pace = Pace(LIMITS, 0.0)
    assert judge(pace, 1.0, unsent=500) is Verdict.FINE
    assert judge(pace, 31.0, unsent=500) is Verdict.FINE
    assert judge(pace, 31.25, unsent=500) is Verdict.CUT
    assert judge(pace, 31.5, unsent=499) is Verdict.FINE
    assert judge(pace, 61.5, unsent=499) is Verdict.FINE
    assert judge(pace, 61.75, unsent=499) is Verdict.CUT
    assert judge(pace, 62.0, unsent=0) is Verdict.FINE
    assert judge(pace, 200.0, unsent=0) is Verdict.FINE
    assert judge(pace, 200.0, unsent=1) is Verdict.FINE


def test_an_answer_may_pause_but_not_for_ever() -> None:
    pace = Pace(Limits(read_stall=60), 0.0)
    assert not pace.stalled(100.0, 5)
    assert not pace.stalled(160.0, 5)
    assert pace.stalled(160.5, 5)
    assert not pace.stalled(161.0, 6)
    assert not pace.stalled(221.0, 6)
