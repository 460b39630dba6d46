from __future__ import annotations

import pytest

from escala.http.pure.cache_key import cache_key
from escala.http.pure.invalidation import Effect, affected, effect


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("status", [200, 500, None])
def test_safe_methods_change_nothing(method: str, status: int | None) -> None:
    assert effect(method, status) is Effect.NONE


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PURGE", "get"])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Effect.FORGET),
        (201, Effect.FORGET),
        (303, Effect.FORGET),
        (399, Effect.FORGET),
        (400, Effect.NONE),
        (404, Effect.NONE),
        (499, Effect.NONE),
        (500, Effect.DOUBT),
        (502, Effect.DOUBT),
        (503, Effect.NONE),
        (504, Effect.DOUBT),
        (None, Effect.DOUBT),
    ],
)
def test_what_a_change_leaves(method: str, status: int | None, expected: Effect) -> None:
    assert effect(method, status) is expected


def names(*headers: tuple[bytes, bytes]) -> list[bytes]:
    return affected(b"http", b"shop:8080", b"/items?page=2", list(headers))


OWN = b"http://shop:8080/items?page=2"


@pytest.mark.parametrize("name", [b"location", b"content-location"])
@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b"/items/7", b"http://shop:8080/items/7"),
        (b"7", b"http://shop:8080/7"),
        (b"?page=3", b"http://shop:8080/items?page=3"),
        (b"http://SHOP:8080/items/7#part", b"http://shop:8080/items/7"),
        (b"//shop:8080/x", b"http://shop:8080/x"),
        (b"http://shop:8080", b"http://shop:8080/"),
    ],
)
def test_places_on_the_same_origin_are_affected(name: bytes, value: bytes, key: bytes) -> None:
    assert names((name, value)) == [OWN, key]


@pytest.mark.parametrize(
    "value",
    [
        b"http://other:8080/items",
        b"http://shop/items",
        b"https://shop:8080/items",
        b"//other/items",
        b"ftp://shop:8080/items",
        b"http://[broken/",
        b"mailto:a@b",
    ],
)
def test_places_elsewhere_are_not(value: bytes) -> None:
    assert names((b"location", value)) == [OWN]


def test_each_place_once() -> None:
    assert names((b"location", b"/a"), (b"content-location", b"/a")) == [
        OWN,
        b"http://shop:8080/a",
    ]
    assert names((b"location", OWN)) == [OWN]


@pytest.mark.parametrize(
    ("scheme", "host", "expected"),
    [
        (b"http", b"Shop", b"http://shop/x"),
        (b"http", b"shop:80", b"http://shop/x"),
        (b"https", b"shop:443", b"https://shop/x"),
        (b"http", b"shop:443", b"http://shop:443/x"),
        (b"http", b"shop:8080", b"http://shop:8080/x"),
        (b"http", b"[::1]", b"http://[::1]/x"),
    ],
)
def test_a_key_is_a_uri(scheme: bytes, host: bytes, expected: bytes) -> None:
    assert cache_key(scheme, host, b"/x") == expected


def test_a_target_is_taken_as_it_is() -> None:
    assert cache_key(b"http", b"a", b"/X?b=1&a=2") != cache_key(b"http", b"a", b"/x?a=2&b=1")
