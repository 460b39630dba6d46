"""What each algorithm does when one of five targets is slow, stalls, fails or is too popular."""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from escala.balancing import (
    Balancer,
    ConsistentHash,
    LeastConnections,
    PeakEwma,
    PowerOfTwoChoices,
    RoundRobin,
    Target,
    Upstream,
    WeightedRoundRobin,
)
from escala.testing import VirtualRuntime

RATE, SECONDS = 400.0, 5.0  # calls a second, by chance, and how long
QUICK, SLOW = 0.010, 0.100  # seconds of one call
WORKERS = 4  # calls that a target of weight 1 works on at once; the others wait in its queue

KINDS: dict[str, Callable[[], Balancer]] = {
    kind.kind: kind
    for kind in (
        RoundRobin,
        WeightedRoundRobin,
        LeastConnections,
        PowerOfTwoChoices,
        PeakEwma,
        ConsistentHash,
    )
}


@dataclass
class Server:
    """One of the five: its workers, and calls that take so long or fail at once."""

    workers: asyncio.Semaphore
    takes: float = QUICK
    fails: bool = False
    stalled_until: float = 0.0

    async def answer(self, world: VirtualRuntime) -> None:
        if self.fails:
            raise ValueError
        async with self.workers:
            await world.sleep(max(self.takes, self.stalled_until - world.now()))


@dataclass
class Result:
    calls: list[tuple[float, int]]  # when each began, and at which target
    waits: list[float]

    def share(self, at: int, since: float = 1.0) -> float:
        """The part of the calls that this target got, the first second left out."""
        had = [which for began, which in self.calls if began >= since]
        return had.count(at) / len(had)

    @property
    def late(self) -> float:
        """The time within which 99 % of the calls were answered."""
        return statistics.quantiles(self.waits, n=100)[-1]


def key(number: int) -> str:
    return f"user:{number % 500}"


def run(
    balance: Balancer,
    change: Callable[[VirtualRuntime, list[Server]], None],
    *,
    weights: tuple[int, ...] = (1, 1, 1, 1, 1),
    rate: float = RATE,
    seconds: float = SECONDS,
    key: Callable[[int], str] = key,
    seed: int = 1,
) -> Result:
    """Calls by chance, as many as `rate` in a second, each with the key of its number."""
    world = VirtualRuntime(seed)
    servers = [Server(asyncio.Semaphore(WORKERS * weight)) for weight in weights]
    targets = [Target(f"10.0.0.{at}:80", weight=weight) for at, weight in enumerate(weights)]
    upstream = Upstream("shop", targets, balance=balance, rng=world.rng)
    result = Result([], [])

    async def call(number: int) -> None:
        began = world.now()
        try:
            with upstream.pick(key=key(number)) as target:
                at = targets.index(target)
                result.calls.append((began, at))
                await servers[at].answer(world)
        except ValueError:
            return
        result.waits.append(world.now() - began)

    async def main() -> None:
        tasks, number = list[asyncio.Task[None]](), 0
        while world.now() < seconds:
            tasks.append(world.spawn(call(number)))
            number += 1
            if number == 1:
                change(world, servers)
            await world.sleep(world.rng.expovariate(rate))
        await asyncio.gather(*tasks)

    world.run(main())
    world.close()
    assert [target.in_flight for target in targets] == [0] * len(targets)
    return result


def all_well(world: VirtualRuntime, servers: list[Server]) -> None:
    del world, servers


def one_slow(world: VirtualRuntime, servers: list[Server]) -> None:
    servers[2].takes = SLOW


def one_failing(world: VirtualRuntime, servers: list[Server]) -> None:
    servers[2].fails = True


def one_stalls(world: VirtualRuntime, servers: list[Server]) -> None:
    servers[2].stalled_until = 3.0  # from the beginning


every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_targets_that_are_alike_share_the_calls(kind: str) -> None:
    result = run(KINDS[kind](), all_well)
    by_turns = kind in {"round_robin", "weighted_round_robin", "least_connections"}
    for at in range(5):
        tolerance = 0.001 if by_turns else 0.04 if kind == "consistent_hash" else 0.02
        assert result.share(at, 0.0) == pytest.approx(0.2, abs=tolerance)
    assert max(result.waits) < 1.5 * QUICK


@every_kind
def test_weights_are_shares(kind: str) -> None:
    result = run(KINDS[kind](), all_well, weights=(4, 1, 1, 1, 1), rate=2000.0, seconds=1.5)
    by_turns = kind in {"round_robin", "weighted_round_robin"}
    for at in range(5):
        tolerance = 0.001 if by_turns else 0.06
        assert result.share(at, 0.0) == pytest.approx((0.5, *[0.125] * 4)[at], abs=tolerance)


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [
        ("round_robin", 0.199, 0.201),
        ("weighted_round_robin", 0.199, 0.201),
        ("least_connections", 0.03, 0.07),
        ("p2c", 0.03, 0.08),
        ("peak_ewma", 0.0, 0.001),
        ("consistent_hash", 0.02, 0.08),
    ],
    ids=str,
)
def test_the_share_of_a_target_that_is_ten_times_slower(
    kind: str, least: float, most: float
) -> None:
    result = run(KINDS[kind](), one_slow)
    assert least <= result.share(2) <= most
    if least > 0.1:
        assert result.late > 2.0, "it can do 40 calls a second and gets 80: the queue grows"
    elif kind == "peak_ewma":
        assert result.late < 1.5 * QUICK
    else:
        assert SLOW <= result.late < 2.0 * SLOW


@pytest.mark.parametrize(
    ("kind", "caught"),
    [
        ("round_robin", 300.0),  # a fifth of the calls of three seconds, and a queue after that
        ("weighted_round_robin", 300.0),
        ("least_connections", 4.0),
        ("p2c", 6.0),
        ("peak_ewma", 1.0),
        ("consistent_hash", 6.0),
    ],
    ids=str,
)
def test_calls_that_a_target_catches_while_it_stalls(kind: str, caught: float) -> None:
    result = run(KINDS[kind](), one_stalls)
    stuck = sum(1 for wait in result.waits if wait > 5 * QUICK)
    assert caught / 3 <= stuck <= 1.4 * caught


@every_kind
def test_a_target_that_fails_at_once_is_for_others_to_take_out(kind: str) -> None:
    result = run(KINDS[kind](), one_failing)
    # Where load counts it looks idle, and gets more than its share.
    most = 0.201 if kind.endswith("round_robin") else 0.36
    assert 0.19 <= result.share(2) <= most


def test_a_slow_target_is_back_when_its_latency_is_forgotten() -> None:
    def slow_for_a_while(world: VirtualRuntime, servers: list[Server]) -> None:
        async def slow() -> None:
            servers[2].takes = SLOW
            await world.sleep(3.0)
            servers[2].takes = QUICK

        world.spawn(slow())

    result = run(PeakEwma(decay="1s"), slow_for_a_while, seconds=9.0)
    # Ten times slower is forgotten in ln(10) decays, 2.3 s after its last slow answer.
    meanwhile = [which for began, which in result.calls if 1.0 < began < 3.0]
    assert meanwhile.count(2) <= 3
    assert result.share(2, since=7.0) == pytest.approx(0.2, abs=0.03)


# -- consistent hashing


def hot(number: int) -> str:
    """Three calls of five are for the same key."""
    return "the one in demand" if number % 5 < 3 else f"user:{number}"


def test_a_key_in_great_demand_is_spread_as_far_as_it_must_be() -> None:
    unbounded = run(ConsistentHash(load_factor=1000), all_well, rate=1000.0, seconds=3.0, key=hot)
    bounded = run(ConsistentHash(load_factor=1.25), all_well, rate=1000.0, seconds=3.0, key=hot)
    assert max(unbounded.share(at) for at in range(5)) > 0.6
    assert unbounded.late > 1.0, "one target can do 400 calls a second, and gets 600 and more"
    assert max(bounded.share(at) for at in range(5)) < 0.32
    assert bounded.late < 2 * QUICK


def test_a_key_stays_with_its_target_while_all_is_well() -> None:
    numbers: list[int] = []

    def noted(number: int) -> str:
        numbers.append(number % 100)
        return f"user:{number % 100}"

    result = run(ConsistentHash(load_factor=2.0), all_well, rate=1000.0, seconds=2.0, key=noted)
    homes: dict[int, Counter[int]] = {}
    for number, (_, at) in zip(numbers, result.calls, strict=True):
        homes.setdefault(number, Counter())[at] += 1
    at_home = sum(max(had.values()) for had in homes.values())
    assert at_home / len(numbers) > 0.9


# -- many callers that know nothing of each other


@pytest.mark.parametrize(
    ("balance", "least", "most"),
    [(LeastConnections, 30, 30), (PowerOfTwoChoices, 3, 11), (PeakEwma, 3, 11)],
    ids=["least_connections", "p2c", "peak_ewma"],
)
def test_the_first_calls_of_thirty_processes(
    balance: type[Balancer], least: int, most: int
) -> None:
    world, had = VirtualRuntime(), Counter[str]()
    names = [f"10.0.0.{at}:80" for at in range(10)]
    for _ in range(30):
        had[Upstream("shop", names, balance=balance(), rng=world.rng).pick().address] += 1
    world.close()
    assert least <= max(had.values()) <= most
