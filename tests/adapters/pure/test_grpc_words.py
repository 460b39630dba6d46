"""gRPC's statuses, its pushback trailer and its names for peers and methods."""

from __future__ import annotations

import math

import grpc
import pytest

from escala.adapters.pure.grpc_words import (
    FAILURES,
    PUSHBACK,
    address,
    come_back,
    pushback,
    service,
)


def test_failures_are_statuses_of_grpc() -> None:
    assert {code.name for code in grpc.StatusCode} - FAILURES == {
        "OK", "CANCELLED", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
        "UNAUTHENTICATED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    }  # fmt: skip
    assert {code.name for code in grpc.StatusCode} >= FAILURES


def test_the_trailer_s_name_is_grpc_s() -> None:
    assert PUSHBACK == "grpc-retry-pushback-ms"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.5, "1500"), (0.0001, "1"), (0.0, "0"), (-3.0, "0"), (1e300, "1000000000000")],
)
def test_pushback_is_rounded_up(seconds: float, text: str) -> None:
    assert pushback(seconds) == text


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1500", 1.5),
        ("0", 0.0),
        ("9" * 12, 999_999_999.999),
        ("9" * 13, math.inf),
        ("-1", math.inf),
        ("", math.inf),
        ("soon", math.inf),
    ],
)
def test_when_to_come_back(value: str, seconds: float) -> None:
    assert come_back(value) == seconds


@pytest.mark.parametrize(
    ("method", "name"),
    [("/shop.Tea/Brew", "shop.Tea"), ("/Tea/Brew", "Tea"), ("Brew", ""), ("", "")],
)
def test_the_service_of_a_method(method: str, name: str) -> None:
    assert service(method) == name


@pytest.mark.parametrize(
    ("peer", "ip"),
    [
        ("ipv4:192.0.2.7:5000", "192.0.2.7"),
        ("ipv6:[2001:db8::1]:5000", "2001:db8::1"),
        ("ipv6:%5B2001:db8::1%5D:5000", "2001:db8::1"),
        ("unix:/run/tea", "unix:/run/tea"),
        ("ipv4:192.0.2.7", "ipv4:192.0.2.7"),
        ("", ""),
    ],
)
def test_the_address_of_a_peer(peer: str, ip: str) -> None:
    assert address(peer) == ip
