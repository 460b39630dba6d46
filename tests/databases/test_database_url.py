from __future__ import annotations

import pytest

from escala.databases.replicas.database_url import node_urls
from escala.errors import ConfigError


def test_a_url_of_many_hosts_is_one_for_each() -> None:
    nodes = node_urls("postgresql://app:p%40ss@h1,h2:5433,[::1]:5434/shop?sslmode=require")
    assert [node.name for node in nodes] == ["h1:5432", "h2:5433", "::1:5434"]
    assert nodes[1].conninfo == "postgresql://app:p%40ss@h2:5433/shop?sslmode=require"
    url, arguments = nodes[0].sync(read_only=False)
    assert (url.drivername, url.host, url.password) == ("postgresql+psycopg", "h1", "p@ss")
    assert arguments == {}
    assert nodes[0].asynchronous(read_only=False) == nodes[0].sync(read_only=False)


def test_replicas_are_told_to_refuse_writes() -> None:
    (node,) = node_urls("postgresql://h1/shop?options=-c%20work_mem%3D8MB")
    _, arguments = node.sync(read_only=True)
    assert arguments == {"options": "-c work_mem=8MB -c default_transaction_read_only=on"}
    (node,) = node_urls("postgresql+asyncpg://h1/shop")
    _, arguments = node.asynchronous(read_only=True)
    assert arguments == {"server_settings": {"default_transaction_read_only": "on"}}


def test_parameters_are_said_as_each_driver_wants_them() -> None:
    text = "postgresql+asyncpg://h1/shop?sslmode=require&connect_timeout=3&application_name=web"
    (node,) = node_urls(text)
    url, arguments = node.asynchronous(read_only=False)
    assert (url.drivername, dict(url.query)) == ("postgresql+asyncpg", {})
    assert arguments == {
        "ssl": "require",
        "timeout": 3.0,
        "server_settings": {"application_name": "web"},
    }
    url, _ = node.sync(read_only=False)
    assert (url.drivername, url.query["sslmode"]) == ("postgresql+psycopg", "require")


def test_sqlite_is_one_node() -> None:
    (node,) = node_urls("sqlite:///shop.db")
    assert (node.name, node.sqlite) == ("shop.db", True)
    assert node.asynchronous(read_only=True)[0].drivername == "sqlite+aiosqlite"
    assert node_urls("sqlite://")[0].name == "memory"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://h1/shop", "expected a URL such as"),
        ("postgresql:shop", "expected a URL such as"),
        ("", "expected a URL such as"),
        ("postgresql://h1,h2:x/shop", "expected a URL such as"),
        ("postgresql://h1,/shop", "expected a host"),
        ("postgresql:///shop", "expected a host"),
        ("postgresql://app:a/b@h1,h2/shop", "in a password '@' as %40"),
        ("postgresql://app:a@b@h1/shop", "in a password '@' as %40"),
        ("postgresql://h1 ,h2/shop", "expected a host"),
        ("postgresql://h1;h2/shop", "expected a host"),
        ("postgresql://h1,h2,h1:5432/shop", "the node h1:5432 is named twice"),
        ("postgresql://h1/shop?host=h2", "before the path"),
        ("postgresql://h1/shop?target_session_attrs=primary", "before the path"),
        ("postgresql://h1/shop?sslmode=maybe", "sslmode"),
        ("postgresql://h1/shop?colour=red", "expected one of the parameters"),
        ("postgresql+asyncpg://h1/shop?options=-cx", "parameters that asyncpg takes"),
    ],
)
def test_what_is_no_url_of_a_database(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        node_urls(url)


def test_an_error_shows_no_password() -> None:
    for who in ("app:hush", "app:@hush", "app:/hush", "app:hush/@", "app:hu,hush"):
        for where in ("h1:x", "h1,:1", "h1,h2,h1"):
            url = f"postgresql://{who}@{where}/shop"
            with pytest.raises(ConfigError) as refused:
                node_urls(url)
            assert "hush" not in str(refused.value)
