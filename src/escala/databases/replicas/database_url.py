"""One URL for all nodes of a database, taken apart into one for each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from escala.errors import ConfigError
from escala.kernel.wrong_value import not_among, sentence, shown
from escala.stores.postgres_address import PostgresAddress

_EXPECTED = "a URL such as 'postgresql://app@h1,h2:5433/shop' or 'sqlite:///shop.db'"
_SCHEMES = ("postgresql", "postgresql+psycopg", "postgresql+asyncpg", "sqlite")
_HOST = re.compile(r"[^\s@/?#,;]+")
_ENCODED = "a host, and in a password '@' as %40, '/' as %2F, '?' as %3F"
_PORT = 5432
_OURS = ("host", "hostaddr", "port", "target_session_attrs")
# What libpq calls it, and what asyncpg does; all else that libpq knows asyncpg does not.
_ASYNCPG = {"sslmode": "ssl", "connect_timeout": "timeout", "application_name": ""}


class NodeUrl:
    """Where one node is, as its three kinds of clients want to hear it."""

    def __init__(self, url: URL) -> None:
        self.sqlite = url.drivername == "sqlite"
        self._asyncpg = url.drivername == "postgresql+asyncpg"
        self._url = url
        self.name = str(url.database or "memory") if self.sqlite else f"{url.host}:{url.port}"

    @property
    def conninfo(self) -> str:
        """For libpq itself."""
        return self._url.set(drivername="postgresql").render_as_string(hide_password=False)

    def sync(self, *, read_only: bool) -> tuple[URL, dict[str, Any]]:
        """For a sync engine: its URL and `connect_args`."""
        if self.sqlite:
            return self._url, {}
        return self._url.set(drivername="postgresql+psycopg"), self._libpq(read_only=read_only)

    def asynchronous(self, *, read_only: bool) -> tuple[URL, dict[str, Any]]:
        """For an async engine."""
        if self.sqlite:
            return self._url.set(drivername="sqlite+aiosqlite"), {}
        if not self._asyncpg:
            return self.sync(read_only=read_only)
        settings = {"default_transaction_read_only": "on"} if read_only else {}
        said: dict[str, Any] = {}
        for name, value in self._url.query.items():
            if name == "application_name":
                settings[name] = str(value)
            else:
                said[_ASYNCPG[name]] = float(str(value)) if name == "connect_timeout" else value
        return self._url.set(query={}), {**said, "server_settings": settings}

    def _libpq(self, *, read_only: bool) -> dict[str, Any]:
        if not read_only:
            return {}
        said = self._url.query.get("options", "")
        return {"options": f"{said} -c default_transaction_read_only=on".strip()}

    def check(self) -> None:
        """Raises `ConfigError` for what the drivers would only say when they connect."""
        if self.sqlite:
            return
        PostgresAddress(self.conninfo)
        unknown = [name for name in self._url.query if self._asyncpg and name not in _ASYNCPG]
        if unknown:
            known = not_among("parameters that asyncpg takes", _ASYNCPG, unknown[0])
            raise ConfigError(f"Database: {known}")


def node_urls(text: str) -> list[NodeUrl]:
    """A URL for each node. Raises `ConfigError`, also for a node that is named twice."""
    scheme, _, rest = str(text).partition("://")
    if scheme not in _SCHEMES:
        raise ConfigError(f"Database: {sentence(_EXPECTED, shown(text))}")
    if scheme == "sqlite":
        return [NodeUrl(_made(text))]
    end = min((place for place in map(rest.find, "/?") if place >= 0), default=len(rest))
    who, at, hosts = rest[:end].rpartition("@")
    nodes = [
        NodeUrl(_with_port(_made(f"{scheme}://{who}{at}{host}{rest[end:]}")))
        for host in hosts.split(",")
    ]
    seen: set[str] = set()
    for node in nodes:
        if node.name in seen:
            raise ConfigError(f"Database: the node {node.name} is named twice")
        seen.add(node.name)
        node.check()
    return nodes


def _made(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise ConfigError(f"Database: {sentence(_EXPECTED, shown(text))}") from error
    _refuse_ours(url.query)
    return url


def _with_port(url: URL) -> URL:
    if not _HOST.fullmatch(url.host or ""):
        raise ConfigError(f"Database: {sentence(_ENCODED, shown(url.render_as_string()))}")
    return url if url.port else url.set(port=_PORT)


def _refuse_ours(query: Mapping[str, object]) -> None:
    for name in _OURS:
        if name in query:
            raise ConfigError(
                f"Database: {name}: expected the nodes before the path (//h1,h2:5433/app), since "
                "which of them is the primary is found out; found it after the '?'"
            )
