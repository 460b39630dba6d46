from __future__ import annotations

import math

import pytest

from escala.http.pure.cache_control import CacheControl, parse_cache_control
from escala.http.pure.freshness import Windows
from escala.http.pure.reuse import Use, rescues, use, use_paused

ANSWER = Windows(born=100, fresh=160, stale=170, rescue=200, yields=True)
STRICT = Windows(born=100, fresh=160, stale=160, rescue=160, yields=False)
NEVER = Windows(born=100, fresh=-math.inf, stale=-math.inf, rescue=-math.inf, yields=False)
PLAIN = CacheControl()


@pytest.mark.parametrize(
    ("control", "now", "expected"),
    [
        (b"", 100, Use.FRESH),
        (b"", 159.9, Use.FRESH),
        (b"", 160, Use.STALE),  # lifetime must be greater than age
        (b"", 169.9, Use.STALE),
        (b"", 170, Use.NONE),
        (b"no-cache", 100, Use.NONE),
        (b"no-cache, max-stale", 165, Use.NONE),
        (b"max-age=30", 130, Use.FRESH),
        (b"max-age=30", 130.1, Use.NONE),
        (b"max-age=30", 165, Use.NONE),
        (b"max-age=90", 165, Use.STALE),
        (b"max-age=30, max-stale=100", 165, Use.NONE),
        (b"min-fresh=20", 140, Use.FRESH),
        (b"min-fresh=20", 140.1, Use.NONE),
        (b"min-fresh=0", 159, Use.FRESH),
        (b"min-fresh=0", 165, Use.NONE),
        (b"max-stale=5", 164, Use.ACCEPTED),
        (b"max-stale=5", 165, Use.ACCEPTED),
        (b"max-stale=5", 166, Use.STALE),
        (b"max-stale=15", 176, Use.NONE),
        (b"max-stale", 10**9, Use.ACCEPTED),
        (b"max-stale=x", 161, Use.STALE),
    ],
)
def test_the_clients_wishes(control: bytes, now: float, expected: Use) -> None:
    assert use(ANSWER, parse_cache_control(control), now=now) is expected


@pytest.mark.parametrize("control", [b"", b"max-stale", b"max-stale=100"])
def test_what_an_answer_forbids_no_client_can_allow(control: bytes) -> None:
    assert use(STRICT, parse_cache_control(control), now=160) is Use.NONE
    assert use(NEVER, parse_cache_control(control), now=100) is Use.NONE


@pytest.mark.parametrize(
    ("windows", "control", "now", "expected"),
    [
        (ANSWER, b"", 199, True),
        (ANSWER, b"", 200, False),
        (ANSWER, b"no-cache", 165, False),
        (ANSWER, b"stale-if-error=100", 259, True),
        (ANSWER, b"stale-if-error=100", 260, False),
        (STRICT, b"stale-if-error=100", 161, False),
        (STRICT, b"", 159, True),  # still fresh: a client's max-age made us ask
        (NEVER, b"stale-if-error=100", 101, False),
    ],
)
def test_rescue(windows: Windows, control: bytes, now: float, expected: bool) -> None:
    assert rescues(windows, parse_cache_control(control), now=now) is expected


def test_a_stale_window_longer_than_the_rescue_window_rescues_too() -> None:
    longer = Windows(born=100, fresh=160, stale=300, rescue=160, yields=True)
    assert rescues(longer, PLAIN, now=299)


def test_while_asking_pauses_stale_will_do_if_it_may() -> None:
    for now, paused in (
        (150, Use.FRESH),
        (165, Use.ACCEPTED),
        (190, Use.ACCEPTED),
        (200, Use.NONE),
    ):
        assert use_paused(ANSWER, PLAIN, now=now, pause=now + 1) is paused
        assert use_paused(ANSWER, PLAIN, now=now, pause=now) is use(ANSWER, PLAIN, now=now)
    assert use_paused(STRICT, PLAIN, now=161, pause=162) is Use.NONE
    no_cache = parse_cache_control(b"no-cache")
    assert use_paused(ANSWER, no_cache, now=165, pause=170) is Use.NONE
