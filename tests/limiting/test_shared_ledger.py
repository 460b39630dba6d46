"""The parameters of a store's URL that are the limiter's own."""

from __future__ import annotations

import pytest

from escala.errors import ConfigError
from escala.limiting import SlidingWindowLog, TokenBucket
from escala.limiting.lease_ledger import LeaseLedger
from escala.limiting.redis_ledger import RedisLedger
from escala.limiting.shared_ledger import open_shared
from escala.stores.url_parameters import taken_out

PLAN = TokenBucket("100/s", name="api").plan


def test_a_plain_url_is_the_engines() -> None:
    ledger = open_shared("redis://localhost/3", PLAN, away="local", max_keys=10)
    assert isinstance(ledger._ledger, RedisLedger)
    assert ledger._nodes is None


def test_nodes_and_lease_are_ours() -> None:
    url = "redis://localhost/3?nodes=4&timeout=20ms&lease=25"
    ledger = open_shared(url, PLAN, away="local", max_keys=10)
    assert ledger._nodes == 4
    leasing = ledger._ledger
    assert isinstance(leasing, LeaseLedger)
    assert leasing._leases.most == 25
    assert isinstance(leasing._ledger, RedisLedger)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "", "1000001", "²", "9" * 5000])
@pytest.mark.parametrize("name", ["nodes", "lease"])
def test_a_number_that_is_none(name: str, value: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"^api: store: {name}: expected a whole number from 1 to"
    ):
        open_shared(f"redis://localhost?{name}={value}", PLAN, away="open", max_keys=10)


def test_a_url_that_no_one_opens() -> None:
    with pytest.raises(ConfigError, match=r"^api: store: expected one of the ledgers .*redis"):
        open_shared("memcached://localhost", PLAN, away="open", max_keys=10)
    with pytest.raises(ConfigError, match=r"^api: store: expected one server, such as 'redis://"):
        open_shared("redis+cluster://localhost", PLAN, away="open", max_keys=10)
    with pytest.raises(ConfigError, match=r"^api: store: timeout: expected a duration"):
        open_shared("redis://localhost?timeout=soon", PLAN, away="open", max_keys=10)


@pytest.mark.parametrize(
    ("url", "known", "hint"),
    [
        (
            "redis://h/0?node=2",
            "client_name, db, lease, nodes, password, timeout, username",
            "'node' (did you mean 'nodes'?)",
        ),
        (
            "valkey://h?timout=1&lease=3",
            "client_name, db, lease, nodes, password, timeout, username",
            "'timout' (did you mean 'timeout'?)",
        ),
        ("sqlite:///a.db?node=2", "lease, nodes", "'node' (did you mean 'nodes'?)"),
    ],
)
def test_a_parameter_that_no_one_knows(url: str, known: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_shared(url, PLAN, away="local", max_keys=10)
    expected = f"api: store: expected one of the parameters {known}; found {hint}"
    assert str(caught.value) == expected


@pytest.mark.parametrize("engine", ["redis://h?", "sqlite:///a.db?", "postgresql://h/db?"])
@pytest.mark.parametrize("name", ["nodes", "lease"])
def test_a_parameter_is_said_once(engine: str, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_shared(f"{engine}{name}=2&{name}=2", PLAN, away="local", max_keys=10)
    assert str(caught.value) == f"api: store: {name}: expected it once, found it twice"


def test_a_limit_that_redis_cannot_count() -> None:
    TokenBucket("4000000/s", store="redis://localhost")
    with pytest.raises(
        ConfigError, match=r"api: store: expected a rate of at most 4194304/s, .*5000"
    ):
        TokenBucket("5000000/s", store="redis://localhost", name="api")


def test_the_log_counts_there_too() -> None:
    assert SlidingWindowLog("5/s", store="redis://localhost").snapshot() == {
        "store_away": 0.0,
        "without_store": 0.0,
    }


@pytest.mark.parametrize(
    ("url", "rest", "found"),
    [
        ("sqlite:///a.db", "sqlite:///a.db", {}),
        ("sqlite:///a.db?nodes=2", "sqlite:///a.db", {"nodes": "2"}),
        ("unix:///s?db=2&lease=5", "unix:///s?db=2", {"lease": "5"}),
        ("redis://h?a=%2F&nodes=%34&b", "redis://h?a=%2F&b", {"nodes": "4"}),
        ("redis://h?a=1", "redis://h?a=1", {}),
        ("redis://h?&&", "redis://h", {}),
    ],
)
def test_a_url_stays_as_it_was_without_ours(url: str, rest: str, found: dict[str, str]) -> None:
    assert taken_out(url, ("nodes", "lease")) == (rest, found)
