from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.gateway.pure.router import Entry, Miss, Router

ROUTES = [
    (None, "/", None, "root"),
    (None, "/api", None, "api"),
    (None, "/api/", ["GET"], "api read"),
    (None, "/api/orders", ["POST"], "orders"),
    ("shop.example", "/", ["GET"], "shop"),
    ("shop.example", "/api", None, "shop api"),
]


def router(routes: Sequence[tuple[str | None, str, list[str] | None, str]]) -> Router[str]:
    return Router(
        Entry(host, path, None if methods is None else frozenset(methods), name)
        for host, path, methods, name in routes
    )


@pytest.mark.parametrize(
    ("method", "host", "path", "expected"),
    [
        ("GET", "a", "/", "root"),
        ("GET", "a", "/x", "root"),
        ("GET", "a", "/apix", "root"),
        ("GET", "a", "/api", "api"),
        ("GET", "a", "/api/x", "api read"),
        ("POST", "a", "/api/x", "api"),
        ("POST", "a", "/api/orders", "orders"),
        ("POST", "a", "/api/orders/7", "orders"),
        ("GET", "a", "/api/orders", "api read"),
        ("GET", "a", "/api/orders7", "api read"),
        ("GET", "shop.example", "/x", "shop"),
        ("GET", "SHOP.example:8080", "/x", "shop"),
        ("POST", "shop.example", "/x", "root"),
        ("POST", "shop.example", "/api/orders", "shop api"),
        ("GET", "other.example", "/api", "api"),
    ],
)
def test_the_most_specific_route_wins(method: str, host: str, path: str, expected: str) -> None:
    assert router(ROUTES).find(method, host.encode(), path.encode()) == expected


def test_a_miss_names_the_methods_that_the_path_has() -> None:
    table = router([(None, "/a", ["GET", "HEAD"], "read"), (None, "/a", ["PUT"], "write")])
    assert table.find("DELETE", b"x", b"/a") == Miss(("GET", "HEAD", "PUT"))
    assert table.find("GET", b"x", b"/b") == Miss(())
    assert table.find("PUT", b"x", b"/a/1") == "write"


def test_a_route_with_methods_comes_before_one_without_whatever_the_order() -> None:
    for order in (1, -1):
        routes = [(None, "/a", None, "any"), (None, "/a", ["GET"], "get")][::order]
        assert router(routes).find("GET", b"x", b"/a") == "get"
        assert router(routes).find("PUT", b"x", b"/a") == "any"


def test_only_routes_of_one_host() -> None:
    table = router([("a.example", "/", None, "a")])
    assert table.find("GET", b"a.example", b"/") == "a"
    assert table.find("GET", b"b.example", b"/") == Miss(())
    assert table.find("GET", b"[::1]:80", b"/") == Miss(())


PATHS = st.lists(st.sampled_from(["a", "b", "ab", ""]), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)


@given(st.lists(PATHS, min_size=1, max_size=6, unique=True), PATHS)
def test_equals_trying_every_route(paths: list[str], asked: str) -> None:
    table = router([(None, path, None, path) for path in paths])
    matching = [
        path
        for path in paths
        if asked == path or asked.startswith(path if path.endswith("/") else path + "/")
    ]
    expected = max(matching, key=len) if matching else Miss(())
    assert table.find("GET", b"x", asked.encode()) == expected
