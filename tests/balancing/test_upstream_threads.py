"""Many threads on one upstream: no call is lost or counted twice, whatever changes meanwhile."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from escala.balancing import HealthCheck, OutlierDetection, Target, Upstream
from escala.balancing.pure.least_connections import LeastConnectionsChoice
from escala.errors import NoHealthyBackend
from escala.testing import VirtualRuntime

THREADS, CALLS = 8, 1500


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*works: Callable[[], object]) -> None:
    """Run all of these at the same time; the first error of any is raised."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001  raised again in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("balance", ["round_robin", "least_connections"])
def test_every_pick_and_release_is_counted(balance: str) -> None:
    upstream = Upstream("shop", [Target("a:1", weight=2), "b:1", "c:1"], balance=balance)
    seen: list[Counter[Target]] = []

    def work() -> None:
        mine, held = Counter[Target](), list[Target]()
        for turn in range(CALLS):
            held.append(upstream.pick(held[-1:]))
            mine[held[-1]] += 1
            if turn % 3:
                upstream.release(held.pop(turn % len(held)), ok=turn % 5 != 0)
        for target in held:
            upstream.release(target)
        seen.append(mine)

    together(*[work] * THREADS)
    total = sum(seen, Counter[Target]())
    assert [target.in_flight for target in upstream.targets] == [0, 0, 0]
    assert {target: target.requests for target in upstream.targets} == total
    assert total.total() == THREADS * CALLS
    failed = sum(1 for turn in range(CALLS) if turn % 3 and turn % 5 == 0)
    assert sum(target.failures for target in upstream.targets) == THREADS * failed


def test_round_robin_is_exact_across_threads() -> None:
    upstream = Upstream("shop", [Target("a:1", weight=5), "b:1", "c:1"])

    def work() -> None:
        for _ in range(700):
            with upstream.pick():
                pass

    together(*[work] * THREADS)
    assert [target.requests for target in upstream.targets] == [4000, 800, 800]


@pytest.mark.parametrize("balance", ["round_robin", "least_connections"])
def test_calls_are_counted_while_health_changes_all_the_time(balance: str) -> None:
    upstream = Upstream("shop", ["a:1", "b:1", "c:1"], balance=balance, health=HealthCheck())
    done = threading.Event()
    refused: list[int] = []

    def call() -> None:
        mine = 0
        for _ in range(CALLS):
            try:
                with upstream.pick() as target:
                    assert target.in_flight > 0
            except NoHealthyBackend:
                mine += 1
        refused.append(mine)

    def change() -> None:
        turn = 0
        while not done.is_set():
            turn += 1
            # Long runs, so that now and then every target is down, and now and then none.
            upstream._observe(upstream.targets[turn % 3], turn // 20 % 2 == 0)

    def callers() -> None:
        try:
            together(*[call] * (THREADS - 1))
        finally:
            done.set()

    together(callers, change)
    assert [target.in_flight for target in upstream.targets] == [0, 0, 0]
    made = sum(target.requests for target in upstream.targets)
    assert made + sum(refused) == (THREADS - 1) * CALLS
    assert sum(target.failures for target in upstream.targets) == 0
    for target in upstream.targets:
        upstream._observe(target, True)
        upstream._observe(target, True)
    choice = upstream._fleet._choice
    if isinstance(choice, LeastConnectionsChoice):
        assert choice._in_flight == [0, 0, 0]


def test_threads_and_tasks_share_an_upstream_whose_checks_run() -> None:
    world = VirtualRuntime()

    async def probe(target: Target) -> bool:
        await asyncio.sleep(0.001)  # noqa: TID251  virtual here
        return True

    health = HealthCheck(interval="10ms", probe=probe)
    upstream = Upstream("shop", ["a:1", "b:1", "c:1"], balance="least_connections", health=health)
    done = threading.Event()

    def work() -> None:
        for turn in range(CALLS):
            with upstream.pick() as target:
                upstream.report(target, ok=turn % 2 == 0)

    def threads() -> None:
        try:
            together(*[work] * (THREADS - 1))
        finally:
            done.set()

    async def main() -> None:
        async with upstream:
            while not done.is_set():
                with upstream.pick():
                    await world.sleep(0.001)

    def loop() -> None:
        world.run(main())

    together(threads, loop)
    world.close()
    assert [target.in_flight for target in upstream.targets] == [0, 0, 0]
    made = sum(target.requests for target in upstream.targets)
    assert made >= (THREADS - 1) * CALLS


@pytest.mark.parametrize("balance", ["round_robin", "least_connections", "p2c"])
def test_targets_come_go_and_are_ejected_while_threads_call_them(balance: str) -> None:
    zones = [Target(f"{host}:1", zone=host) for host in "abcd"]
    upstream = Upstream(
        "shop",
        zones,
        balance=balance,
        zone="a",
        outliers=OutlierDetection(in_a_row=2, ejection="1ms", interval="2ms", calls=5),
        slow_start="5ms",
    )
    seen: list[set[Target]] = []
    done = threading.Event()

    def call() -> None:
        mine, held = set[Target](), list[Target]()
        for turn in range(CALLS):
            held.append(upstream.pick(held[-1:], key=str(turn) if turn % 2 else None))
            mine.add(held[-1])
            if turn % 3:
                upstream.release(held.pop(0), ok=turn % 5 != 0, took=0.001 * (turn % 7))
        for target in held:
            upstream.release(target, ok=False)
        seen.append(mine)

    def change() -> None:
        turn = 0
        while not done.is_set():
            turn += 1
            hosts = "abcd" if turn % 2 else "bce"
            upstream.update(Target(f"{host}:1", weight=1 + turn % 3, zone=host) for host in hosts)

    def callers() -> None:
        try:
            together(*[call] * (THREADS - 1))
        finally:
            done.set()

    together(callers, change)
    every = set().union(*seen)
    assert {target.in_flight for target in every} == {0}
    assert sum(target.requests for target in every) == (THREADS - 1) * CALLS
    assert len(every) > 5, "targets that came again are new ones"
