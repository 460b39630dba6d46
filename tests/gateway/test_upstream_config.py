"""Everything that `upstreams.<name>` may say, in YAML, JSON, Python source and the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from tests.gateway.probe_stack import load

from escala.balancing import (
    DnsTargets,
    FileTargets,
    OutlierDetection,
    PeakEwma,
    RoundRobin,
    Subset,
    Upstream,
)
from escala.balancing.grpc_probe import GrpcProbe
from escala.balancing.tcp_probe import tcp_probe
from escala.errors import BackendUnreachable, ConfigError
from escala.gateway.balancer_entry import BalancerEntry
from escala.gateway.hash_key import HashKey
from escala.gateway.stack_file import StackFile, load_stack, stack_of, stack_schema
from escala.gateway.targets import Targets
from escala.gateway.upstream_config import UpstreamConfig
from escala.http.message import HttpRequest
from escala.kernel.problem import Problem

FULL = """
listen: 127.0.0.1:8080
upstreams:
  shop:
    targets:
      - 10.0.0.1:80
      - {url: "10.0.0.2:80", weight: 2, zone: eu-1}
      - {url: "10.0.0.3:80", zone: eu-2, priority: 1}
    balance: {peak_ewma: {decay: 20s}}
    health: {kind: grpc, service: shop.Cart, interval: 1s}
    outliers: {in_a_row: 3, slower: 4, most: 30%}
    panic: 40%
    zone: eu-1
    slow_start: 30s
    subset: {size: 2, client: 1}
  files:
    discovery: {file: shop.targets}
    balance: consistent_hash
    hash_on: header:x-user
    health: {kind: tcp}
    outliers: {}
    panic: true
  names:
    discovery: {dns: {name: _http._tcp.shop.internal, interval: 5s}}
routes:
  - {path: /, upstream: shop}
  - {path: /files, upstream: files}
  - {path: /names, upstream: names}
"""


def full(tmp_path: Path) -> StackFile:
    return load(tmp_path, FULL)


def test_every_option_reaches_the_upstream(tmp_path: Path) -> None:
    stack = full(tmp_path)
    shop = stack.upstreams["shop"].build("shop")
    assert isinstance(shop.balance, PeakEwma)
    assert shop.balance.options == PeakEwma(decay="20s").options
    assert isinstance(shop.health and shop.health.probe, GrpcProbe)
    assert shop.outliers is not None
    assert shop.outliers.options == OutlierDetection(3, slower=4, most="30%").options
    assert shop.panic == 0.4
    assert shop._fleet.zone == "eu-1"
    assert shop.subset is not None
    assert shop.subset.options == Subset(2, client=1).options
    assert len(shop.targets) == 2
    assert {(each.weight, each.zone, each.priority) for each in shop.targets} < {
        *((1, "", 0), (2, "eu-1", 0), (1, "eu-2", 1)),
    }
    files = stack.upstreams["files"].build("files")
    assert isinstance(files.discovery, FileTargets)
    assert files.discovery.options.path == "shop.targets"
    assert files.panic is True
    assert files.health is not None
    assert files.health.probe is tcp_probe
    names = stack.upstreams["names"].build("names")
    assert isinstance(names.discovery, DnsTargets)
    assert names.discovery.options.interval == 5.0
    assert names.panic is False
    assert isinstance(names.balance, RoundRobin)


def test_json_and_the_schema_know_it_all(tmp_path: Path) -> None:
    stack = full(tmp_path)
    written = stack.to_json()
    assert stack_of(json.loads(written)) == stack
    assert load(tmp_path, written) == stack
    told = json.loads(written)["upstreams"]
    assert told["shop"]["balance"] == {"peak_ewma": {"decay": "20s"}}
    assert told["shop"]["panic"] == "40%"
    assert told["files"]["balance"] == "consistent_hash"
    assert told["files"]["panic"] == "true"
    assert told["files"]["discovery"] == {
        "file": {"path": "shop.targets", "interval": "1s"},
        "dns": None,
    }
    validator = Draft202012Validator(stack_schema())
    validator.validate(yaml.safe_load(FULL))
    validator.validate(json.loads(written))
    for old, new in (
        ("kind: tcp", "kind: icmp"),
        ("panic: 40%", "panic: often"),
        ("{file: shop.targets}", "{files: shop.targets}"),
        ("hash_on: header:x-user", "hash_on: user"),
        ("{decay: 20s}", "{decoy: 20s}"),
        ("balance: consistent_hash", "balance: consistent"),
        ("priority: 1", "priority: -1"),
    ):
        assert not validator.is_valid(yaml.safe_load(FULL.replace(old, new))), new


def test_python_source_makes_the_same_upstreams(tmp_path: Path) -> None:
    text = full(tmp_path).to_python()
    assert text.startswith(
        """\
from escala import HealthCheck, OutlierDetection, PeakEwma, Stack, Upstream
from escala.balancing import DnsTargets, FileTargets, Subset, Target

shop = Upstream(
    "shop",
    [
        "http://10.0.0.1:80",
        Target("http://10.0.0.2:80", weight=2, zone="eu-1"),
        Target("http://10.0.0.3:80", zone="eu-2", priority=1),
    ],
    balance=PeakEwma(decay="20s"),
    health=HealthCheck(interval="1s", kind="grpc", service="shop.Cart"),
    outliers=OutlierDetection(3, slower=4.0, most="30%"),
    panic="40%",
    zone="eu-1",
    slow_start="30s",
    subset=Subset(2, client=1),
)

files = Upstream(
    "files",
    FileTargets("shop.targets"),
    balance="consistent_hash",
    health=HealthCheck(kind="tcp"),
    outliers=OutlierDetection(),
    panic=True,
)

names = Upstream(
    "names",
    DnsTargets("_http._tcp.shop.internal", interval="5s"),
)
"""
    )
    made: dict[str, Any] = {}
    exec(text, made)  # noqa: S102  our own source
    for name, config in full(tmp_path).upstreams.items():
        ours, theirs = made[name], config.build(name)
        assert isinstance(ours, Upstream)
        assert [repr(target) for target in ours.targets] == [
            repr(target) for target in theirs.targets
        ]
        for part in ("balance", "health", "outliers", "subset", "discovery", "panic"):
            assert repr(getattr(ours, part)) == repr(getattr(theirs, part))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "{peak_ewma: {decay: 20s}}",
            "{peak_ewma: {decay: soon}}",
            "upstreams.shop.balance.peak_ewma.decay: expected a duration",
        ),
        (
            "{peak_ewma: {decay: 20s}}",
            "{peak_ewm: {decay: 20s}}",
            "upstreams.shop.balance.peak_ewm: expected one of the balancers",
        ),
        (
            "{peak_ewma: {decay: 20s}}",
            "{p2c: , round_robin: }",
            "or one 'name: options', found a mapping of 2",
        ),
        (
            "{peak_ewma: {decay: 20s}}",
            "7",
            "upstreams.shop.balance: expected a balancer such as",
        ),
        (
            "{kind: tcp}",
            "{kind: tcp, path: /up}",
            "upstreams.files.health: expected no 'path' for checks of the kind 'tcp'",
        ),
        (
            "{kind: tcp}",
            "{service: shop}",
            "upstreams.files.health: expected no 'service' for checks of the kind 'http'",
        ),
        (
            "{file: shop.targets}",
            "{file: shop.targets, dns: shop:80}",
            "upstreams.files.discovery: expected either 'file' or 'dns'",
        ),
        ("{file: shop.targets}", "{}", "upstreams.files.discovery: expected either 'file' or"),
        (
            "    discovery: {file: shop.targets}\n",
            "",
            "upstreams.files: expected the field 'targets' or 'discovery', found neither",
        ),
        (
            "    discovery: {file: shop.targets}\n",
            "    discovery: {file: shop.targets}\n    targets: [a:1]\n",
            "upstreams.files.discovery: expected no 'discovery' beside 'targets'",
        ),
        (
            "hash_on: header:x-user",
            "hash_on: user",
            "upstreams.files.hash_on: expected client_ip, host, path, method, 'header:<name>'",
        ),
        ("panic: 40%", "panic: 140%", "upstreams.shop.panic: expected true, false or a share"),
        ("slow_start: 30s", "slow_start: 0", "upstreams.shop.slow_start: expected a duration"),
    ],
    ids=[f"case{number}" for number in range(13)],
)
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    assert old in FULL
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, FULL.replace(old, new))
    (told,) = refused.value.problems
    assert problem in told
    assert "stack.yaml:" in told


def test_what_is_odd_is_told_as_well(tmp_path: Path) -> None:
    path = tmp_path / "stack.yaml"
    text = FULL.replace("    hash_on: header:x-user\n", "").replace(
        "zone: eu-1\n    s", "zone: x\n    s"
    )
    path.write_text(text)
    told: list[Problem] = []
    load_stack(path, {}, warn=told.append)
    assert [str(problem).partition(": ")[2] for problem in told] == [
        "upstreams.shop.zone: none of the targets is in the zone 'x'",
        "upstreams.files.balance: without hash_on no request has a key to be placed by",
    ]


def test_a_key_that_no_one_looks_at_is_odd(tmp_path: Path) -> None:
    path = tmp_path / "stack.yaml"
    path.write_text(
        "listen: 127.0.0.1:8080\n"
        "upstreams: {shop: {targets: [a:1], hash_on: path}}\n"
        "routes: [{path: /, upstream: shop}]\n"
    )
    told: list[Problem] = []
    load_stack(path, {}, warn=told.append)
    assert [str(problem).partition(": ")[2] for problem in told] == [
        "upstreams.shop.hash_on: the balancer 'round_robin' looks at no key"
    ]


def test_weights_that_no_ring_can_hold_are_refused_by_the_file(tmp_path: Path) -> None:
    text = (
        "listen: 127.0.0.1:8080\n"
        "upstreams:\n"
        "  shop:\n"
        "    targets: [a:1, {url: 'b:1', weight: 100000}]\n"
        "    balance: consistent_hash\n"
        "    hash_on: path\n"
        "routes: [{path: /, upstream: shop}]\n"
    )
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, text)
    (told,) = refused.value.problems
    assert "upstreams.shop.balance: expected vnodes times weights to be at most" in told


def test_entries_are_values() -> None:
    one, other = BalancerEntry("peak_ewma"), BalancerEntry("peak_ewma", PeakEwma().options)
    assert one == other
    assert hash(one) == hash(other)
    assert one != BalancerEntry("round_robin")
    assert one != "peak_ewma"
    assert repr(BalancerEntry("round_robin")).startswith("BalancerEntry('round_robin', ")
    assert UpstreamConfig().balance.build().kind == "round_robin"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("client_ip", "10.1.2.3"),
        ("path", "/a"),
        ("host", "shop.example"),
        ("header:X-User", "ann"),
        ("header:x-none", None),
        ("cookie:session", "s1"),
        ("cookie:theme", "dark=1"),
        ("cookie:other", "2"),
        ("cookie:none", None),
    ],
)
def test_a_hash_key_is_found_in_the_request(key: str, expected: str | None) -> None:
    request = HttpRequest(
        "GET",
        b"/a?b=c",
        [
            (b"x-user", b"ann"),
            (b"cookie", b"sessionx=0; session=s1;theme=dark=1; session=s2; bare"),
            (b"cookie", b"other=2"),
        ],
        host=b"shop.example",
        peer="10.1.2.3",
    )
    assert HashKey(key).of(request) == expected


def test_a_target_with_tls_that_was_discovered_is_out_of_reach() -> None:
    upstream = Upstream("shop", ["https://shop.example"])
    targets = Targets(upstream, limit=1, idle=1.0, connect=1.0)
    with pytest.raises(
        BackendUnreachable, match=r"https://shop\.example:443: the gateway speaks no"
    ):
        targets._pool(upstream.targets[0])
