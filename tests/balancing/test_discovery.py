"""Targets that come and go: by hand, from a file, from DNS; and the subset that a client uses."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from escala.balancing import (
    Discovery,
    DiscoveryFailed,
    DnsTargets,
    FileTargets,
    Found,
    HealthCheck,
    OutlierDetection,
    Subset,
    Target,
    TargetsChanged,
    Upstream,
)
from escala.balancing.dns_resolver import Records
from escala.balancing.file_targets import read_targets
from escala.balancing.target import TargetOptions
from escala.balancing.target_url import TargetUrl
from escala.errors import ConfigError, NoHealthyBackend
from escala.kernel.events import Event, subscribe
from escala.testing import VirtualRuntime


def run(scenario: Callable[[VirtualRuntime], Awaitable[None]]) -> list[Any]:
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


def addresses(upstream: Upstream) -> list[str]:
    return [target.address for target in upstream.targets]


class Script(Discovery):
    """Finds one thing after another: addresses, or an error."""

    def __init__(self, *steps: str | Exception | None) -> None:
        self.steps, self.looks = list(steps), 0

    async def look(self) -> Found | None:
        self.looks += 1
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        if step is None:
            return None
        return Found([TargetOptions(url=TargetUrl(url)) for url in step.split()], 10.0)


# -- targets that come and go


@pytest.mark.parametrize("balance", ["round_robin", "least_connections", "p2c", "peak_ewma"])
def test_targets_come_and_go_without_dropping_calls(balance: str) -> None:
    upstream = Upstream("shop", ["a:1", "b:1", "c:1"], balance=balance)
    held = [upstream.pick() for _ in range(6)]
    gone = upstream.targets[0]
    upstream.update(["b:1", "d:1"])
    assert addresses(upstream) == ["b:1", "d:1"]
    assert gone not in {upstream.pick() for _ in range(20)}
    for target in held:
        upstream.release(target, ok=True, took=0.1)
        upstream.report(target, ok=True)
    assert gone.in_flight == 0
    assert gone.slot == -1


def test_who_stays_is_the_same_as_before() -> None:
    upstream = Upstream("shop", ["a:1", "b:1"], health=HealthCheck(fall=1), zone="x")
    first, second = upstream.targets
    upstream._observe(first, False)
    upstream.release(upstream.pick(), ok=False)
    upstream.update([Target("b:1", weight=5, zone="x", priority=2), "a:1", "c:1"])
    assert upstream.targets[:2] == (second, first)
    assert (second.weight, second.zone, second.priority) == (5, "x", 2)
    assert first.state.value == "unhealthy"
    assert second.failures == 1
    assert upstream.targets[2].state.value == "starting"


def test_a_target_that_comes_again_is_a_new_one() -> None:
    upstream = Upstream("shop", ["a:1", "b:1"], outliers=OutlierDetection(in_a_row=1))
    first = upstream.pick()
    upstream.update(["b:1"])
    upstream.update(["a:1", "b:1"])
    assert upstream.targets[0] is not first
    upstream.release(first, ok=False)
    assert not upstream.targets[0].ejected, "what the old one still answers is its own"
    assert [target.in_flight for target in upstream.targets] == [0, 0]


def test_a_change_that_is_none_keeps_the_round_going() -> None:
    upstream = Upstream("shop", [Target("a:1", weight=3), "b:1"])
    before = [upstream.pick().host for _ in range(2)]
    upstream.update([Target("a:1", weight=3), "b:1"])
    assert sorted(before + [upstream.pick().host for _ in range(2)]) == ["a", "a", "a", "b"]


def test_an_update_is_checked_before_anything_changes() -> None:
    upstream = Upstream("shop", ["a:1"])
    for bad, why in (
        (["b:1", "b:1"], "listed twice"),
        ([], "at least one"),
        (["b"], "an address"),
        ([Upstream("other", ["b:1"]).targets[0]], "belongs to upstream other"),
    ):
        with pytest.raises(ConfigError, match=why):
            upstream.update(bad)
        assert addresses(upstream) == ["a:1"]
    with pytest.raises(ConfigError, match="its targets come from <"):
        Upstream("shop", Script("a:1")).update(["a:1"])


# -- discovery


def test_a_discovery_is_asked_again_when_its_answer_is_old() -> None:
    async def scenario(world: VirtualRuntime) -> None:
        found = Script("a:1", "a:1 b:1", None, "b:1")
        upstream = Upstream("shop", found)
        with pytest.raises(NoHealthyBackend, match=r"Script.*has found no targets yet: open the"):
            upstream.pick()
        async with upstream:
            assert addresses(upstream) == ["a:1"], "the first look is waited for"
            assert upstream.pick().host == "a"
            await world.sleep(9.9)
            assert found.looks == 1
            await world.sleep(0.2)
            assert addresses(upstream) == ["a:1", "b:1"]
            await world.sleep(10)
            assert addresses(upstream) == ["a:1", "b:1"]
            await world.sleep(10)
            assert addresses(upstream) == ["b:1"]
        looks = found.looks
        await world.sleep(60)
        assert found.looks == looks
        assert upstream.pick().host == "b"

    told = [event for event in run(scenario) if isinstance(event, TargetsChanged)]
    assert [(event.came, event.went) for event in told] == [
        (("a:1",), ()),
        (("b:1",), ()),
        ((), ("a:1",)),
    ]


def test_a_look_that_fails_changes_nothing_and_is_told_once() -> None:
    async def scenario(world: VirtualRuntime) -> None:
        found = Script("a:1", OSError("no route"), OSError("no route"), ValueError(), "c:1")
        upstream = Upstream("shop", found)
        async with upstream:
            await world.sleep(10.5)
            assert addresses(upstream) == ["a:1"]
            await world.sleep(5)
            assert found.looks == 3, "sooner again than after an answer"
            assert addresses(upstream) == ["a:1"]
            await world.sleep(10)
            assert addresses(upstream) == ["c:1"]

    told = [event for event in run(scenario) if isinstance(event, DiscoveryFailed)]
    assert [(event.name, event.reason) for event in told] == [
        ("shop", "no route"),
        ("shop", "ValueError"),
    ]


def test_without_a_first_answer_the_refusal_says_why() -> None:
    async def scenario(world: VirtualRuntime) -> None:
        upstream = Upstream("shop", Script(OSError("no route")))
        async with upstream:
            with pytest.raises(NoHealthyBackend, match="has found no targets yet: no route"):
                upstream.pick()
            assert not upstream.ready

    run(scenario)


def test_a_look_that_hangs_is_given_up() -> None:
    class Hanging(Discovery):
        async def look(self) -> Found:
            await world.sleep(10_000)
            raise AssertionError

    world = VirtualRuntime()

    async def main() -> None:
        upstream = Upstream("shop", Hanging())
        async with upstream:
            assert world.now() == 30.0

    world.run(main())
    world.close()


def test_newcomers_are_checked_and_those_who_left_are_not() -> None:
    asked: list[tuple[str, float]] = []

    async def scenario(world: VirtualRuntime) -> None:
        async def probe(target: Target) -> bool:
            asked.append((target.host, world.now()))
            return True

        health = HealthCheck(interval="1s", probe=probe)
        upstream = Upstream("shop", Script("a:1", "b:1"), health=health)
        async with upstream:
            await world.sleep(9)
            assert upstream.targets[0].healthy
            await world.sleep(11)
            assert upstream.ready
        await world.sleep(10)

    run(scenario)
    assert {host for host, at in asked if at < 10} == {"a"}
    assert {host for host, at in asked if at > 10.1} == {"b"}
    assert max(at for _, at in asked) <= 20


def test_targets_that_are_not_known_yet_are_no_reason_to_leave_the_healthy() -> None:
    async def scenario(world: VirtualRuntime) -> None:
        async def probe(target: Target) -> bool:
            return target.host == "a"

        health = HealthCheck(interval="60s", fall=5, probe=probe)
        upstream = Upstream("shop", Script("a:1", "a:1 b:1"), health=health)
        async with upstream:
            await world.sleep(15)
            assert {upstream.pick().host for _ in range(5)} == {"a"}

    run(scenario)


# -- files


LINES = """
# the shop
10.0.0.1:80
10.0.0.2:80 weight=2 zone=eu-1   # the big one
  https://c.example priority=1
"""
YAML = """
- 10.0.0.1:80
- {url: "10.0.0.2:80", weight: 2, zone: eu-1}
- {url: "https://c.example", priority: 1}
"""


@pytest.mark.parametrize(("name", "text"), [("shop.targets", LINES), ("shop.yaml", YAML)])
def test_a_file_lists_targets_line_by_line_or_in_yaml(name: str, text: str) -> None:
    assert read_targets(text.encode(), name) == (
        TargetOptions(url=TargetUrl("10.0.0.1:80")),
        TargetOptions(url=TargetUrl("10.0.0.2:80"), weight=2, zone="eu-1"),
        TargetOptions(url=TargetUrl("https://c.example"), priority=1),
    )


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("t", "", "t: expected at least one target, found none"),
        ("t", "# none\n\n", "t: expected at least one target, found none"),
        ("t", "a:1\nb", "t:2: url: expected an address such as"),
        ("t", "a:1 weight=0", "t:1: weight: expected an integer"),
        (
            "t",
            "a:1 heavy",
            "t:1: expected words such as 'weight=2' after the address, each once; found 'heavy'",
        ),
        ("t", "a:1 wieght=2", "t:1: wieght: expected one of the fields"),
        ("t", b"\xff\xfe", "t: expected text in UTF-8"),
        ("t.yml", "[]", "t.yml: expected at least one target, found none"),
        ("t.yaml", "- a:1\n- b", "t.yaml:2:3: [1]: expected an address such as"),
        ("t.yaml", "a: 1", "t.yaml:1:1: expected a list, found a mapping"),
        ("t.yaml", "[", "t.yaml:2:1: expected YAML, found an error"),
    ],
    ids=[f"case{number}" for number in range(11)],
)
def test_what_is_wrong_with_a_file_is_told(name: str, text: str | bytes, problem: str) -> None:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(ConfigError) as refused:
        read_targets(data, name)
    assert str(refused.value).startswith(problem)


def replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)  # noqa: PTH105


def test_a_file_is_read_again_when_it_changes_and_bad_content_changes_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "shop.targets"

    async def scenario(world: VirtualRuntime) -> None:
        upstream = Upstream("shop", FileTargets(path))
        async with upstream:
            assert addresses(upstream) == []
            replace(path, "a:1\nb:1\n")
            await world.sleep(1.5)
            assert addresses(upstream) == ["a:1", "b:1"]
            replace(path, "a:1\nnonsense\n")
            await world.sleep(5)
            assert addresses(upstream) == ["a:1", "b:1"]
            replace(path, "a:1\na:1\n")
            await world.sleep(5)
            assert addresses(upstream) == ["a:1", "b:1"]
            path.unlink()
            await world.sleep(5)
            assert addresses(upstream) == ["a:1", "b:1"]
            replace(path, "b:1 weight=7\n")
            await world.sleep(1.5)
            assert [(each.address, each.weight) for each in upstream.targets] == [("b:1", 7)]
            replace(path, "x" * (5 << 20))
            await world.sleep(1.5)

    told = [event.reason for event in run(scenario) if isinstance(event, DiscoveryFailed)]
    assert len(told) == 5
    assert "No such file" in told[0]
    assert told[1].startswith(f"{path}:2: url: expected an address")
    assert told[2] == "upstream shop: the target http://a:1 is listed twice"
    assert "No such file" in told[3]
    assert told[4] == f"{path}: expected at most 4 MiB, found more"


# -- DNS


class Zone:
    """Answers like DNS, from a dictionary."""

    def __init__(self, records: dict[tuple[str, str], tuple[str, ...]]) -> None:
        self.records, self.asked, self.ttl = records, list[tuple[str, str]](), 30.0

    async def __call__(self, name: str, kind: str) -> Records:
        self.asked.append((name, kind))
        return Records(self.records.get((name, kind), ()), self.ttl)


def test_every_address_of_a_name_is_a_target() -> None:
    async def scenario(world: VirtualRuntime) -> None:
        zone = Zone({("shop.internal", "A"): ("10.0.0.1", "10.0.0.2")})
        upstream = Upstream("shop", DnsTargets("shop.internal:8080", resolver=zone))
        async with upstream:
            assert addresses(upstream) == ["10.0.0.1:8080", "10.0.0.2:8080"]
            zone.records["shop.internal", "A"] = ("10.0.0.2", "10.0.0.3")
            await world.sleep(29.5)
            assert len(zone.asked) == 1, "the answer holds 30 s"
            await world.sleep(1)
            assert addresses(upstream) == ["10.0.0.2:8080", "10.0.0.3:8080"]
            zone.ttl = 0.0
            await world.sleep(30)
            before = len(zone.asked)
            await world.sleep(10)
            assert 9 <= len(zone.asked) - before <= 11, "never more often than the interval"

    run(scenario)


def test_a_name_with_ipv6_only_is_one_too() -> None:
    async def scenario(world: VirtualRuntime) -> None:
        zone = Zone({("shop", "AAAA"): ("fd00::1",)})
        async with Upstream("shop", DnsTargets("https://shop:8443", resolver=zone)) as upstream:
            assert [target.url for target in upstream.targets] == ["https://[fd00::1]:8443"]
        assert zone.asked == [("shop", "A"), ("shop", "AAAA")]

    run(scenario)


def test_srv_records_say_port_weight_and_priority() -> None:
    async def scenario(world: VirtualRuntime) -> None:
        texts = ("0 5 8080 a.shop.", "0 0 8081 b.shop.", "1 1 80 c.shop.", "3 9 8080 a.shop.")
        zone = Zone({("_http._tcp.shop", "SRV"): texts})
        async with Upstream("shop", DnsTargets("_http._tcp.shop", resolver=zone)) as upstream:
            assert sorted((t.address, t.weight, t.priority) for t in upstream.targets) == [
                ("a.shop:8080", 5, 0),
                ("b.shop:8081", 1, 0),
                ("c.shop:80", 1, 1),
            ]

    run(scenario)


@pytest.mark.parametrize("texts", [(), ("0 0 0 .",)], ids=["nothing", "no such service"])
def test_an_empty_answer_keeps_the_last_one(texts: tuple[str, ...]) -> None:
    async def scenario(world: VirtualRuntime) -> None:
        zone = Zone({("_http._tcp.shop", "SRV"): ("0 5 8080 a.shop.",)})
        async with Upstream("shop", DnsTargets("_http._tcp.shop", resolver=zone)) as upstream:
            zone.records["_http._tcp.shop", "SRV"] = texts
            await world.sleep(31)
            assert addresses(upstream) == ["a.shop:8080"]

    (told,) = (event for event in run(scenario) if isinstance(event, DiscoveryFailed))
    assert told.reason == "DNS has no targets for _http._tcp.shop"


@pytest.mark.parametrize(
    "name",
    [
        "shop.internal",
        "10.0.0.1:80",
        "[::1]:80",
        "_http._udp.shop",
        "_tcp.shop",
        "shop:80/x",
        "",
        7,
    ],
    ids=repr,
)
def test_names_that_are_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="DnsTargets: name: expected a name such as"):
        DnsTargets(name)


def test_how_discoveries_look() -> None:
    assert repr(DnsTargets("shop:80")) == "DnsTargets('http://shop:80')"
    assert repr(DnsTargets("_http._tcp.shop")) == "DnsTargets('_http._tcp.shop')"
    assert repr(FileTargets("shop.targets")) == "FileTargets('shop.targets')"
    assert repr(Subset(3, client="me")) == "Subset(3, client='me')"


def test_without_dnspython_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "dns.asyncresolver", None)
    with pytest.raises(ConfigError, match=r"pip install 'escala\[dns\]'"):
        DnsTargets("shop:80")


# -- subsets


def test_an_upstream_keeps_to_its_subset() -> None:
    names = [f"10.0.0.{number}:80" for number in range(20)]
    seen: set[str] = set()
    for client in range(4):
        upstream = Upstream("shop", names, subset=Subset(5, client=client))
        assert len(upstream.targets) == 5
        seen |= set(addresses(upstream))
        again = Upstream("shop", names[::-1], subset=Subset(5, client=client))
        assert set(addresses(again)) == set(addresses(upstream)), "in whatever order they come"
        text = Upstream("shop", names, subset=Subset(5, client=str(client)))
        assert addresses(text) == addresses(upstream), "as a variable of the environment has it"
    assert len(seen) == 20
    upstream = Upstream("shop", names, subset=Subset(5, client=0))
    upstream.update(names[1:])
    assert len(upstream.targets) == 5


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"size": 0, "client": 1}, "size"),
        ({"size": 5, "client": -1}, "client"),
        ({"size": 5, "client": ""}, "client"),
    ],
    ids=["no size", "negative client", "no client"],
)
def test_wrong_subsets_are_refused(given: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=f"Subset: {field}: expected"):
        Subset(given["size"], client=given["client"])
