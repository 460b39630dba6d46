from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from tests.kernel.plugin_package import forget, install

from escala.balancing import HealthCheck, LeastConnections, RoundRobin, Upstream
from escala.errors import ConfigError
from escala.gateway.stack_file import StackFile, load_stack, stack_of, stack_schema
from escala.http.limits import Limits
from escala.kernel import registry
from escala.kernel.policy import Scope
from escala.kernel.problem import Problem
from escala.kernel.stack import Stack

PLUGIN = '''
from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, structs

from escala.kernel.config import options
from escala.kernel.policy import Policy
from escala.kernel.units import PositiveDuration, PositiveSize, Share


class Probe(Policy):
    def __init__(self, **given):
        self.options = options(self.Options, given, where=type(self).__name__)

    @classmethod
    def build(cls, options, scope):
        made = cls(**structs.asdict(options))
        made.scope = scope
        return made

    async def around(self, call, runtime):
        return await call()


class Again(Probe):
    kind = "again"

    class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How often."""

        attempts: Annotated[int, Meta(ge=1)] = 3
        """How many tries."""
        budget: Share | None = Share("20%")
        names: tuple[str, ...] = ()

        def __post_init__(self):
            if self.attempts == 13:
                raise ValueError("expected another number of attempts, found 13")


class Wait(Probe):
    kind = "wait"
    shorthand = "after"

    class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        after: PositiveDuration

    def __init__(self, after, **given):
        super().__init__(after=after, **given)


class Keep(Probe):
    kind = "keep"
    shorthand = "size"

    class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        size: PositiveSize = PositiveSize("64MiB")

    def __init__(self, *, size="64MiB"):
        super().__init__(size=size)
'''

GOOD = """
listen: 127.0.0.1:8080
admin: 127.0.0.1:8081          # metrics and status
workers: 2
upstreams:
  shop:
    targets: [127.0.0.1:9001, 127.0.0.1:9002, {url: "http://127.0.0.1:9003", weight: 2}]
    balance: least_connections
    health: {path: /health, interval: 2s, timeout: 400ms, fall: 3, rise: 2}
routes:
  - path: /api/
    methods: [GET, POST]
    upstream: shop
    policies:                  # outermost first
      - keep
      - keep: {size: 32MiB}
      - keep: 1kB
      - again: {attempts: 4, budget: 10%, names: [a, b]}
      - again:
      - wait: 1s
"""


@pytest.fixture(autouse=True)
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    forget(())
    install(
        monkeypatch,
        tmp_path,
        "probe-package",
        points={
            registry.POLICIES: {
                "again": "probe_module:Again",
                "wait": "probe_module:Wait",
                "keep": "probe_module:Keep",
            }
        },
        modules={"probe_module": PLUGIN},
    )
    yield
    forget(("probe_module",))


@pytest.fixture
def only_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema and the lists in errors name the test's own policies only."""
    points = registry._points(registry.POLICIES)
    mine = tuple(point for point in points if point.value.startswith("probe_module"))
    found = registry._points

    def points_of(group: str) -> Any:
        return mine if group == registry.POLICIES else found(group)

    points_of.cache_clear = found.cache_clear  # type: ignore[attr-defined]
    monkeypatch.setattr(registry, "_points", points_of)


def load(
    tmp_path: Path, text: str, *, warnings: list[Problem] | None = None, **environ: str
) -> StackFile:
    file = tmp_path / "stack.yaml"
    file.write_text(text)
    return load_stack(file, environ, warn=None if warnings is None else warnings.append)


def refused(tmp_path: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, warnings=None, **environ)
    return [line.removeprefix(f"{tmp_path}/") for line in caught.value.problems]


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def test_reads_the_whole_file(tmp_path: Path) -> None:
    stack = load(tmp_path, GOOD)
    assert (stack.listen, stack.admin, stack.workers) == ("127.0.0.1:8080", "127.0.0.1:8081", 2)
    shop = stack.upstreams["shop"]
    assert [(target.url, target.weight) for target in shop.targets] == [
        ("http://127.0.0.1:9001", 1),
        ("http://127.0.0.1:9002", 1),
        ("http://127.0.0.1:9003", 2),
    ]
    assert shop.balance == "least_connections"
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
    assert (upstream.balance, upstream.health, upstream.panic) == ("round_robin", None, False)
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


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("listen: 127.0.0.1:8080\n", "", "2:1: expected the field 'listen', found none"),
        (
            "listen: 127.0.0.1:8080",
            "listen: 127.0.0.1",
            (
                "2:9: listen: expected an address such as '127.0.0.1:8080' or '[::1]:8080', "
                "found '127.0.0.1'"
            ),
        ),
        (
            "workers: 2",
            "workers: three",
            "4:10: workers: expected an integer from 1 to 1024, found 'three'",
        ),
        ("workers: 2", "workers: 0", "4:10: workers: expected an integer from 1 to 1024, found 0"),
        (
            "workers: 2",
            "worker: 2",
            (
                "4:1: worker: expected one of the fields admin, drain_timeout, explain, limits, "
                "listen, routes, trusted_proxies, upstreams, workers; found 'worker' "
                "(did you mean 'workers'?)"
            ),
        ),
        (
            "admin: 127.0.0.1:8081",
            "admin: localhost:8080",
            "3:8: admin: expected another address than listen, found 'localhost:8080'",
        ),
        (
            "balance: least_connections",
            "balance: luck",
            (
                "8:14: upstreams.shop.balance: expected one of the balancers least_connections, "
                "round_robin; found 'luck'"
            ),
        ),
        (
            "interval: 2s",
            "interval: 2 parsecs",
            (
                "9:39: upstreams.shop.health.interval: expected a duration above zero such as "
                "'250ms', '2s' or '5m'; found '2 parsecs'"
            ),
        ),
        (
            "127.0.0.1:9002",
            "127.0.0.1:9001",
            (
                "7:31: upstreams.shop.targets[1]: expected each target once, "
                "found 'http://127.0.0.1:9001' again (first in upstreams.shop.targets[0])"
            ),
        ),
        (
            "127.0.0.1:9002",
            "127.0.0.1:8081",
            (
                "7:31: upstreams.shop.targets[1]: expected a service behind the gateway, "
                "found its own admin"
            ),
        ),
        (
            "http://127.0.0.1:9003",
            "https://127.0.0.1:9003",
            (
                "7:47: upstreams.shop.targets[2]: expected http, since the gateway speaks no TLS "
                "to targets, found 'https://127.0.0.1:9003'"
            ),
        ),
        (
            "127.0.0.1:9002",
            "shop",
            (
                "7:31: upstreams.shop.targets[1]: expected an address such as '127.0.0.1:9001' or "
                "'http://shop.internal:9001', found 'shop'"
            ),
        ),
        (
            'targets: [127.0.0.1:9001, 127.0.0.1:9002, {url: "http://127.0.0.1:9003", weight: 2}]',
            "targets: []",
            "7:14: upstreams.shop.targets: expected 1 to 1000 items, found 0",
        ),
        (
            "path: /api/",
            "path: api/",
            (
                "11:11: routes[0].path: expected a path that begins with '/' and has no '?', '#' "
                "or blank; found 'api/'"
            ),
        ),
        (
            "[GET, POST]",
            "[GET, post]",
            (
                "12:20: routes[0].methods[1]: expected a method in capitals such as 'GET', "
                "found 'post'"
            ),
        ),
        (
            "upstream: shop",
            "upstream: shp",
            (
                "13:15: routes[0].upstream: expected one of the upstreams shop; found 'shp' "
                "(did you mean 'shop'?)"
            ),
        ),
        (
            "attempts: 4",
            "attempts: three",
            "18:27: routes[0].policies[3].again.attempts: expected an integer >= 1, found 'three'",
        ),
        (
            "attempts: 4",
            "atempts: 4",
            (
                "18:17: routes[0].policies[3].again.atempts: expected one of the fields attempts, "
                "budget, names; found 'atempts' (did you mean 'attempts'?)"
            ),
        ),
        (
            "attempts: 4",
            "attempts: 13",
            "18:16: routes[0].policies[3].again: expected another number of attempts, found 13",
        ),
        (
            "wait: 1s",
            "wait: soon",
            (
                "20:15: routes[0].policies[5].wait: expected a duration above zero such as "
                "'250ms', '2s' or '5m'; found 'soon'"
            ),
        ),
        (
            "- wait: 1s",
            "- wait",
            "20:9: routes[0].policies[5].wait: expected the field 'after', found none",
        ),
        (
            "- wait: 1s",
            "- {wait: 1s, keep: 1kB}",
            (
                "20:9: routes[0].policies[5]: expected a policy such as 'cache' or one "
                "'name: options', found a mapping of 2"
            ),
        ),
        (
            "- wait: 1s",
            "- 3",
            (
                "20:9: routes[0].policies[5]: expected a policy such as 'cache' or one "
                "'name: options', found 3"
            ),
        ),
        (
            "- again:\n",
            "- again: [3]\n",
            "19:16: routes[0].policies[4].again: expected a mapping, found a list",
        ),
        (
            "- again:\n",
            "- again: 3\n",
            "19:16: routes[0].policies[4].again: expected a mapping, found 3",
        ),
    ],
)
def test_says_where_and_what_is_wrong(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert refused(tmp_path, changed(old, new)) == [f"stack.yaml:{problem}"]


@pytest.mark.usefixtures("only_plugins")
def test_an_unknown_policy_is_met_with_the_known_ones(tmp_path: Path) -> None:
    assert refused(tmp_path, changed("- wait: 1s", "- wat: 1s\n      - kep")) == [
        (
            "stack.yaml:20:9: routes[0].policies[5].wat: expected one of the policies again, keep, "
            "wait; found 'wat' (did you mean 'wait'?)"
        ),
        (
            "stack.yaml:21:9: routes[0].policies[6].kep: expected one of the policies again, keep, "
            "wait; found 'kep' (did you mean 'keep'?)"
        ),
    ]


def test_reports_everything_at_once(tmp_path: Path) -> None:
    text = """
listen: 0.0.0.0:80
admin: 127.0.0.1:80
workers: many
upstreams:
  one: {targets: [a:1, a:1, b], balance: luck}
  two: 3
  three: {targets: [127.0.0.1:80]}
routes:
  - {path: /, upstream: on, policies: [{wait: 0}]}
  - {path: x, upstream: nine}
  - {path: /a, upstream: one, methods: [GET, PUT]}
  - {path: /a, upstream: one, methods: [PUT, DELETE]}
  - 7
limits: {body_size: lots}
"""
    lines = refused(tmp_path, text, ESCALA__drain_timeout="-1s")
    assert [line.split(": expected")[0] for line in lines] == [
        "ESCALA__drain_timeout: drain_timeout",
        "stack.yaml:3:8: admin",
        "stack.yaml:4:10: workers",
        "stack.yaml:6:24: upstreams.one.targets[1]",
        "stack.yaml:6:29: upstreams.one.targets[2]",
        "stack.yaml:6:42: upstreams.one.balance",
        "stack.yaml:7:8: upstreams.two",
        "stack.yaml:8:21: upstreams.three.targets[0]",
        "stack.yaml:8:21: upstreams.three.targets[0]",
        "stack.yaml:10:25: routes[0].upstream",
        "stack.yaml:10:47: routes[0].policies[0].wait",
        "stack.yaml:11:12: routes[1].path",
        "stack.yaml:11:25: routes[1].upstream",
        "stack.yaml:13:5: routes[3]",
        "stack.yaml:14:5: routes[4]",
        "stack.yaml:15:21: limits.body_size",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "stack.yaml: expected a mapping, found nothing"),
        ("3", "stack.yaml:1:1: expected a mapping, found 3"),
        ("[]", "stack.yaml:1:1: expected a mapping, found an empty list"),
        (
            "a: [",
            (
                "stack.yaml:2:1: expected YAML, found an error in it: "
                "did not find expected node content"
            ),
        ),
    ],
)
def test_a_file_of_something_else(tmp_path: Path, text: str, problem: str) -> None:
    assert refused(tmp_path, text) == [problem]


def test_empty_parts(tmp_path: Path) -> None:
    text = "listen: a:1\nupstreams: {}\nroutes: []\n"
    assert refused(tmp_path, text) == [
        "stack.yaml:2:12: upstreams: expected 1 to 1000 items, found 0",
        "stack.yaml:3:9: routes: expected 1 to 1000 items, found 0",
    ]
    assert refused(tmp_path, "listen: a:1\nupstreams:\nroutes: [{}]") == [
        "stack.yaml:2:11: upstreams: expected a mapping, found nothing",
        "stack.yaml:3:10: routes[0]: expected the field 'path', found none",
        "stack.yaml:3:10: routes[0]: expected the field 'upstream', found none",
    ]


ROUTES = "{{listen: 'a:1', upstreams: {{u: {{targets: ['b:2']}}}}, routes: [{}, {}]}}"


@pytest.mark.parametrize(
    ("first", "second", "which"),
    [
        ("path: /a", "path: /a", "/a and all methods"),
        ("path: /a, methods: [GET, PUT]", "path: /a, methods: [PUT, GET]", "/a and GET, PUT"),
        ("path: /a, methods: [GET, PUT]", "path: /a, methods: [PUT, DELETE]", "/a and PUT"),
        ("path: /a, host: X.y", "path: /a, host: x.Y", "/a and all methods"),
        ("path: /a", "path: /b", None),
        ("path: /a", "path: /a/", None),
        ("path: /a, host: x", "path: /a", None),
        ("path: /a, host: x", "path: /a, host: y", None),
        ("path: /a, methods: [GET]", "path: /a, methods: [PUT]", None),
        ("path: /a, methods: [GET]", "path: /a", None),
    ],
)
def test_duplicate_routes(tmp_path: Path, first: str, second: str, which: str | None) -> None:
    text = ROUTES.format(f"{{{first}, upstream: u}}", f"{{{second}, upstream: u}}")
    if which is None:
        assert len(load(tmp_path, text).routes) == 2
    else:
        (problem,) = refused(tmp_path, text)
        assert problem.endswith(
            f": routes[1]: expected one route for {which}, found routes[0] as well"
        )


@pytest.mark.parametrize(
    ("listen", "admin", "clash"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("localhost:80", "127.0.0.1:80", True),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("10.0.0.1:80", "'[::]:80'", True),
        ("Host:80", "host:80", True),
        ("'[::1]:80'", "'[0:0::1]:80'", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
    ],
)
def test_two_listeners_need_two_addresses(
    tmp_path: Path, listen: str, admin: str, clash: bool
) -> None:
    text = changed("listen: 127.0.0.1:8080", f"listen: {listen}")
    text = text.replace("admin: 127.0.0.1:8081", f"admin: {admin}")
    if clash:
        (problem,) = refused(tmp_path, text)
        assert ": admin: expected another address than listen, found" in problem
    else:
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("listen", "target", "own"),
    [
        ("127.0.0.1:9001", "127.0.0.1:9001", True),
        ("127.0.0.1:9001", "localhost:9001", True),
        ("0.0.0.0:9001", "127.0.0.1:9001", True),
        ("0.0.0.0:9001", "127.0.0.9:9001", True),
        ("'[::]:9001'", "'[::1]:9001'", True),
        ("0.0.0.0:9001", "0.0.0.0:9001", True),
        ("0.0.0.0:9001", "10.0.0.7:9001", False),
        ("0.0.0.0:9001", "shop:9001", False),
        ("127.0.0.1:9001", "127.0.0.2:9001", False),
        ("127.0.0.1:9002", "127.0.0.1:9001", False),
    ],
)
def test_the_gateway_is_no_target_of_its_own(
    tmp_path: Path, listen: str, target: str, own: bool
) -> None:
    text = f"""
listen: {listen}
upstreams: {{u: {{targets: [{target}]}}}}
routes: [{{path: /, upstream: u}}]
"""
    if own:
        assert refused(tmp_path, text)[0].endswith(
            "upstreams.u.targets[0]: expected a service behind the gateway, found its own listen"
        )
    else:
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (
            "listen",
            ["a:1", "a.b-c.d_e:65535", "[::1]:0", "10.0.0.1:80", "_x:1"],
            ["", ":80", "a", "a:", "a:65536", "a:-1", "a:b", "1.2.3:80", "1.2.3.999:80", "[::1]",
             "[:::1]:80", "::1:80", "http://a:80", "a:80/", "a b:80", "-a:80", "a-.b:80", "a..b:80",
             f"{'a' * 64}:80", f"{'a.' * 130}a:80", "[127.0.0.1]:x", 80, None, "a:٣"],
        ),
        (
            "trusted_proxies",
            [["10.0.0.0/8"], ["::1", "192.168.1.1"], []],
            [["10.0.0.0/33"], ["10.0.0"], ["shop"], [3], ["10.0.0.0/8/8"], "10.0.0.0/8"],
        ),
        ("drain_timeout", ["1s", 5], ["0s", 0, None, "1 s"]),
        ("explain", [True, False], ["yes", 1]),
        ("workers", [1, 1024], [0, 1025, 1.5, "2", True]),
    ],
)  # fmt: skip
def test_what_a_field_takes(field: str, good: list[object], bad: list[object]) -> None:
    stack: dict[str, object] = {
        "listen": "127.0.0.1:8080",
        "upstreams": {"u": {"targets": ["b:2"]}},
        "routes": [{"path": "/", "upstream": "u"}],
    }
    for value in good:
        stack_of({**stack, field: value})
    for value in bad:
        with pytest.raises(ConfigError, match=rf"^stack: {field}"):
            stack_of({**stack, field: value})


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("path", ["/", "/a/b%20c", "/~x/", '/"']
         , ["", "a", "/a b", "/a?b", "/a#b", "/ä", "/a\n", 3]),
        ("host", ["shop", "Shop.Example", "a-b.c", "10.0.0.1"],
         ["", "a:80", "a b", "http://a", "-a", "a-", "*.a"]),
        ("methods", [[], ["GET"], ["M-SEARCH"]], [["get"], ["GET "], [""], ["G3T"], "GET", [1]]),
        ("upstream", ["u"], ["", "u ", "u\n", 3, None, "x/y"]),
    ],
)  # fmt: skip
def test_what_a_route_takes(field: str, good: list[object], bad: list[object]) -> None:
    route: dict[str, object] = {"path": "/", "upstream": "u"}
    stack = {"listen": "127.0.0.1:8080", "upstreams": {"u": {"targets": ["b:2"]}}}
    for value in good:
        stack_of({**stack, "routes": [{**route, field: value}]})
    for value in bad:
        with pytest.raises(ConfigError, match=rf"^stack: routes\[0\]\.{field}"):
            stack_of({**stack, "routes": [{**route, field: value}]})


def test_names_of_upstreams_fit_metrics_and_variables(tmp_path: Path) -> None:
    (first, second) = refused(tmp_path, changed("  shop:", '  "my shop":'))
    assert first == (
        "stack.yaml:6:3: upstreams['my shop']: expected a name of letters, digits, '-', '_' and "
        "'.'; found 'my shop'"
    )
    assert second.startswith("stack.yaml:13:15: routes[0].upstream: expected one of the upstreams")


def test_hosts_have_no_case(tmp_path: Path) -> None:
    stack = load(tmp_path, changed("  - path: /api/", "  - path: /api/\n    host: Shop.Example"))
    assert stack.routes[0].host == "shop.example"


def test_networks_are_masked(tmp_path: Path) -> None:
    stack = load(tmp_path, GOOD + "trusted_proxies: [10.1.2.3/8, '::1']\n")
    assert stack.trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert stack.trusted_proxies[0].network.num_addresses == 2**24


def test_an_unused_upstream_is_a_warning(tmp_path: Path) -> None:
    warnings: list[Problem] = []
    load(tmp_path, changed("routes:", "  spare: {targets: [a:1]}\nroutes:"), warnings=warnings)
    assert [str(warning).removeprefix(f"{tmp_path}/") for warning in warnings] == [
        "stack.yaml:10:3: upstreams.spare: no route uses this upstream"
    ]
    warnings.clear()
    load(tmp_path, GOOD, warnings=warnings)
    assert warnings == []


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
    assert stack.upstreams["shop"].targets[1].url == "http://10.0.0.2:80"
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


def test_json_reads_back_as_the_same(tmp_path: Path) -> None:
    stack = load(tmp_path, GOOD + "trusted_proxies: [10.0.0.0/8]\nlimits: {replay: 1kB}\n")
    text = stack.to_json()
    assert load(tmp_path, text) == stack
    assert stack_of(json.loads(text)) == stack
    written = json.loads(text)
    assert written["limits"]["replay"] == "1kB"
    assert written["drain_timeout"] == "30s"
    assert written["upstreams"]["shop"]["health"]["timeout"] == "400ms"
    assert written["routes"][0]["policies"] == [
        "keep",
        {"keep": {"size": "32MiB"}},
        {"keep": {"size": "1kB"}},
        {"again": {"attempts": 4, "budget": "10%", "names": ["a", "b"]}},
        "again",
        {"wait": {"after": "1s"}},
    ]


def test_python_source_names_only_what_differs(tmp_path: Path) -> None:
    assert (
        load(tmp_path, GOOD).to_python()
        == """\
from escala import HealthCheck, Stack, Upstream
from escala.balancing import Target
from probe_module import Again, Keep, Wait

shop = Upstream(
    "shop",
    [
        "http://127.0.0.1:9001",
        "http://127.0.0.1:9002",
        Target("http://127.0.0.1:9003", weight=2),
    ],
    balance="least_connections",
    health=HealthCheck(timeout="400ms", fall=3),
)

# GET POST /api/ -> shop
api = Stack(
    Keep(),
    Keep(size="32MiB"),
    Keep(size="1kB"),
    Again(attempts=4, budget="10%", names=["a", "b"]),
    Again(),
    Wait("1s"),
)
"""
    )


def test_python_source_makes_the_same_objects(tmp_path: Path) -> None:
    text = """
listen: 127.0.0.1:1
upstreams:
  api: {targets: [a:1], panic: true}
  "2": {targets: [a:2], health: /up}
routes:
  - {path: /, upstream: api, policies: [again: {budget: }]}
  - {path: /api, host: x.y, upstream: "2", policies: [wait: 90]}
  - {path: /class, upstream: "2"}
"""
    stack = load(tmp_path, text)
    made: dict[str, Any] = {}
    exec(stack.to_python(), made)  # noqa: S102  our own source
    upstreams = {name: each for name, each in made.items() if isinstance(each, Upstream)}
    stacks = {name: each for name, each in made.items() if isinstance(each, Stack)}
    assert list(upstreams) == ["api", "the_2"]
    assert (upstreams["api"].name, upstreams["api"].panic) == ("api", True)
    assert upstreams["the_2"].health is not None
    assert upstreams["the_2"].health.options.path == "/up"
    assert list(stacks) == ["everything", "api_2", "the_class"]
    for name, route in zip(stacks, stack.routes, strict=True):
        policies: Any = stacks[name].policies
        assert [policy.options for policy in policies] == [
            entry.options for entry in route.policies
        ]


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


@pytest.mark.usefixtures("only_plugins")
def test_the_schema_knows_good_from_bad(tmp_path: Path) -> None:
    schema = stack_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert schema["title"] == "stack.yaml of Escala"
    validator.validate(yaml.safe_load(GOOD))
    validator.validate(json.loads(load(tmp_path, GOOD).to_json()))
    good = [
        ("workers: 2", "workers: ${WORKERS}"),
        ("wait: 1s", "wait: {after: 2}"),
        ("wait: 1s", 'wait: "${PAUSE:-1s}"'),
        ("- again:\n", "- again: {}\n"),
        ("health: {path: /health,", "health: {"),
    ]
    for old, new in good:
        validator.validate(yaml.safe_load(changed(old, new)))
    bad = [
        ("listen: 127.0.0.1:8080", "listen: 127.0.0.1"),
        ("workers: 2", "workers: 0"),
        ("workers: 2", "worker: 2"),
        ("wait: 1s", "wait: soon"),
        ("- wait: 1s", "- wait"),
        ("- wait: 1s", "- wait:"),
        ("- wait: 1s", "- {wait: 1s, keep: 1kB}"),
        ("- wait: 1s", "- nothing"),
        ("- wait: 1s", "- nothing: 1s"),
        ("attempts: 4", "attempts: 0"),
        ("attempts: 4", "atempts: 4"),
        ("balance: least_connections", "balance: luck"),
        ("path: /api/", "path: api/"),
        ("[GET, POST]", "[get]"),
        ("  shop:", '  "my shop":'),
        ("upstream: shop", "upstreem: shop"),
    ]
    for old, new in bad:
        assert not validator.is_valid(yaml.safe_load(changed(old, new))), new


@pytest.mark.usefixtures("only_plugins")
def test_the_schema_describes_fields() -> None:
    definitions = stack_schema()["$defs"]
    for name, definition in definitions.items():
        if name.startswith(("Wait", "Keep", "Again", "variable")):
            continue
        assert definition["description"], name
        whole = definition.get("anyOf", [definition])[0]
        for field, written in whole["properties"].items():
            assert written.get("description"), f"{name}.{field}"
    assert definitions["StackFile"]["properties"]["drain_timeout"]["default"] == "30s"


def test_every_installed_policy_is_in_the_schema() -> None:
    names = set(registry.names(registry.POLICIES))
    assert {
        "retry",
        "circuit_breaker",
        "bulkhead",
        "timeout",
        "deadline",
        "rate_limit",
        "cache",
    } < (names)
