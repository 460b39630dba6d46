from __future__ import annotations

import math

import pytest

from escala.databases.pure.hot_counts import HotCounts, Turned


def counts(
    *, share: float = 0.2, imbalance: float = 1.5, least: float = 10, capacity: int = 100
) -> HotCounts:
    return HotCounts(capacity=capacity, half_life=10, share=share, imbalance=imbalance, least=least)


def spread(hot: HotCounts, calls: int, now: float, *, shards: int = 4) -> list[Turned]:
    """Calls with a key each, evenly over shards."""
    return [
        turned
        for number in range(calls)
        for turned in hot.add(f"cold-{now}-{number}", f"s{number % shards}", now)
    ]


def test_even_calls_make_nothing_hot() -> None:
    hot = counts()
    assert spread(hot, 400, 0) == []
    assert hot.shard_shares() == dict.fromkeys(["s0", "s1", "s2", "s3"], 0.25)


def test_a_key_is_hot_from_its_share_on_and_says_so_once() -> None:
    hot = counts(imbalance=9)
    spread(hot, 80, 0)
    assert [hot.add("acme", "s1", 0) for _ in range(20)] == [[]] * 20  # 20 of 100: not above
    assert hot.add("acme", "s1", 0) == [Turned("acme", "s1", 21 / 101)]
    assert [hot.add("acme", "s1", 0) for _ in range(20)] == [[]] * 20
    assert dict(hot.shares(1)) == pytest.approx({"acme": 41 / 121})


def test_nothing_is_told_before_there_are_enough_calls() -> None:
    hot = counts(imbalance=9)
    assert [hot.add("acme", "s1", 0) for _ in range(9)] == [[]] * 9
    assert hot.add("acme", "s1", 0) == [Turned("acme", "s1", 1)]


def test_calls_count_half_after_a_half_life() -> None:
    hot = counts(imbalance=9, share=0.9)
    for _ in range(16):
        hot.add("old", "s0", 0)
    for _ in range(4):
        hot.add("new", "s1", 20)  # 16 then count as 4
    assert dict(hot.shares(2)) == {"old": 0.5, "new": 0.5}
    assert hot.shard_shares() == {"s0": 0.5, "s1": 0.5}


def test_a_key_cools_at_half_of_what_makes_hot() -> None:
    hot = counts(imbalance=99)
    assert len([hot.add("acme", "s0", 0) for _ in range(10)][-1]) == 1
    spread(hot, 70, 0)  # 12.5 % are still hot
    spread(hot, 1, 10)
    for _ in range(9):
        assert hot.add("acme", "s0", 10) == []
    spread(hot, 300, 20)  # a few per cent are not
    again = [hot.add("acme", "s0", 31) for _ in range(200)]
    (turned,) = [turned for each in again for turned in each]
    assert turned.key == "acme"
    assert turned.share == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(
    ("cold", "at", "again"),
    [(110, 2.5, True), (110, 2.49, False), (65, 2.5, False)],
    ids=["cool", "not-looked-at-yet", "warm"],
)
def test_a_key_is_looked_at_four_times_in_a_half_life(cold: int, at: float, again: bool) -> None:
    """Of 120 calls it has 8 %, less than half of what makes hot, and of 75 it has 13 %."""
    hot = counts(imbalance=99)
    for _ in range(10):
        hot.add("acme", "s0", 0)
    spread(hot, cold, 0)
    turned = [each for _ in range(300) for each in hot.add("acme", "s0", at)]
    assert [each.key for each in turned] == ["acme"] * again


@pytest.mark.parametrize(
    ("even", "again"), [(60, False), (240, True)], ids=["above-half-way", "below-half-way"]
)
def test_a_shard_cools_half_way_down_to_its_fair_share(even: int, again: bool) -> None:
    hot = counts(share=1)
    spread(hot, 75, 0, shards=3)
    first = [hot.add(f"k{number}", "s3", 0) for number in range(46)]
    assert first[:45] == [[]] * 45  # with 45 of 120 it has one and a half times its share
    assert first[45] == [Turned(None, "s3", 46 / 121)]
    spread(hot, even, 0)
    turned = [each for number in range(200) for each in hot.add(f"m{number}", "s3", 2.5)]
    assert [each.shard for each in turned] == ["s3"] * again


def test_calls_of_long_ago_are_not_enough_calls() -> None:
    hot = counts(imbalance=99)
    hot.add("acme", "s0", 0)
    assert [hot.add("acme", "s0", 10) for _ in range(9)] == [[]] * 9
    assert len(hot.add("acme", "s0", 10)) == 1  # ten of now, and half of one


def test_a_shard_is_hot_above_its_fair_share() -> None:
    hot = counts(share=1)
    spread(hot, 80, 0)
    before = [hot.add(f"k{number}", "s2", 0) for number in range(20)]
    assert before[:15] == [[]] * 15
    (turned,) = [turned for each in before for turned in each]
    assert (turned.key, turned.shard) == (None, "s2")
    assert turned.share == pytest.approx(0.375, abs=0.01)
    assert next(iter(hot.shard_shares())) == "s2"
    assert spread(hot, 400, 0) == []
    spread(hot, 400, 10)
    assert spread(hot, 10, 25, shards=1)[:1] == []  # it has to be hot again first
    again = [hot.add(f"m{number}", "s2", 25) for number in range(400)]
    assert [turned.shard for each in again for turned in each] == ["s2"]


def test_one_shard_alone_is_never_hot() -> None:
    hot = counts(share=1)
    assert spread(hot, 100, 0, shards=1) == []


def test_time_may_go_on_for_ever() -> None:
    hot = counts(imbalance=9, share=0.4)
    for year in range(30):
        for _ in range(20):
            hot.add(f"y{year}", "s0", year * 3e7)
    assert dict(hot.shares(1)) == pytest.approx({"y29": 1.0})
    for step in range(2000):
        for _ in range(3):
            hot.add("steady", "s0", 1e9 + step)
        hot.add(f"t{step}", "s1", 1e9 + step)
    shares = dict(hot.shares(100))
    assert shares["steady"] == pytest.approx(0.75, abs=0.01)
    assert all(math.isfinite(found) for found in shares.values())
    assert max(hot.keys.counts.values()) < 2.0**70


def test_the_weights_are_made_small_without_a_trace() -> None:
    """61 half-lives after the first call everything is scaled; the shares stay as they were."""
    hot = counts(imbalance=9, share=0.9)
    hot.add("first", "s0", 0)
    for at in (590, 600):
        for _ in range(8):
            hot.add("a", "s0", at)
        for _ in range(8):
            hot.add("b", "s1", at)
    before = dict(hot.shares(2)), hot.shard_shares()
    for key, shard in (("a", "s0"), ("b", "s1")):
        hot.add(key, shard, 601)
    assert dict(hot.shares(2)) == pytest.approx(before[0])
    assert hot.shard_shares() == pytest.approx(before[1])
    assert hot.keys.total < 100


def test_no_calls_have_no_shares() -> None:
    assert counts().shares(3) == []
    assert counts().shard_shares() == {}
