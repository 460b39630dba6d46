"""What callers get wrong: arguments, discoveries that lie, a start that is given up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from escala.balancing import (
    Discovery,
    FileTargets,
    Found,
    HealthCheck,
    OutlierDetection,
    PeakEwma,
    RoundRobin,
    Subset,
    Target,
    Upstream,
)
from escala.balancing.file_targets import read_targets
from escala.balancing.pure.choice import Member
from escala.balancing.pure.round_robin import RoundRobinChoice
from escala.errors import ConfigError
from escala.testing import VirtualRuntime

TWO = ["10.0.0.1:80", "10.0.0.2:80"]


class Says(Discovery):
    """Calls a function for each answer."""

    def __init__(self, say: Callable[[], Any]) -> None:
        self.say, self.looks = say, 0

    async def look(self) -> Found | None:
        self.looks += 1
        said: Found | None = self.say()
        return said


class Hangs(Discovery):
    async def look(self) -> Found | None:
        await asyncio.Event().wait()
        return None


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("health", "/health", "HealthCheck"),
        ("health", HealthCheck, "HealthCheck"),
        ("outliers", {}, "OutlierDetection"),
        ("balance", 5, "Balancer"),
        ("balance", RoundRobin, "Balancer"),
        ("subset", 20, "Subset"),
        ("rng", 7, "Random"),
    ],
    ids=["health-text", "health-class", "outliers", "balance", "balance-class", "subset", "rng"],
)
def test_a_part_of_another_kind_is_refused_by_name(field: str, value: Any, expected: str) -> None:
    given: dict[str, Any] = {field: value}
    with pytest.raises(ConfigError, match=rf"^upstream shop: {field}: expected {expected}"):
        Upstream("shop", TWO, **given)


@pytest.mark.parametrize(
    "targets",
    [5, None, Target("a:1"), b"a:1", {"a:1": 2}, FileTargets],
    ids=["number", "none", "target", "bytes", "mapping", "class"],
)
def test_targets_that_are_no_list_are_refused(targets: Any) -> None:
    with pytest.raises(ConfigError, match=r"^upstream shop: expected a list of targets, found "):
        Upstream("shop", targets)


@pytest.mark.parametrize("target", [5, None, ["a:1"]], ids=["number", "none", "list"])
def test_what_is_no_target_in_a_list_is_refused(target: Any) -> None:
    with pytest.raises(ConfigError, match=r"^Target: url: expected an address such as"):
        Upstream("shop", ["a:1", target])


@pytest.mark.parametrize("name", [None, 5, ""], ids=["none", "number", "empty"])
def test_an_upstream_has_a_name(name: Any) -> None:
    with pytest.raises(ConfigError, match="name: expected text"):
        Upstream(name, TWO)


def test_a_probe_that_cannot_be_called_is_refused() -> None:
    probe: Any = "/health"
    with pytest.raises(ConfigError, match=r"^HealthCheck: probe: expected a function, found '/he"):
        HealthCheck(probe=probe)


def test_a_probe_may_be_a_plain_function() -> None:
    world = VirtualRuntime()
    sick = {"10.0.0.2:80"}
    health = HealthCheck(probe=lambda target: target.address not in sick)

    async def main() -> list[bool]:
        async with Upstream("shop", TWO, health=health) as shop:
            await world.sleep(10)
            return [target.healthy for target in shop.targets]

    assert world.run(main()) == [True, False]


@pytest.mark.parametrize("took", [-1.0, nan, inf], ids=["negative", "nan", "infinite"])
def test_an_impossible_time_says_nothing(took: float) -> None:
    shop = Upstream("shop", TWO[:1], balance=PeakEwma(), outliers=OutlierDetection(slower=2))
    target = shop.pick()
    shop.release(target, took=0.5)
    target = shop.pick()
    shop.release(target, took=took)
    shop.update(TWO)  # a new choice, which is told what the last one knew
    assert target.seconds == pytest.approx(0.5, rel=0.1)


def test_a_time_that_is_no_number_changes_nothing() -> None:
    shop = Upstream("shop", TWO[:1], balance=PeakEwma())
    target, took = shop.pick(), "0.2"
    with pytest.raises(TypeError):
        shop.release(target, took=took)  # type: ignore[arg-type]
    assert target.in_flight == 1
    shop.release(target)
    assert shop.pick().in_flight == 1


def test_a_fleet_too_heavy_for_a_ring_is_refused_before_anything_changes() -> None:
    heavy = Target("10.0.0.9:80", weight=1_000_000)
    shop = Upstream("shop", TWO, balance="consistent_hash", health=HealthCheck())
    for target in shop.targets:
        shop._observe(target, True)
    before = shop.targets
    with pytest.raises(ConfigError, match=r"^ConsistentHash: expected .* at most 8,000,000"):
        shop.update([*TWO, heavy])
    assert shop.targets == before
    assert {shop.pick(key=str(number)).url for number in range(50)} == {each.url for each in before}
    assert shop.pick() in before
    with pytest.raises(ConfigError, match=r"^ConsistentHash"):
        Upstream("other", [heavy], balance="consistent_hash")
    Upstream("third", [heavy])  # and no one has taken it


@pytest.mark.parametrize("given", [0.1, 3600.0], ids=["in the first look", "for good"])
def test_a_start_that_is_given_up_leaves_nothing_behind(given: float) -> None:
    world = VirtualRuntime()
    shop = Upstream("shop", Hangs())

    async def main() -> None:
        starting = asyncio.create_task(shop.__aenter__())
        await world.sleep(min(given, 1.0))
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert asyncio.all_tasks() == {asyncio.current_task()}
        shop.open()  # as if nothing had been
        await shop.aclose()

    world.run(main())


def test_a_look_that_was_cancelled_by_someone_else_is_one_that_failed() -> None:
    world = VirtualRuntime()
    steps: list[Exception | type[BaseException] | Found] = [
        asyncio.CancelledError,
        Found([Target("a:1")], 5),
    ]

    def say() -> Found:
        step = steps.pop(0)
        if isinstance(step, Found):
            return step
        raise step

    async def main() -> None:
        async with asyncio.timeout(100):
            async with Upstream("shop", Says(say)) as shop:
                assert not shop.targets
                await world.sleep(6)
                assert [target.host for target in shop.targets] == ["a"]

    world.run(main())


@pytest.mark.parametrize("seconds", [nan, -1, None, "5"], ids=["nan", "negative", "none", "text"])
def test_a_time_that_is_none_is_a_look_that_failed(seconds: Any) -> None:
    world = VirtualRuntime()
    discovery = Says(lambda: Found([Target("a:1")], seconds))

    async def main() -> None:
        async with Upstream("shop", discovery) as shop:
            await world.sleep(12)
            assert not shop.targets
            assert discovery.looks == 3  # and goes on
            with pytest.raises(Exception, match=r"seconds|not supported"):
                shop.pick()

    world.run(main())


def test_a_discovery_may_find_targets_as_a_list_has_them() -> None:
    world = VirtualRuntime()
    weighted = Target("b:1", weight=2)

    async def main() -> None:
        discovery = Says(lambda: Found(["a:1", weighted], 5))
        async with Upstream("shop", discovery) as shop:
            await world.sleep(12)
            assert [(target.host, target.weight) for target in shop.targets] == [("a", 1), ("b", 2)]

    world.run(main())


def test_an_upstream_whose_loop_was_closed_under_it_opens_again() -> None:
    shop = Upstream("shop", TWO, health=HealthCheck())

    async def start() -> None:
        shop.open()

    async def again() -> None:
        async with shop:
            pass

    loop = asyncio.new_event_loop()
    loop.run_until_complete(start())
    close_under_tasks(loop)
    asyncio.run(again())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(start())
    close_under_tasks(loop)
    asyncio.run(shop.aclose())  # nothing is left to do


def close_under_tasks(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    loop.close()
    for task in tasks:  # what no one can end any more
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.get_coro().close()


def test_checks_are_stopped_by_the_loop_that_runs_them() -> None:
    shop = Upstream("shop", TWO, health=HealthCheck(probe=lambda _: True))

    async def start() -> None:
        shop.open()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(start())
    with pytest.raises(RuntimeError, match="opened in another event loop: close it there"):
        asyncio.run(shop.aclose())
    loop.run_until_complete(shop.aclose())  # and it can still
    assert not asyncio.all_tasks(loop)
    loop.close()


def test_a_file_is_for_one_upstream(tmp_path: Path) -> None:
    path = tmp_path / "shop.targets"
    path.write_text("10.0.0.1:80\n")
    found = FileTargets(path)
    shop = Upstream("shop", found)
    with pytest.raises(ConfigError, match=r"FileTargets\(.*\) belongs to upstream shop already"):
        Upstream("carts", found)
    with shop:
        assert shop.pick().port == 80


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "shop.targets")
    with pytest.raises(ConfigError, match="expected a file, found something else"):
        asyncio.run(FileTargets(tmp_path / "shop.targets").look())


def test_a_path_that_is_none_is_refused() -> None:
    path: Any = 5
    with pytest.raises(ConfigError, match=r"^FileTargets: path: expected text"):
        FileTargets(path)


@pytest.mark.parametrize(
    "line", ["a:1 weight", "a:1 url=b:1", "a:1 weight=2 weight=3"], ids=["bare", "url", "twice"]
)
def test_a_line_says_each_thing_once(line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_targets(line.encode(), "shop.targets")
    (problem,) = caught.value.problems
    assert problem.startswith("shop.targets:1: expected words such as 'weight=2' after the address")


def test_when_targets_go_the_limit_holds_for_those_that_stay() -> None:
    names = [f"10.0.0.{number}:80" for number in range(1, 5)]
    shop = Upstream("shop", names, outliers=OutlierDetection(in_a_row=1))
    for _ in range(2):
        shop.release(shop.pick(), ok=False)
    out = [target for target in shop.targets if target.ejected]
    assert len(out) == 2
    shop.update(out)
    assert [target.ejected for target in out] == [False, True]  # who was to come back first


def test_a_share_counts_as_it_is_written() -> None:
    names = [f"10.0.0.{number}:80" for number in range(100)]
    shop = Upstream("shop", names, outliers=OutlierDetection(in_a_row=1, most="29%"))
    for _ in range(200):
        shop.release(shop.pick(), ok=False)
    assert sum(target.ejected for target in shop.targets) == 29  # 0.29 * 100 is 28.999... to Python


def test_many_changes_at_once_cost_one_ring() -> None:
    made: list[int] = []

    class Counted(RoundRobin):
        def over(self, members: Sequence[Member], draw: Callable[[], float]) -> RoundRobinChoice:
            made.append(len(members))
            return super().over(members, draw)

    names = [f"10.0.0.{number}:80" for number in range(100)]
    shop = Upstream("shop", names, balance=Counted(), health=HealthCheck())
    first = shop.pick()
    for target in shop.targets:
        shop._observe(target, True)
    shop.release(first)
    shop.pick()
    assert made == [100, 100]


def test_a_subset_of_a_large_fleet_is_found_at_once() -> None:
    urls = [f"target-{number:06}:80" for number in range(50_000)]
    urls.reverse()
    kept = Subset(5000, client=3).of(urls)  # minutes, if it sorted them once for each
    assert len(kept) == 5000
    assert kept == sorted(kept, reverse=True)
