"""Health checks in virtual time: targets die, hang, flap, slow down and recover, for hours."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escala.balancing import HealthCheck, Target, TargetChanged, Upstream
from escala.errors import BackendError, BackendUnreachable, NoHealthyBackend
from escala.kernel.context import Request, current_request, serving
from escala.kernel.events import subscribe
from escala.testing import VirtualRuntime

INTERVAL, TIMEOUT = 2.0, 0.5


class Fleet:
    """Servers in virtual time, and a probe that keeps a record of every check."""

    def __init__(self, world: VirtualRuntime, count: int = 3) -> None:
        self.world = world
        self.names = [f"10.0.0.{number}:80" for number in range(1, count + 1)]
        self.takes = dict.fromkeys(self.names, 0.001)  # seconds to answer; inf: never
        self.well = dict.fromkeys(self.names, True)
        self.starts: defaultdict[str, list[float]] = defaultdict(list)
        self.running: Counter[str] = Counter()
        self.most = 0
        self.told: list[tuple[float, str, bool]] = []

    async def probe(self, target: Target) -> bool:
        name = target.address
        self.starts[name].append(self.world.now())
        self.running[name] += 1
        self.most = max(self.most, self.running[name])
        try:
            takes = self.takes[name]
            await asyncio.sleep(min(takes, 1e9))  # noqa: TID251  virtual here
            return self.well[name]
        finally:
            self.running[name] -= 1

    def connect(self, target: Target) -> None:
        if not self.well[target.address]:
            raise ConnectionRefusedError

    def upstream(
        self,
        probe: Callable[[Target], Awaitable[bool]] | None = None,
        *,
        fall: int = 2,
        rise: int = 2,
        panic: bool = False,
    ) -> Upstream:
        health = HealthCheck(
            interval=INTERVAL, timeout=TIMEOUT, fall=fall, rise=rise, probe=probe or self.probe
        )
        return Upstream("shop", self.names, health=health, panic=panic, rng=self.world.rng)

    def note(self, event: TargetChanged) -> None:
        self.told.append((event.at, event.target, event.healthy))


def run(
    scenario: Callable[[VirtualRuntime, Fleet], Awaitable[None]], *, seed: int = 0, count: int = 3
) -> Fleet:
    world = VirtualRuntime(seed)
    fleet = Fleet(world, count)

    async def main() -> None:
        await scenario(world, fleet)

    stop = subscribe(TargetChanged, fleet.note)
    try:
        world.run(main())
    finally:
        stop()
        world.close()
    return fleet


def states(upstream: Upstream) -> str:
    """One letter for each target: s(tarting), h(ealthy), u(nhealthy)."""
    return "".join(target.state.value[0] for target in upstream.targets)


@pytest.mark.parametrize("seed", range(5))
def test_every_target_is_checked_at_once(seed: int) -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        async with fleet.upstream() as upstream:
            assert states(upstream) == "sss"
            await world.sleep(0.001)
            await world.sleep(0)
            assert states(upstream) == "hhh"
            assert upstream.ready

    fleet = run(scenario, seed=seed)
    assert fleet.starts == {name: [0.0] for name in fleet.names}
    assert sorted(fleet.told) == [(0.001, name, True) for name in fleet.names]


@settings(max_examples=60)
@given(
    st.floats(0.01, 30.0),
    st.booleans(),
    st.integers(1, 4),
    st.integers(0, 1000),
)
def test_a_dead_target_is_out_in_time_and_not_before_its_checks_failed(
    dies_after: float, hangs: bool, fall: int, seed: int
) -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        async with fleet.upstream(fall=fall) as upstream:
            await world.sleep(dies_after)
            victim = upstream.targets[1]
            fleet.well[victim.address] = False
            if hangs:
                fleet.takes[victim.address] = math.inf
            await world.sleep(fall * (1.2 * INTERVAL + TIMEOUT) + 0.002)
            assert states(upstream) == "huh"
            assert {upstream.pick() for _ in range(9)} == {upstream.targets[0], upstream.targets[2]}

    fleet = run(scenario, seed=seed)
    ((fell_at, victim, _),) = [told for told in fleet.told if not told[2]]
    failed = [start for start in fleet.starts[victim] if dies_after - 0.002 <= start <= fell_at]
    assert fall <= len(failed) <= fall + 1  # the first may have been answered just in time


@settings(max_examples=30)
@given(st.floats(10.0, 30.0), st.integers(1, 4), st.integers(0, 1000))
def test_a_target_that_is_well_again_is_back_in_time(
    back_after: float, rise: int, seed: int
) -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        victim = fleet.names[0]
        fleet.takes[victim] = math.inf
        async with fleet.upstream(rise=rise) as upstream:
            await world.sleep(back_after)
            assert states(upstream) == "uhh"
            fleet.takes[victim] = 0.001
            await world.sleep(TIMEOUT + rise * (1.2 * INTERVAL + 0.001) + 0.001)
            assert states(upstream) == "hhh"

    fleet = run(scenario, seed=seed)
    changes = [(at, healthy) for at, name, healthy in fleet.told if name == fleet.names[0]]
    assert [healthy for _, healthy in changes] == [False, True]
    passed = [at for at in fleet.starts[fleet.names[0]] if back_after <= at <= changes[1][0]]
    assert len(passed) == rise


def test_a_flapping_check_takes_no_one_out_in_an_hour() -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        async def every_other(target: Target) -> bool:
            await fleet.probe(target)
            return len(fleet.starts[target.address]) % 2 == 1

        async with fleet.upstream(every_other) as upstream:
            await world.sleep(3600)
            assert states(upstream) == "hhh"

    fleet = run(scenario)
    assert len(fleet.told) == 3
    assert all(len(starts) > 1700 for starts in fleet.starts.values())


@pytest.mark.parametrize(
    ("takes", "expected"), [(0.499, "hhh"), (0.501, "uhh"), (math.inf, "uhh")], ids=str
)
def test_the_timeout_is_the_line_between_slow_and_ill(takes: float, expected: str) -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        fleet.takes[fleet.names[0]] = takes
        async with fleet.upstream() as upstream:
            await world.sleep(10)
            assert states(upstream) == expected

    fleet = run(scenario)
    cost = min(takes, TIMEOUT)
    for before, after in pairwise(fleet.starts[fleet.names[0]]):
        assert 0.8 * INTERVAL <= after - before - cost <= 1.2 * INTERVAL + 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_checks_of_one_target_never_overlap_and_never_march_in_step(seed: int) -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        fleet.takes[fleet.names[1]] = math.inf
        fleet.takes[fleet.names[2]] = 0.4
        async with fleet.upstream():
            await world.sleep(3600)

    fleet = run(scenario, seed=seed)
    assert fleet.most == 1
    assert sum(fleet.running.values()) == 0
    gaps = [after - before - 0.001 for before, after in pairwise(fleet.starts[fleet.names[0]])]
    assert min(gaps) >= 0.8 * INTERVAL - 1e-9
    assert max(gaps) <= 1.2 * INTERVAL + 1e-9
    assert min(gaps) < 0.82 * INTERVAL
    assert max(gaps) > 1.18 * INTERVAL
    assert statistics.mean(gaps) == pytest.approx(INTERVAL, rel=0.02)


def test_checks_of_many_targets_drift_apart() -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        async with fleet.upstream():
            await world.sleep(120)

    fleet = run(scenario, count=50)
    late = [start for starts in fleet.starts.values() for start in starts if start > 60]
    tenths = Counter(int(start * 10) for start in late)
    assert max(tenths.values()) < 12  # in step, all 50 would fall into one tenth of a second
    assert len(set(late)) == len(late)


@pytest.mark.parametrize(
    "error", [OSError("down"), ValueError(), asyncio.CancelledError()], ids=repr
)
def test_a_probe_that_raises_has_not_passed_and_is_asked_again(error: BaseException) -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        broken = True

        async def probe(target: Target) -> bool:
            await fleet.probe(target)
            if broken and target.address == fleet.names[0]:
                raise error
            return True

        async with fleet.upstream(probe) as upstream:
            await world.sleep(10)
            assert states(upstream) == "uhh"
            broken = False
            await world.sleep(10)
            assert states(upstream) == "hhh"

    run(scenario)


def test_a_probe_may_answer_without_waiting_and_with_any_truth() -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        async def probe(target: Target) -> bool:
            return "yes" if target.address == fleet.names[0] else ""  # type: ignore[return-value]

        async with fleet.upstream(probe) as upstream:
            await world.sleep(10)
            assert states(upstream) == "huu"

    run(scenario)


def test_all_dead_is_an_error_until_one_comes_back() -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        fleet.well = dict.fromkeys(fleet.names, False)
        async with fleet.upstream() as upstream:
            assert upstream.pick() in upstream.targets, "nothing is known yet"
            await world.sleep(3)
            with pytest.raises(NoHealthyBackend):
                upstream.pick()
            assert not upstream.ready
            fleet.well[fleet.names[2]] = True
            await world.sleep(6)
            assert upstream.pick() is upstream.targets[2]

    run(scenario)


def test_with_panic_all_dead_are_all_picked() -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        fleet.well = dict.fromkeys(fleet.names, False)
        async with fleet.upstream(panic=True) as upstream:
            await world.sleep(10)
            assert upstream.panicking
            assert {upstream.pick() for _ in range(3)} == set(upstream.targets)

    run(scenario)


# -- the life of an upstream


def test_closing_stops_every_check_also_one_that_runs() -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        fleet.takes[fleet.names[0]] = math.inf
        upstream = fleet.upstream()
        upstream.open()
        await world.sleep(0.1)
        assert fleet.running[fleet.names[0]] == 1
        await upstream.aclose()
        assert sum(fleet.running.values()) == 0
        count = sum(map(len, fleet.starts.values()))
        await world.sleep(3600)
        assert sum(map(len, fleet.starts.values())) == count
        assert len(asyncio.all_tasks()) == 1
        assert states(upstream) == "shh", "what was found last stays"
        await upstream.aclose()

    run(scenario)


def test_closing_before_the_first_check_began() -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        async with fleet.upstream():
            pass
        await world.sleep(10)

    assert run(scenario).starts == {}


def test_an_upstream_is_opened_once_and_may_be_opened_again_after_closing() -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        async with fleet.upstream() as upstream:
            with pytest.raises(RuntimeError, match="upstream shop is open already"):
                upstream.open()
        async with upstream:
            await world.sleep(1)
            assert states(upstream) == "hhh"

    run(scenario)


def test_an_upstream_whose_loop_is_gone_may_be_opened_in_another() -> None:
    upstreams: list[Upstream] = []

    async def forgetful(world: VirtualRuntime, fleet: Fleet) -> None:
        upstreams.append(fleet.upstream())
        upstreams[0].open()
        await world.sleep(1)

    async def again(world: VirtualRuntime, fleet: Fleet) -> None:
        upstreams[0].report(upstreams[0].targets[0], ok=False)
        upstreams[0].report(upstreams[0].targets[0], ok=False)
        assert states(upstreams[0]) == "hhh", "no check runs that could bring it back"
        upstreams[0].open()
        await upstreams[0].aclose()

    run(forgetful)
    run(again)


def test_checks_need_a_loop_and_picking_needs_none() -> None:
    upstream = Upstream("shop", ["a:1"], health=HealthCheck())
    with pytest.raises(RuntimeError, match="shop has health checks or a discovery, which need"):
        upstream.open()
    with upstream.pick() as target:
        assert target.address == "a:1"


def test_without_checks_there_is_nothing_to_open() -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        async with Upstream("shop", fleet.names) as upstream:
            upstream.open()
            assert len(asyncio.all_tasks()) == 1
            assert upstream.ready

    run(scenario)
    Upstream("shop", ["a:1"]).open()


def test_checks_do_not_inherit_the_call_that_opened_the_upstream() -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        seen = set()

        async def probe(target: Target) -> bool:
            seen.add(current_request())
            return True

        upstream = fleet.upstream(probe)

        with serving(Request(key="opener")):
            upstream.open()
        await world.sleep(60)
        await upstream.aclose()
        assert seen == {None}

    run(scenario)


# -- what traffic finds out before the checks do


def test_a_killed_target_is_out_at_the_second_refused_connection() -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        async with fleet.upstream() as upstream:
            await world.sleep(1)
            victim = upstream.targets[0]
            fleet.well[victim.address] = False
            upstream.report(victim, ok=False)
            assert states(upstream) == "hhh"
            upstream.report(victim, ok=False)
            assert states(upstream) == "uhh"
            assert fleet.told[-1] == (1.0, victim.address, False)
            assert upstream.health is not None
            await world.sleep(60)
            assert states(upstream) == "uhh"
            fleet.well[victim.address] = True
            await world.sleep(2 * 1.2 * INTERVAL + 0.01)
            assert states(upstream) == "hhh"

    run(scenario)


def test_a_false_alarm_is_over_after_the_checks_that_a_rise_takes() -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        async with fleet.upstream() as upstream:
            await world.sleep(1)
            for _ in range(50):  # many calls were under way when it happened
                upstream.report(upstream.targets[0], ok=False)
            await world.sleep(1.2 * INTERVAL + 0.01)
            assert states(upstream) == "uhh"
            await world.sleep(1.2 * INTERVAL + 0.01)
            assert states(upstream) == "hhh"

    fleet = run(scenario)
    assert [healthy for *_, healthy in fleet.told] == [True, True, True, False, True]


def test_a_success_or_a_passed_check_between_failures_keeps_a_target_in() -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        async with fleet.upstream() as upstream:
            await world.sleep(0.1)
            target = upstream.targets[0]
            for _ in range(20):
                upstream.report(target, ok=False)
                upstream.report(target, ok=True)
            for _ in range(20):
                upstream.report(target, ok=False)
                await world.sleep(1.2 * INTERVAL + 0.002)
            assert states(upstream) == "hhh"

    run(scenario)


def test_the_last_target_is_left_for_the_checks_to_judge() -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        async with fleet.upstream() as upstream:
            await world.sleep(0.1)
            for target in upstream.targets:
                for _ in range(10):
                    upstream.report(target, ok=False)
            assert states(upstream) == "uuh"
            assert upstream.pick() is upstream.targets[2]
            upstream.report(upstream.targets[2], ok=True)
            fleet.well = dict.fromkeys(fleet.names, False)
            await world.sleep(10)
            assert states(upstream) == "uuu"

    run(scenario)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError(), "uhh"),
        (ConnectionResetError(), "uhh"),
        (BackendUnreachable("gone"), "uhh"),
        (BackendError("answers garbage"), "hhh"),
        (TimeoutError(), "hhh"),
        (asyncio.CancelledError(), "hhh"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_a_block_reports_that_its_target_cannot_be_reached(
    error: BaseException, expected: str
) -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        async with fleet.upstream() as upstream:
            await world.sleep(0.1)
            for _ in range(6):
                with pytest.raises(type(error)), upstream.pick(upstream.targets[1:]):
                    raise error
                if states(upstream)[0] == "u":
                    break
            assert states(upstream) == expected

    run(scenario)


def test_a_block_that_ends_well_takes_the_doubt_away() -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        async with fleet.upstream() as upstream:
            await world.sleep(0.1)
            for _ in range(5):
                with pytest.raises(ConnectionError), upstream.pick(upstream.targets[1:]):
                    raise ConnectionResetError
                with upstream.pick(upstream.targets[1:]):
                    pass
            assert states(upstream) == "hhh"

    run(scenario)


@pytest.mark.parametrize("balance", ["round_robin", "least_connections"])
def test_an_hour_of_traffic_over_targets_that_die_and_return(balance: str) -> None:
    async def scenario(world: VirtualRuntime, fleet: Fleet) -> None:
        upstream = fleet.upstream()
        upstream = Upstream("shop", fleet.names, balance=balance, health=upstream.health)
        failed = calls = 0

        async def chaos() -> None:
            for victim in fleet.names * 20:
                fleet.well[victim] = False
                await world.sleep(30)
                fleet.well[victim] = True
                await world.sleep(30)

        async with upstream:
            world.spawn(chaos(), name="chaos")
            while world.now() < 3600:
                tried: list[Target] = []
                calls += 1
                for _ in range(2):
                    try:
                        with upstream.pick(tried) as target:
                            tried.append(target)
                            await world.sleep(0.01)
                            fleet.connect(target)
                        break
                    except ConnectionRefusedError:
                        continue
                else:
                    failed += 1
                await world.sleep(0.09)
        assert failed == 0, "another target was there for every second try"
        failures = [target.failures for target in upstream.targets]
        assert sum(failures) <= 60 * 2, "two calls found each death, and no more"
        assert all(failures)
        assert sum(target.requests for target in upstream.targets) == calls + sum(failures)
        assert [target.in_flight for target in upstream.targets] == [0, 0, 0]

    run(scenario)
