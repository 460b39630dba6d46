from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.probe_stack import GOOD, changed, load, refused

from escala.balancing import HealthCheck, LeastConnections, RoundRobin
from escala.gateway.balancer_entry import BalancerEntry
from escala.gateway.stack_file import load_stack, stack_of
from escala.http.limits import Limits
from escala.kernel import registry
from escala.kernel.policy import Scope

pytestmark = pytest.mark.usefixtures("plugins")


def test_reads_the_whole_file(tmp_path: Path) -> None:
    stack = load(tmp_path, GOOD)
    assert (stack.listen, stack.admin, stack.workers) == ("127.0.0.1:8080", "127.0.0.1:8081", 2)
    shop = stack.upstreams["shop"]
    assert [(target.url, target.weight) for target in shop.targets or ()] == [
        ("http://127.0.0.1:9001", 1),
        ("http://127.0.0.1:9002", 1),
        ("http://127.0.0.1:9003", 2),
    ]
    assert shop.balance == BalancerEntry("least_connections")
    assert shop.health is not None
    assert (shop.health.path, shop.health.interval, shop.health.timeout) == ("/health", 2.0, 0.4)
    assert (shop.health.fall, shop.health.rise) == (3, 2)
    (route,) = stack.routes
    assert (route.path, route.methods, route.upstream) == ("/api/", ("GET", "POST"), "shop")
    kinds = [(entry.name, entry.options) for entry in route.policies]
    again, keep, wait = (registry.policy(name).Options for name in ("again", "keep", "wait"))
    assert kinds == [
        ("keep", keep()),
        ("keep", keep(size=32 * 2**20)),
        ("keep", keep(size=1000)),
        ("again", again(attempts=4, budget=0.1, names=("a", "b"))),
        ("again", again()),
        ("wait", wait(after=1.0)),
    ]


def test_defaults(tmp_path: Path) -> None:
    text = "{listen: ':1', upstreams: {a: {targets: [b:2]}}, routes: [{path: /, upstream: a}]}"
    stack = load(tmp_path, text.replace("':1'", "localhost:1"))
    assert stack.admin is None
    assert stack.workers == 1
    assert stack.drain_timeout == 30.0
    assert stack.trusted_proxies == ()
    assert stack.explain is False
    upstream = stack.upstreams["a"]
    assert (upstream.balance.name, upstream.health) == ("round_robin", None)
    assert upstream.panic.given is False
    assert upstream.connect_timeout == 2.0
    assert upstream.connections.max_connections == 256
    assert upstream.connections.idle_timeout == 60.0
    route = stack.routes[0]
    assert (route.methods, route.host, route.policies) == ((), None, ())
    assert stack.limits.engine() == Limits(
        request_line=16 * 1024,
        header_size=64 * 1024,
        header_count=100,
        header_time=10.0,
        body_size=1024**3,
        body_window=10.0,
        write_stall=30.0,
        keepalive=75.0,
        replay=64 * 1024,
        connections=10_000,
    )


def test_limits_reach_the_engine(tmp_path: Path) -> None:
    limits = """
limits: {request_line: 1KiB, header_size: 2KiB, header_count: 3, header_timeout: 4s, body_size: 5kB,
  body_timeout: 6s, write_timeout: 8s, keepalive: 7s, replay: 0, connections: 9}
"""
    engine = load(tmp_path, GOOD + limits).limits.engine()
    assert (engine.request_line, engine.header_size, engine.header_count) == (1024, 2048, 3)
    assert (engine.header_time, engine.body_size, engine.body_window) == (4.0, 5000, 6.0)
    assert (engine.write_stall, engine.keepalive) == (8.0, 7.0)
    assert (engine.replay, engine.connections) == (0, 9)


def test_the_environment_lies_over_the_file(tmp_path: Path) -> None:
    stack = load(
        tmp_path,
        changed("127.0.0.1:9002", '"${SECOND:-10.0.0.2:80}"'),
        ESCALA__upstreams__shop__health__interval="1s",
        ESCALA__ROUTES__0__POLICIES__3__AGAIN__ATTEMPTS="9",
        ESCALA__routes__0__policies__5__wait="7s",
        ESCALA__workers="4",
    )
    health = stack.upstreams["shop"].health
    assert health is not None
    assert health.interval == 1.0
    assert (stack.upstreams["shop"].targets or ())[1].url == "http://10.0.0.2:80"
    assert stack.workers == 4
    policies = stack.routes[0].policies
    assert policies[3].plain() == {"again": {"attempts": 9, "budget": "10%", "names": ["a", "b"]}}
    assert policies[5].plain() == {"wait": {"after": "7s"}}


def test_the_environment_is_that_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.upper().startswith("ESCALA__")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ESCALA__workers", "7")
    file = tmp_path / "stack.yaml"
    file.write_text(GOOD)
    assert load_stack(file).workers == 7
    assert load_stack(file, {}).workers == 2


def test_an_unset_variable_in_a_policy(tmp_path: Path) -> None:
    text = changed("wait: 1s", "wait: ${PAUSE}")
    assert refused(tmp_path, text) == [
        (
            "stack.yaml:20:15: routes[0].policies[5].wait: "
            "expected the environment variable PAUSE to be set, found it unset"
        )
    ]
    assert load(tmp_path, text, PAUSE="3").routes[0].policies[5].plain() == {
        "wait": {"after": "3s"}
    }


def test_builds_policies_outermost_first(tmp_path: Path) -> None:
    (route,) = load(tmp_path, GOOD).routes
    scope = Scope(name="api", share=2)
    built: Any = route.stack(scope).policies
    assert [policy.kind for policy in built] == ["keep", "keep", "keep", "again", "again", "wait"]
    assert [policy.options for policy in built] == [entry.options for entry in route.policies]
    assert all(policy.scope is scope for policy in built)


def test_builds_upstreams(tmp_path: Path) -> None:
    config = load(tmp_path, changed("fall: 3,", "fall: 3, expect: 204,")).upstreams["shop"]
    upstream = config.build("shop")
    assert upstream.name == "shop"
    assert isinstance(upstream.balance, LeastConnections)
    assert [(target.address, target.weight) for target in upstream.targets] == [
        ("127.0.0.1:9001", 1),
        ("127.0.0.1:9002", 1),
        ("127.0.0.1:9003", 2),
    ]
    assert isinstance(upstream.health, HealthCheck)
    assert upstream.health.options == config.health
    assert upstream.panic is False


def test_builds_upstreams_without_a_health_check() -> None:
    stack = stack_of(
        {
            "listen": "a:1",
            "upstreams": {"u": {"targets": ["b:2"], "panic": True}},
            "routes": [{"path": "/", "upstream": "u"}],
        }
    )
    upstream = stack.upstreams["u"].build("u")
    assert upstream.health is None
    assert upstream.panic is True
    assert isinstance(upstream.balance, RoundRobin)


def test_routes_are_values(tmp_path: Path) -> None:
    first, second = load(tmp_path, GOOD), load(tmp_path, GOOD)
    assert first == second
    assert {first.routes[0]: 1}[second.routes[0]] == 1
    assert first.routes[0] != load(tmp_path, changed("wait: 1s", "wait: 2s")).routes[0]
    assert first.routes[0].policies[0] != "keep"
    assert (
        repr(first.routes[0].policies[5])
        == f"PolicyEntry('wait', {first.routes[0].policies[5].options!r})"
    )
