"""What is sent to Redis, and what its answers mean."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from escala import FixedWindow, LeakyBucket, SlidingWindowLog, TokenBucket
from escala.errors import ConfigError
from escala.limiting import Decision
from escala.limiting.pure.redis_plan import RedisPlan


def of(limiter: Any) -> RedisPlan:
    return RedisPlan(limiter.plan)


@pytest.mark.parametrize("limit", ["1/d", "3/s", "10/min", "1000/h", "4000000/s", "7/30s"])
def test_tokens_are_parts_that_remain_exact(limit: str) -> None:
    bucket = TokenBucket(limit)
    speed, burst, token = map(float, of(bucket).numbers)
    rate, most = bucket.plan.limits[0].rate, bucket.plan.limits[0].burst
    assert math.log2(token).is_integer()
    assert token >= 1
    assert speed == rate * token / 1_000_000
    assert burst == most * token
    until_2059 = 2.0**30
    assert until_2059 * rate * token + burst <= 2.0**52
    assert 2 * (until_2059 * rate * token + burst) > 2.0**52, "as many parts as can be"


def test_a_great_burst_and_an_absurd_rate() -> None:
    speed, burst, token = map(float, of(TokenBucket(1e-290, burst=1_000_000_000)).numbers)
    assert (token, burst) == (2.0**22, 1e9 * 2.0**22)
    assert 0 < speed < 1e-280
    with pytest.raises(
        ConfigError, match=r"^api: store: expected a rate of at most 4194304/s, .* '"
    ):
        of(TokenBucket(4_194_305, burst=1, name="api"))
    with pytest.raises(ConfigError, match="rate of at most"):
        of(TokenBucket(4_194_304, burst=1, name="api"))


def test_windows_are_whole_microseconds() -> None:
    assert of(FixedWindow("5/s; 7/300ms")).numbers == (1_000_000, 5, 0, 300_000, 7, 0)
    assert of(FixedWindow("5/1us")).numbers == (1, 5, 0)
    assert of(FixedWindow("5/1.5us")).numbers == (2, 5, 0), "never shorter than it is"
    assert of(FixedWindow("5/100d")).numbers == (8_640_000_000_000, 5, 0)


def test_only_a_bucket_that_is_not_strict_reserves() -> None:
    assert of(TokenBucket("5/s")).reserves
    assert of(LeakyBucket("5/s")).reserves
    assert not of(TokenBucket("5/s", strict=True)).reserves
    assert not of(FixedWindow("5/s")).reserves
    assert not of(SlidingWindowLog("5/s")).reserves


def test_a_key_has_a_short_name_of_its_own() -> None:
    plan = of(TokenBucket("5/s", name="api"))
    for key in ("", "ann", "\ud800", "x" * 10_000):
        (name,) = plan.names(key)
        assert re.fullmatch(r"esc:[A-Za-z0-9+/]{10}", name)
        assert (name,) == of(TokenBucket("5/s", name="api")).names(key)
    others = [
        TokenBucket("5/s", name="other"),
        TokenBucket("5/s", name="api", burst=4),
        TokenBucket("6/s", name="api", burst=5),
        TokenBucket("5/s; 9/h", name="api"),
        LeakyBucket("5/s", name="api"),
        FixedWindow("5/s", name="api"),
        FixedWindow("5/2s", name="api"),
    ]
    names = [of(other).names("ann")[0] for other in others]
    names += [plan.names("ann")[0], plan.names("bob")[0]]
    assert len(set(names)) == len(names)


def test_the_names_are_the_same_in_every_process_and_version() -> None:
    (bucket,) = of(TokenBucket("5/s", name="api")).names("ann")
    assert bucket == "esc:MPrsLyN76x"
    logs = list(of(SlidingWindowLog("5/s; 9/h", name="api")).names("ann"))
    assert logs == ["esc:{AGnbLv/X5G}0", "esc:{AGnbLv/X5G}1"]


def test_a_limiter_may_have_a_name_that_is_no_text() -> None:
    odd, other = of(TokenBucket("5/s", name="\ud800")), of(TokenBucket("5/s", name="\ud801"))
    assert odd.names("ann") != other.names("ann")


def test_a_log_has_a_name_for_each_limit_in_one_slot() -> None:
    names = of(SlidingWindowLog("5/s; 9/h")).names("ann")
    assert [re.sub(r"\{.{10}\}", "{}", name) for name in names] == ["esc:{}0", "esc:{}1"]
    assert len({name[:-1] for name in names}) == 1


def test_an_answer_about_one_limit() -> None:
    plan = of(TokenBucket("5/s"))
    assert plan.decision([1, 0, 0, 3, 400_000]) == (
        Decision(allowed=True, limit=5, remaining=3, reset_after=0.4, retry_after=0.0),
        0.0,
    )
    assert plan.decision([1, 250_000, 0, 0, 1_000_000])[1] == 0.25
    assert plan.decision([0, 0, 200_000, 0, 1_000_000]) == (
        Decision(allowed=False, limit=5, remaining=0, reset_after=1.0, retry_after=0.2),
        0.0,
    )


def test_a_look_is_granted_when_it_need_not_wait() -> None:
    one, two = of(TokenBucket("5/s")), of(TokenBucket("5/s; 9/h"))
    assert one.decision([0, 0, 0, 5, 0], look=True)[0].allowed
    assert not one.decision([0, 0, 1, 0, 9], look=True)[0].allowed
    assert not one.decision([0, 0, 0, 5, 0])[0].allowed
    assert two.decision([0, 0, 0, 5, 0, 0, 9, 0], look=True)[0].allowed
    assert not two.decision([0, 0, 0, 5, 0, 1, 0, 5], look=True)[0].allowed


def test_of_several_limits_the_one_that_decides() -> None:
    plan = of(TokenBucket("5/s; 9/h"))
    granted, sleep = plan.decision([1, 0, 0, 4, 200_000, 0, 3, 400_000])
    assert (granted.decided_by, granted.remaining, granted.limit) == (1, 3, 9)
    assert granted.each == ((4, 0.2), (3, 0.4))
    assert granted.reset_after == 0.4
    assert (granted.retry_after, sleep) == (0.0, 0.0)
    assert plan.decision([1, 0, 0, 3, 200_000, 0, 3, 400_000])[0].decided_by == 1, "later back"
    assert plan.decision([1, 0, 0, 3, 500_000, 0, 3, 400_000])[0].decided_by == 0
    refused, _ = plan.decision([0, 0, 70, 0, 200_000, 60, 0, 400_000])
    assert (refused.decided_by, refused.limit) == (0, 5)
    assert refused.retry_after == 70e-6
    assert plan.decision([0, 0, 60, 0, 1, 60, 0, 1])[0].decided_by == 0, "the first of equals"
    assert plan.decision([1, 7, 0, 3, 1, 0, 3, 1])[1] == 7e-6


@pytest.mark.parametrize(
    "answer", [None, 1, [], [1, 0, 0, 3], [1, 0, 0, 3, 4, 5], [1, 0, 0, 3, None]]
)
def test_what_no_script_of_ours_says(answer: Any) -> None:
    with pytest.raises(ValueError, match=r"^as many limits were not asked about$"):
        of(TokenBucket("5/s")).decision([1, 0, 0, 3])
    with pytest.raises((TypeError, ValueError)):
        of(TokenBucket("5/s")).decision(answer)
