"""Asks DNS servers, without blocking the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from escala.errors import ConfigError


class Records(NamedTuple):
    """The records of a name as text (`10.0.0.1`, `0 5 8080 a.shop.`), and how long they hold."""

    texts: tuple[str, ...]
    seconds: float


class Resolver(Protocol):
    """What `DnsTargets` asks; replace it to ask someone else than DNS."""

    async def __call__(self, name: str, kind: str) -> Records:
        """The records of `kind` ("A", "AAAA", "SRV") of a name; none is no error."""
        ...


class DnsResolver:
    """The system's DNS servers, or one at `nameserver`; by dnspython (extra `dns`).

    It reads `/etc/resolv.conf` at the first question, and asks DNS only: `/etc/hosts` is not
    looked at. A question is given up after `timeout` seconds in all. Raises `ConfigError` when
    dnspython is missing.
    """

    def __init__(
        self, nameserver: str | None = None, *, port: int = 53, timeout: float = 5.0
    ) -> None:
        try:
            from dns.asyncresolver import Resolver as Asking
        except ImportError:
            raise ConfigError(
                "DnsTargets: expected an installed dnspython, found none; install the extra: "
                "pip install 'escala[dns]'"
            ) from None
        self._make: Callable[..., Any] = Asking
        self._nameserver, self._port, self._timeout = nameserver, port, timeout
        self._asking: Any = None

    async def __call__(self, name: str, kind: str) -> Records:
        """Ask once; raises what dnspython does when there is no answer."""
        if self._asking is None:
            self._asking = self._make(configure=self._nameserver is None)
            if self._nameserver is not None:
                self._asking.nameservers = [self._nameserver]
                self._asking.port = self._port
        answer = await self._asking.resolve(
            name, kind, raise_on_no_answer=False, lifetime=self._timeout
        )
        texts = tuple(sorted(record.to_text() for record in answer.rrset or ()))
        return Records(texts, float(answer.chaining_result.minimum_ttl))
