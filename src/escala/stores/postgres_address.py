"""Where a PostgreSQL is and how to connect to it, read from its URL."""

from __future__ import annotations

import re
from typing import Any

from escala.errors import ConfigError
from escala.kernel.wrong_value import sentence, shown, without_password
from escala.stores.url_parameters import checked, whole

_MOST_PORT = 65535
_NUMBERS = re.compile(r"connect_timeout|keepalives(_idle|_interval|_count)?|tcp_user_timeout")
_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,9}\s*", re.ASCII)
_NOWHERE = "/dev/null"  # no folder, so that no socket is in it
_WRONG = ("invalid ", "weak ")


class PostgresAddress:
    """A URL such as "postgresql://user@localhost:5432/app", with the parameters that libpq knows.

    What libpq would only say when it connects, it says when it is built. Raises `ConfigError`.
    """

    def __init__(self, url: str) -> None:
        try:
            from psycopg import Error, pq
            from psycopg.conninfo import conninfo_to_dict, make_conninfo
        except ImportError as error:
            raise ConfigError(
                "a 'postgresql://' store needs psycopg: pip install 'escala[postgres]'"
            ) from error
        known = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
        checked(url, (*known, "ssl"))  # ssl=true is an older spelling of sslmode=require
        try:
            said: dict[str, Any] = conninfo_to_dict(url)
            said.setdefault("fallback_application_name", "escala")
            self.conninfo = make_conninfo(**said).encode()
            _judge(said, url)
            refusal = _refusal(pq, make_conninfo(**_to_nowhere(said)).encode())
        except Error as error:
            refusal = str(error)
        if refusal:
            raise ConfigError(
                "expected a URL such as 'postgresql://user@localhost:5432/app', found "
                f"{shown(url)}: {without_password(refusal).strip()}"
            )
        self.pq: Any = pq
        self.error = Error
        self.where = without_password(url)


def _judge(said: dict[str, Any], url: str) -> None:
    """The numbers, which libpq reads when it connects, and some of them never here."""
    _, _, path = url.partition("://")[2].partition("/")
    for port in filter(None, str(said.get("port") or "").split(",")):
        if "@" in path and not port.isdecimal():  # libpq has cut a password in two
            raise ConfigError(
                f"port: {sentence('a number', 'text')}: write '/' as %2F in a password"
            )
        whole("port", port, 1, _MOST_PORT)
    for name, text in said.items():
        if _NUMBERS.fullmatch(name) and not _NUMBER.fullmatch(text):
            raise ConfigError(f"{name}: {sentence('a whole number', shown(text))}")


def _to_nowhere(said: dict[str, Any]) -> dict[str, Any]:
    """The same parameters, for a connection that ends before it begins."""
    where = ("host", "hostaddr", "port", "service", "gssencmode")
    rest = {name: value for name, value in said.items() if name not in where}
    return {**rest, "host": _NOWHERE}


def _refusal(pq: Any, conninfo: bytes) -> str:  # noqa: ANN401  psycopg's module
    """What libpq has against the values themselves; it looks at them before it connects."""
    connection = pq.PGconn.connect_start(conninfo)
    try:
        told: str = connection.get_error_message()
    finally:
        connection.finish()
    return told if told.startswith(_WRONG) else ""
