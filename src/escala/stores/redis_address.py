"""Where a Redis or a Valkey is and how to greet it, read from its URL."""

from __future__ import annotations

from collections.abc import Callable, Collection
from inspect import signature
from ssl import SSLContext
from typing import Any, cast

from escala.errors import ConfigError
from escala.kernel.units import PositiveDuration
from escala.kernel.wrong_value import WrongValue, sentence, shown, without_password
from escala.stores.script_link import Word
from escala.stores.url_parameters import checked, taken_out, twice, whole

_TIMEOUT = "40ms"  # so that a call that waits in vain ends within 50 ms
_DRIVERS = {"valkey": "redis", "valkeys": "rediss"}  # the schemes by which the driver knows them
_GREETING = ("client_name", "db", "password", "username")
_MOST_DB = 2**31 - 1
_TRUTHS = ("true", "false", "yes", "no", "1", "0")


class RedisAddress:
    """A URL such as "redis://user:password@host:6379/0", as redis-py reads it.

    `rediss://` is TLS, with redis-py's `ssl_*` parameters, and verified unless they say
    otherwise; `unix://` a socket in the file system; `valkey://` and `valkeys://` the same as
    the first two. Of redis-py's other parameters it takes `db`, `username`, `password` and
    `client_name`; `timeout=20ms` is our own. Raises `ConfigError` for any others.
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
        scheme, _, _ = url.partition("://")
        drivers = _DRIVERS.get(scheme, scheme)
        secure = drivers == "rediss"
        options = [name for name in signature(SSLConnection).parameters if name.startswith("ssl_")]
        said = _judged(url, options, secure=secure)
        rest, ours = taken_out(url, ("timeout",))
        self.timeout = _timeout(ours.get("timeout", _TIMEOUT))
        read: Callable[[str], dict[str, Any]] = parse_url
        try:
            found = read(drivers + rest.removeprefix(scheme))
            self.path: str | None = found.get("path")
            self.host: str = found.get("host", "localhost")
            self.host.encode("idna")
            self.port = int(found.get("port", 6379))
            self.tls: SSLContext | None = None
            if secure:
                given = {name: found[name] for name in found if name in options}
                self.tls = SSLConnection(**given).ssl_context.get()
        except Exception as error:  # the driver's own, and of what it reads files with
            see = ", ".join(name for name in said if name in options)
            why = f"which the driver refuses ({type(error).__name__}){see and f': see {see}'}"
            raise ConfigError(f"{_expected(url)}, {why}") from error
        server = "Valkey" if scheme in _DRIVERS else "Redis"
        self.where = f"{server} at {self.path or f'{self.host}:{self.port}'}"
        # Its types name a tuple of one word.
        self.pack = cast("Callable[[tuple[Word, ...]], bytes]", pack_command)
        greeting = [self.pack(words) for words in _greeting(found)]
        self.greeting, self.greetings = b"".join(greeting), len(greeting)
        self._password: str = found.get("password", "")

    def said(self, error: Exception) -> str:
        """The first line of an error of the server, which may repeat what it was sent."""
        first = (str(error).splitlines() or ["without a word"])[0][:200]
        return first.replace(self._password, "***") if self._password else first


def _judged(url: str, tls: Collection[str], *, secure: bool) -> dict[str, str]:
    """The URL's parameters, and nothing in it that the driver would drop or misread."""
    _, meant = taken_out(url, tls)
    if meant and not secure:
        expected = sentence("rediss:// or valkeys://", "a URL without TLS")
        raise ConfigError(f"{min(meant)}: {expected}")
    found = checked(url, (*_GREETING, "timeout", *(tls if secure else ())))
    for name, text in found.items():
        if not text:
            raise ConfigError(f"{name}: {sentence('a value', 'none')}")
        if name == "ssl_check_hostname" and text.lower() not in _TRUTHS:
            raise ConfigError(f"{name}: {sentence('true or false', shown(text))}")
    before = _before_parameters(url)
    for name, text in before.items():
        if text and name in found:
            raise twice(name)
    said = {**before, **found}
    if said["db"]:
        whole("db", said["db"], 0, _MOST_DB)
    if said["username"] and not said["password"]:
        raise ConfigError(f"username: {sentence('a password with it', 'none')}")
    return found


def _before_parameters(url: str) -> dict[str, str]:
    """Login and database as they stand in the path, empty where they do not."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    place, _, path = rest.partition("/")
    login, _, host = place.rpartition("@")
    user, _, password = login.partition(":")
    if scheme == "unix":
        if host or not path:
            raise ConfigError(sentence("a socket such as 'unix:///run/redis.sock'", shown(url)))
        path = ""
    elif "#" in url or "@" in path:
        raise ConfigError(
            f"{_expected(url)}: write '/' as %2F, '#' as %23 and '@' as %40 where a password "
            "holds them"
        )
    return {"username": user, "password": password, "db": path.strip("/")}


def _expected(url: str) -> str:
    """The scheme, the host and the path; the rest may hold a password in any form."""
    base, _, _ = without_password(url).partition("?")
    return sentence("a URL such as 'redis://user:password@localhost:6379/0'", repr(base))


def _timeout(text: str) -> float:
    try:
        return float(PositiveDuration(text))
    except WrongValue as error:
        raise ConfigError(f"timeout: {error}") from error


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
