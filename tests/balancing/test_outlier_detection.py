"""Outlier detection, panic, slow start, zones and priorities, as an upstream puts them together."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escala.balancing import (
    HealthCheck,
    OutlierDetection,
    PanicChanged,
    Target,
    TargetEjected,
    Upstream,
)
from escala.balancing.outlier_detection import OutlierOptions
from escala.errors import ConfigError, NoHealthyBackend
from escala.kernel.events import Event, subscribe
from escala.kernel.problem import Caller
from escala.kernel.reader import Reader
from escala.testing import VirtualRuntime

BALANCERS = ["round_robin", "least_connections", "p2c"]


def run(scenario: Callable[[VirtualRuntime], Awaitable[None]]) -> list[Any]:
    """Run it in virtual time; the events it caused."""
    world, told = VirtualRuntime(), list[Event]()
    stop = subscribe(Event, told.append)

    async def main() -> None:
        await scenario(world)

    try:
        world.run(main())
    finally:
        stop()
        world.close()
    return told


def names(count: int) -> list[str]:
    return [f"10.0.0.{number}:80" for number in range(1, count + 1)]


def call(upstream: Upstream, bad: set[str], *, took: float = 0.1) -> Target:
    target = upstream.pick()
    upstream.release(target, ok=target.address not in bad, took=took)
    return target


async def traffic(
    world: VirtualRuntime, upstream: Upstream, count: int, bad: set[str] | None = None
) -> Counter[str]:
    """So many calls, a hundred a second."""
    seen = Counter[str]()
    for _ in range(count):
        seen[call(upstream, bad or set()).address] += 1
        await world.sleep(0.01)
    return seen


# -- ejection


@pytest.mark.parametrize("balance", BALANCERS)
def test_a_target_that_fails_is_left_out_and_comes_back(balance: str) -> None:
    async def scenario(world: VirtualRuntime) -> None:
        outliers = OutlierDetection(in_a_row=5, ejection="30s")
        upstream = Upstream("shop", names(4), balance=balance, outliers=outliers)
        victim = upstream.targets[1]
        await traffic(world, upstream, 400, {victim.address})
        assert victim.ejected
        assert (victim.failures, victim.ejections) == (5, 1)
        assert victim.healthy, "its health check, if any, found nothing"
        seen = await traffic(world, upstream, 2500)
        assert victim.address not in seen
        seen = await traffic(world, upstream, 1000)
        assert not victim.ejected
        assert seen[victim.address] > 50

    told = [event for event in run(scenario) if isinstance(event, TargetEjected)]
    assert [(event.name, event.target, event.seconds, event.reason) for event in told] == [
        ("shop", "10.0.0.2:80", 30.0, "5 calls in a row failed"),
        ("shop", "10.0.0.2:80", 0.0, "its time is over"),
    ]
    assert 30.0 <= told[1].at - told[0].at < 30.1


def test_a_block_feeds_it_with_outcomes_and_times() -> None:
    async def scenario(world: VirtualRuntime) -> None:
        outliers = OutlierDetection(None, deviations=None, slower=3.0, calls=5, interval="10s")
        upstream = Upstream("shop", names(3), outliers=outliers)
        slow = upstream.targets[2]
        for _ in range(200):
            with upstream.pick() as target:
                await world.sleep(0.2 if target is slow else 0.01)
        assert slow.ejected

    (told,) = (event for event in run(scenario) if isinstance(event, TargetEjected))
    assert told.reason == "its calls took 200 ms, the median is 10 ms"


def test_nested_blocks_time_their_own_targets() -> None:
    times: list[tuple[int, float | None]] = []

    class Listening(Upstream):
        def release(
            self, target: Target, *, ok: bool | None = True, took: float | None = None
        ) -> None:
            times.append((target.port, took))
            super().release(target, ok=ok, took=took)

    async def scenario(world: VirtualRuntime) -> None:
        upstream = Listening("shop", ["a:1", "a:2"])
        with upstream.pick():
            await world.sleep(1)
            with upstream.pick():
                await world.sleep(2)

        async def beside(seconds: float) -> None:
            with upstream.pick():
                await world.sleep(seconds)

        tasks = [world.spawn(beside(5)), world.spawn(beside(4))]
        for task in tasks:
            await task
        picked = upstream.pick()
        picked.__exit__(None, None, None)
        assert times == [(2, 2.0), (1, 3.0), (2, 4.0), (1, 5.0), (1, None)]

    run(scenario)


def test_what_no_one_can_say_counts_for_nothing() -> None:
    async def scenario(world: VirtualRuntime) -> None:
        upstream = Upstream("shop", names(3), outliers=OutlierDetection(in_a_row=2))
        for _ in range(100):
            upstream.release(upstream.pick(), ok=None)
        assert not any(target.ejected for target in upstream.targets)

    run(scenario)


def test_calls_in_flight_to_an_ejected_target_end_as_ever() -> None:
    async def scenario(world: VirtualRuntime) -> None:
        upstream = Upstream(
            "shop", names(3), balance="least_connections", outliers=OutlierDetection(in_a_row=1)
        )
        held = [upstream.pick() for _ in range(6)]
        for target in held:
            upstream.release(target, ok=target is not held[0])
        assert held[0].ejected
        assert [target.in_flight for target in upstream.targets] == [0, 0, 0]

    run(scenario)


@pytest.mark.parametrize("balance", BALANCERS)
def test_when_all_fail_most_of_them_stay(balance: str) -> None:
    async def scenario(world: VirtualRuntime) -> None:
        outliers = OutlierDetection(in_a_row=3, most="40%")
        upstream = Upstream("shop", names(5), balance=balance, outliers=outliers)
        await traffic(world, upstream, 1000, set(names(5)))
        assert sum(target.ejected for target in upstream.targets) == 2
        assert upstream.pick() is not None

    run(scenario)


def test_an_ejected_target_is_better_than_none() -> None:
    async def scenario(world: VirtualRuntime) -> None:
        upstream = Upstream(
            "shop", names(2), health=HealthCheck(), outliers=OutlierDetection(in_a_row=1)
        )
        first, second = upstream.targets
        for target in upstream.targets:
            upstream._observe(target, True)
        upstream.release(upstream.pick([second]), ok=False)
        assert first.ejected
        assert call(upstream, set()) is second
        for _ in range(2):
            upstream._observe(second, False)
        assert call(upstream, set()) is first

    run(scenario)


def test_in_an_hour_of_one_bad_target_it_gets_next_to_nothing() -> None:
    async def scenario(world: VirtualRuntime) -> None:
        upstream = Upstream("shop", names(4), outliers=OutlierDetection())
        bad = {names(4)[0]}
        for _ in range(7_200):
            call(upstream, bad)
            await world.sleep(0.5)
        victim = upstream.targets[0]
        # 30 + 60 + ... + 300 s, then always 300 s, with five failures each time.
        assert 15 <= victim.ejections <= 20
        assert victim.failures == 5 * victim.ejections

    run(scenario)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6), st.sampled_from([0.2, 0.5, 1.0]))
def test_never_more_than_the_limit_are_out(seed: int, count: int, most: float) -> None:
    async def scenario(world: VirtualRuntime) -> None:
        rng = random.Random(seed)
        outliers = OutlierDetection(in_a_row=2, ejection="1s", interval="1s", calls=5, most=most)
        upstream = Upstream("shop", names(count), balance="p2c", outliers=outliers, rng=rng)
        for _ in range(300):
            target = upstream.pick()
            assert not target.ejected
            upstream.release(target, ok=rng.random() < 0.4)
            out = sum(each.ejected for each in upstream.targets)
            assert out <= min(max(1, int(count * most)), count - 1)
            await world.sleep(rng.random() * 0.2)

    run(scenario)


# -- panic


def judged(panic: bool | float | str, healthy: str) -> Upstream:
    """An upstream whose targets are well (h) or not (u)."""
    upstream = Upstream("shop", names(len(healthy)), health=HealthCheck(fall=1), panic=panic)
    for target, state in zip(upstream.targets, healthy, strict=True):
        upstream._observe(target, state == "h")
    return upstream


def test_below_the_panic_threshold_all_are_picked() -> None:
    told: list[PanicChanged] = []
    stop = subscribe(PanicChanged, told.append)
    try:
        upstream = judged("50%", "hhhh")
        for target in upstream.targets[:2]:
            upstream._observe(target, False)
        assert not upstream.panicking, "half of them is not below half"
        assert {upstream.pick().port for _ in range(4)} == {80}
        assert len({upstream.pick() for _ in range(8)}) == 2
        upstream._observe(upstream.targets[2], False)
        assert (upstream.panicking, upstream.panics) == (True, 1)
        assert len({upstream.pick() for _ in range(8)}) == 4
        upstream._observe(upstream.targets[3], False)
        assert len({upstream.pick() for _ in range(8)}) == 4
        for target in upstream.targets[:2]:
            for _ in range(2):
                upstream._observe(target, True)
        assert (upstream.panicking, upstream.panics) == (False, 1)
        assert len({upstream.pick() for _ in range(8)}) == 2
    finally:
        stop()
    assert [(event.name, event.panicking, event.healthy, event.targets) for event in told] == [
        ("shop", True, 1, 4),
        ("shop", False, 2, 4),
    ]


@pytest.mark.parametrize(
    ("panic", "healthy", "picked"),
    [
        (False, "uuu", 0),
        (0, "uuu", 0),
        (True, "uuu", 3),
        (True, "huu", 1),
        ("true", "huu", 1),
        ("34%", "huu", 3),
        (0.33, "huu", 1),
        (1.0, "hhu", 3),
    ],
    ids=["never", "zero", "none-left", "one-left", "text", "below", "above", "always"],
)
def test_how_panic_may_be_set(panic: bool | float | str, healthy: str, picked: int) -> None:
    upstream = judged(panic, healthy)
    if not picked:
        with pytest.raises(NoHealthyBackend):
            upstream.pick()
    else:
        assert len({upstream.pick() for _ in range(9)}) == picked
    assert upstream.panicking == (picked == 3)


@pytest.mark.parametrize("panic", ["half", -0.1, 1.5, None, "150%", "yes"], ids=repr)
def test_a_threshold_is_a_share(panic: Any) -> None:
    with pytest.raises(ConfigError, match="upstream shop: panic: expected true, false or a share"):
        Upstream("shop", ["a:1"], panic=panic)


# -- slow start


def test_a_target_that_comes_back_gets_its_share_in_steps() -> None:
    async def scenario(world: VirtualRuntime) -> None:
        upstream = Upstream("shop", names(2), health=HealthCheck(), slow_start="10s")
        first, second = upstream.targets
        for target in upstream.targets:
            upstream._observe(target, True)
        seen = await traffic(world, upstream, 1000)
        assert seen[first.address] == seen[second.address] == 500, "all began together"
        for _ in range(2):
            upstream._observe(first, False)
        await traffic(world, upstream, 100)
        await world.sleep(20 - world.now())
        for _ in range(2):
            upstream._observe(first, True)
        shares = []
        for _ in range(12):
            seen = await traffic(world, upstream, 100)
            shares.append(seen[first.address])
        expected = [100 * tenth / (10 + tenth) for tenth in (*range(1, 11), 10, 10)]
        assert shares == pytest.approx(expected, abs=3)

    run(scenario)


def test_after_an_ejection_it_starts_slowly_too() -> None:
    async def scenario(world: VirtualRuntime) -> None:
        outliers = OutlierDetection(in_a_row=5, ejection="20s")
        upstream = Upstream("shop", names(2), outliers=outliers, slow_start="10s")
        first = upstream.targets[0]
        await traffic(world, upstream, 100, {first.address})
        assert first.ejected
        while first.ejected:
            await traffic(world, upstream, 10)
        seen = await traffic(world, upstream, 90)
        assert 5 <= seen[first.address] <= 20
        await traffic(world, upstream, 1000)
        seen = await traffic(world, upstream, 100)
        assert seen[first.address] == 50

    run(scenario)


def test_without_checks_the_first_targets_need_no_slow_start() -> None:
    async def scenario(world: VirtualRuntime) -> None:
        upstream = Upstream("shop", [Target("a:1", weight=3), "b:1"], slow_start="10s")
        seen = await traffic(world, upstream, 40)
        assert seen == {"a:1": 30, "b:1": 10}
        upstream.update([Target("a:1", weight=3), "b:1", Target("c:1", weight=4)])
        seen = await traffic(world, upstream, 80)
        assert seen["c:1"] == pytest.approx(80 * 4 / 44, abs=2), "a newcomer does"

    run(scenario)


# -- zones and priorities


def test_calls_stay_in_their_zone_and_spill_by_priority() -> None:
    targets = [
        *(Target(f"a{number}:1", zone="a") for number in range(2)),
        *(Target(f"b{number}:1", zone="b") for number in range(2)),
        *(Target(f"c{number}:1", zone="b", priority=1) for number in range(2)),
    ]
    upstream = Upstream("shop", targets, health=HealthCheck(fall=1), zone="a")
    for target in targets:
        upstream._observe(target, True)
    assert Counter(upstream.pick().host for _ in range(100)) == {"a0": 50, "a1": 50}
    upstream._observe(targets[0], False)
    # Three of four are left: a third more than a share of them is in b.
    seen = Counter(upstream.pick().host for _ in range(900))
    assert seen["a1"] == pytest.approx(600, abs=2)
    assert seen["b0"] == pytest.approx(150, abs=2)
    for target in targets[1:3]:
        upstream._observe(target, False)
    seen = Counter(upstream.pick().host for _ in range(1000))
    assert seen["b1"] == pytest.approx(350, abs=2)
    assert seen["c0"] == pytest.approx(325, abs=2)


def test_a_retry_leaves_its_zone_when_it_must() -> None:
    targets = [Target("a:1", zone="a"), Target("b:1", zone="b"), Target("c:1", priority=1)]
    upstream = Upstream("shop", targets, zone="a")
    first = upstream.pick()
    assert first is targets[0]
    assert upstream.pick([first]) is first, "no other group is in use while all are well"
    upstream = Upstream(
        "shop", [Target("a:1", zone="a"), *[Target(f"b:{n}", zone="b") for n in (1, 2)]], zone="a"
    )
    tried: list[Target] = []
    for _ in range(3):
        tried.append(upstream.pick(tried))
    assert len(set(tried)) == 3


# -- options


def test_options_agree_in_python_and_in_yaml() -> None:
    assert OutlierDetection().options == OutlierOptions()
    assert repr(OutlierDetection()) == "OutlierDetection()"
    read = Reader(Caller("stack")).read(OutlierOptions, 3)
    assert read == OutlierDetection(3).options
    told = OutlierDetection(None, slower=2.5, ejection="1m", most="10%")
    assert repr(told) == "OutlierDetection(in_a_row=None, slower=2.5, ejection='1m', most='10%')"
    assert eval(repr(told)).options == told.options  # noqa: S307  our own


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("in_a_row", 0, "an integer >= 1"),
        ("deviations", 0, "a number > 0"),
        ("slower", 1, "a number > 1"),
        ("interval", 0, "a duration above zero"),
        ("calls", 0, "an integer >= 1"),
        ("ejection", "soon", "a duration above zero"),
        ("longest", 0, "a duration above zero"),
        ("most", 0, "a share above 0"),
        ("most", 1.1, "a share above 0"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(field: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        OutlierDetection(**{field: value})
    assert f"OutlierDetection: {field}: expected {expected}" in str(refused.value)
