"""Where a Redis is and how to greet it, read from its URL."""

from __future__ import annotations

from collections.abc import Callable
from ssl import SSLContext
from typing import Any, cast

from escala.errors import ConfigError
from escala.kernel.units import PositiveDuration
from escala.kernel.wrong_value import WrongValue
from escala.stores.script_link import Word
from escala.stores.url_parameters import taken_out

_TIMEOUT = "40ms"  # so that a call that waits in vain ends within 50 ms


class RedisAddress:
    """A URL such as "redis://user:password@host:6379/0", as redis-py reads it.

    `rediss://` is TLS, with redis-py's `ssl_*` parameters, and verified unless they say
    otherwise; `unix://` a socket in the file system. `timeout=20ms` is our own parameter.
    """

    def __init__(self, url: str) -> None:
        try:
            from hiredis import pack_command
            from redis.asyncio.connection import SSLConnection
            from redis.connection import parse_url
        except ImportError as error:
            raise ConfigError(
                "a 'redis://' store needs redis and hiredis: pip install 'escala[redis]'"
            ) from error
        rest, ours = taken_out(url, ("timeout",))
        self.timeout = _timeout(ours.get("timeout", _TIMEOUT), url)
        try:
            read: Callable[[str], dict[str, Any]] = parse_url
            found = read(rest)
            self.path: str | None = found.get("path")
            self.host: str = found.get("host", "localhost")
            self.host.encode("idna")
            self.port = int(found.get("port", 6379))
            self.tls: SSLContext | None = None
            if url.startswith("rediss://"):
                options = {name: found[name] for name in found if name.startswith("ssl_")}
                self.tls = SSLConnection(**options).ssl_context.get()
        except Exception as error:  # the driver's own, and of what it reads files with
            raise ConfigError(
                "expected a URL such as 'redis://user:password@localhost:6379/0', found "
                f"{_without_secrets(url)!r}, which the driver refuses ({type(error).__name__})"
            ) from error
        self.where = f"Redis at {self.path or f'{self.host}:{self.port}'}"
        # Its types name a tuple of one word.
        self.pack = cast("Callable[[tuple[Word, ...]], bytes]", pack_command)
        greeting = [self.pack(words) for words in _greeting(found)]
        self.greeting, self.greetings = b"".join(greeting), len(greeting)


def _without_secrets(url: str) -> str:
    """The scheme, the host and the path; the rest may hold a password in any form."""
    base, _, _ = url.partition("?")
    scheme, _, rest = base.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _timeout(text: str, url: str) -> float:
    try:
        return float(PositiveDuration(text))
    except WrongValue as error:
        raise ConfigError(f"timeout in {_without_secrets(url)!r}: {error}") from error


def _greeting(found: dict[str, Any]) -> list[tuple[Word, ...]]:
    """What a new connection sends before anything else."""
    greeting: list[tuple[Word, ...]] = []
    if "password" in found:
        user = (found["username"],) if found.get("username") else ()
        greeting.append(("AUTH", *user, found["password"]))
    if name := found.get("client_name"):
        greeting.append(("CLIENT", "SETNAME", name))
    if db := int(found.get("db", 0)):
        greeting.append(("SELECT", db))
    return greeting
