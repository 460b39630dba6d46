"""Targets, and the words that `stack.yaml` spells them with."""

from __future__ import annotations

import doctest
import pickle
import sys

import jsonschema
import msgspec
import pytest

from escala.balancing import HealthCheck, Target, Upstream, grpc_probe, status_range
from escala.balancing.health_check import HealthOptions
from escala.balancing.pure.health import State
from escala.balancing.request_path import RequestPath
from escala.balancing.status_range import StatusRange
from escala.balancing.target import TargetOptions
from escala.balancing.target_url import TargetUrl
from escala.errors import ConfigError
from escala.kernel.problem import Caller
from escala.kernel.reader import Reader
from escala.kernel.scalar import Scalar
from escala.kernel.schema import schema
from escala.kernel.wrong_value import WrongValue


@pytest.mark.parametrize(
    ("written", "url", "host", "port", "secure"),
    [
        ("127.0.0.1:9001", "http://127.0.0.1:9001", "127.0.0.1", 9001, False),
        ("http://127.0.0.1:9001/", "http://127.0.0.1:9001", "127.0.0.1", 9001, False),
        ("http://shop.internal", "http://shop.internal:80", "shop.internal", 80, False),
        ("https://Shop.Example", "https://shop.example:443", "shop.example", 443, True),
        ("https://shop.example:8443", "https://shop.example:8443", "shop.example", 8443, True),
        ("my_service:80", "http://my_service:80", "my_service", 80, False),
        ("localhost:65535", "http://localhost:65535", "localhost", 65535, False),
        ("[::1]:9001", "http://[::1]:9001", "::1", 9001, False),
        ("a:1", "http://a:1", "a", 1, False),
    ],
)
def test_addresses_that_are_read(
    written: str, url: str, host: str, port: int, *, secure: bool
) -> None:
    read = TargetUrl(written)
    assert (read, read.text, read.host, read.port, read.secure) == (url, url, host, port, secure)
    assert TargetUrl(read.text) == read
    target = Target(written)
    assert (target.url, target.host, target.port) == (url, host, port)
    assert target.address == url.partition("://")[2]


@pytest.mark.parametrize(
    "written",
    [
        "",
        "shop",
        "127.0.0.1",
        "shop:0",
        "shop:65536",
        "shop:123456",
        "shop:http",
        "ftp://shop:21",
        "http://",
        "http://shop:9001/path",
        "http://user:secret@shop:9001",
        "http://shop:9001?x",
        "shop :80",
        "shop:80\n",
        "-shop:80",
        "shop-:80",
        "999.1.1.1:80",
        "1.2.3:80",
        "[127.0.0.1]:80",
        "[::zz]:80",
        "::1:80",
        "a" * 254 + ":80",
        80,
        None,
    ],
    ids=repr,
)
def test_addresses_that_are_refused(written: object) -> None:
    with pytest.raises(WrongValue, match=r"expected an address such as '127\.0\.0\.1:9001' or"):
        TargetUrl(written)
    with pytest.raises(ConfigError, match="Target: url: expected an address"):
        Target(written)  # type: ignore[arg-type]


def test_the_longest_host_is_read() -> None:
    assert TargetUrl("a" * 253 + ":80").host == "a" * 253


@pytest.mark.parametrize("weight", [0, -1, 1.5, True, "2", 1_000_001, None], ids=repr)
def test_weights_are_whole_numbers_from_one(weight: object) -> None:
    with pytest.raises(ConfigError, match="Target: weight: expected an integer"):
        Target("shop:80", weight=weight)  # type: ignore[arg-type]


def test_a_new_target_has_done_nothing_and_is_taken_to_be_healthy() -> None:
    target = Target("shop:80", weight=1_000_000)
    assert (target.in_flight, target.requests, target.failures) == (0, 0, 0)
    assert target.healthy
    assert target.state is State.HEALTHY
    assert repr(target) == "Target('http://shop:80', weight=1000000)"
    assert repr(Target("shop:80")) == "Target('http://shop:80')"


def test_a_target_that_was_not_picked_cannot_be_left() -> None:
    with pytest.raises(RuntimeError, match="was not picked"), Target("shop:80"):
        pass


def test_an_entry_of_stack_yaml_is_an_address_or_a_mapping() -> None:
    reader = Reader(Caller("stack"))
    bare = reader.read(TargetOptions, "127.0.0.1:9001")
    full = reader.read(TargetOptions, {"url": "http://127.0.0.1:9001", "weight": 2})
    assert not reader.problems
    assert (bare.url, bare.weight) == ("http://127.0.0.1:9001", 1)
    assert (full.url, full.weight) == (bare.url, 2)
    assert Target(full.url, weight=full.weight).weight == 2


def test_health_options_are_those_of_the_class() -> None:
    reader = Reader(Caller("stack"))
    written = {"path": "/up", "interval": "1m", "timeout": "250ms", "fall": 3, "rise": 1}
    read = reader.read(HealthOptions, {**written, "expect": 204})
    assert not reader.problems
    check = HealthCheck(**msgspec.structs.asdict(read))
    assert check.options == read
    assert (read.interval, read.timeout, read.expect) == (60.0, 0.25, StatusRange("204"))
    assert repr(check) == (
        "HealthCheck(path='/up', interval='1m', timeout='250ms', fall=3, rise=1, expect='204')"
    )


def test_defaults_agree_in_python_and_in_yaml() -> None:
    assert HealthCheck().options == HealthOptions()
    assert repr(HealthCheck()) == "HealthCheck()"
    assert Reader(Caller("stack")).read(HealthOptions, "/up").path == "/up"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("path", "health", "a path such as '/health'"),
        ("path", "/a b", "a path such as '/health'"),
        ("path", "/a\r\nX-Evil: 1", "a path such as '/health'"),
        ("path", "/a\n", "a path such as '/health'"),
        ("path", "/é", "a path such as '/health'"),
        ("path", "/" + "a" * 2000, "a path such as '/health'"),
        ("path", 7, "a path such as '/health'"),
        ("interval", 0, "a duration above zero"),
        ("interval", "2 apples", "a duration above zero"),
        ("timeout", -1, "a duration above zero"),
        ("timeout", float("nan"), "a duration above zero"),
        ("fall", 0, "an integer >= 1"),
        ("rise", 0, "an integer >= 1"),
        ("rise", "two", "an integer >= 1"),
        ("expect", 99, "a status code or a range"),
        ("expect", 600, "a status code or a range"),
        ("expect", "399..200", "a status code or a range"),
        ("expect", "200-399", "a status code or a range"),
        ("expect", "200..", "a status code or a range"),
        ("expect", True, "a status code or a range"),
        ("expect", None, "a status code or a range"),
    ],
    ids=repr,
)
def test_wrong_options_say_what_was_expected(field: str, value: object, expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        HealthCheck(**{field: value})  # type: ignore[arg-type]
    assert str(refused.value).startswith(f"HealthCheck: {field}: expected {expected}")


def test_every_wrong_option_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        HealthCheck(path="x", fall=0, expect="no")
    assert len(refused.value.problems) == 3


def test_status_ranges_hold_both_ends() -> None:
    codes = StatusRange("200..399")
    assert [code in codes for code in (199, 200, 399, 400)] == [False, True, True, False]
    assert [code in StatusRange(204) for code in (203, 204, 205)] == [False, True, False]
    assert StatusRange("204..204") == StatusRange(204) == StatusRange(StatusRange("204"))
    assert StatusRange("204") != StatusRange("204..205")
    assert StatusRange("204") != 204
    assert len({StatusRange(204), StatusRange("204"), StatusRange(205)}) == 2
    assert repr(StatusRange("200..399")) == "StatusRange('200..399')"
    assert pickle.loads(pickle.dumps(codes)) == codes  # noqa: S301  our own bytes


def test_the_longest_path_is_read() -> None:
    assert RequestPath("/" + "a" * 1999).text == "/" + "a" * 1999


def test_the_schema_of_every_option_is_there() -> None:
    made = schema(HealthOptions, title="health")
    text = msgspec.json.encode(made).decode()
    assert all(f'"{name}"' in text for name in HealthOptions.__struct_fields__)
    assert "Status codes that pass." in text
    assert '"pattern"' in msgspec.json.encode(schema(TargetOptions, title="target")).decode()


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (StatusRange, [100, 204, 599, "204", "200..399"], [99, 600, "200-399", None]),
        (RequestPath, ["/", "/health?brief=1"], ["health", "/a b", 7]),
        (TargetUrl, ["127.0.0.1:9001", "https://shop", "[::1]:80"], ["http://a/b", "u:p@a:80"]),
    ],
    ids=["StatusRange", "RequestPath", "TargetUrl"],
)
def test_schemas_agree_with_what_is_read(
    kind: type[Scalar], good: list[object], bad: list[object]
) -> None:
    made = kind.schema()
    for value in good:
        jsonschema.validate(value, made)
        assert isinstance(kind(value), kind)
    for value in bad:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, made)
        with pytest.raises(WrongValue):
            kind(value)
    texts = [made, *made.get("anyOf", [])]
    for example in (each for text in texts for each in text.get("examples", [])):
        assert isinstance(kind(example), kind)


def test_the_examples_run() -> None:
    assert doctest.testmod(status_range).failed == 0
    assert doctest.testmod(status_range).attempted > 0


@pytest.mark.parametrize("name", ["round_robin", "least_connections"])
def test_balancers_are_found_by_name(name: str) -> None:
    assert Upstream("shop", ["a:1"], balance=name).balance.kind == name


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"kind": "tcp", "path": "/up"}, "expected no 'path' for checks of the kind 'tcp'"),
        ({"kind": "grpc", "expect": 204}, "expected no 'expect' for checks of the kind 'grpc'"),
        ({"kind": "http", "service": "s"}, "expected no 'service' for checks of the kind 'http'"),
        ({"kind": "icmp"}, "kind: expected"),
        ({"kind": "grpc", "service": "a b"}, "service: expected the name of a gRPC service"),
        ({"kind": "grpc", "service": "x" * 128}, "service: expected the name of a gRPC service"),
    ],
    ids=["tcp", "grpc", "http", "icmp", "space", "long"],
)
def test_a_check_takes_only_what_its_kind_uses(given: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=f"HealthCheck: {problem}"):
        HealthCheck(**given)  # type: ignore[arg-type]


def test_without_grpcio_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ConfigError, match=r"HealthCheck: kind: .*pip install 'escala\[grpc\]'"):
        HealthCheck(kind="grpc")


def test_the_health_request_is_a_protobuf_message() -> None:
    assert doctest.testmod(grpc_probe) == (0, 1)
    assert grpc_probe.request("x" * 127) == b"\x0a\x7f" + b"x" * 127


@pytest.mark.parametrize(
    ("field", "value"),
    [("priority", -1), ("priority", 65_536), ("priority", 1.5), ("zone", 3)],
    ids=["negative", "beyond", "half", "number"],
)
def test_zones_are_text_and_priorities_are_whole(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"Target: {field}: expected"):
        Target("shop:80", **{field: value})  # type: ignore[arg-type]


def test_a_target_says_where_it_stands() -> None:
    target = Target("shop:80", weight=2, zone="eu-1", priority=65_535)
    assert repr(target) == "Target('http://shop:80', weight=2, zone='eu-1', priority=65535)"
    assert eval(repr(target)).zone == "eu-1"  # noqa: S307  our own
