from __future__ import annotations

from pathlib import Path

import pytest
from tests.gateway.probe_stack import GOOD, changed, load, refused

from escala.errors import ConfigError
from escala.gateway.stack_file import stack_of
from escala.kernel.problem import Problem

pytestmark = pytest.mark.usefixtures("plugins")


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


def test_rules_hold_for_what_could_be_read(tmp_path: Path) -> None:
    text = """
listen: a:1
upstreams: {u: {targets: [b:2, b:2]}}
routes: [{path: /a, upstream: u, policies: 3}, {path: /a, upstream: u}, {path: /a}]
"""
    assert [line.split(" expected")[0] for line in refused(tmp_path, text)] == [
        "stack.yaml:3:32: upstreams.u.targets[1]:",
        "stack.yaml:4:44: routes[0].policies:",
        "stack.yaml:4:48: routes[1]:",
        "stack.yaml:4:73: routes[2]:",
        "stack.yaml:4:73: routes[2]:",
    ]


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
