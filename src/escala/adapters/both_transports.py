"""What sends for a transport that serves both colours: given, or httpx's own once it is needed."""

from __future__ import annotations

import threading

import httpx

from escala.errors import ConfigError
from escala.kernel.wrong_value import shown


class BothTransports:
    """One transport for sync and one for async code; a missing one is made once, by any thread."""

    def __init__(
        self,
        transport: httpx.BaseTransport | None,
        atransport: httpx.AsyncBaseTransport | None,
        *,
        where: str,
    ) -> None:
        _check(transport, httpx.BaseTransport, f"{where}: transport")
        _check(atransport, httpx.AsyncBaseTransport, f"{where}: atransport")
        self._transport, self._atransport = transport, atransport
        self._making = threading.Lock()

    @property
    def sync(self) -> httpx.BaseTransport:
        """What sends in sync code."""
        if self._transport is None:
            with self._making:
                if self._transport is None:
                    self._transport = httpx.HTTPTransport()
        return self._transport

    @property
    def asynchronous(self) -> httpx.AsyncBaseTransport:
        """What sends in async code."""
        if self._atransport is None:
            with self._making:
                if self._atransport is None:
                    self._atransport = httpx.AsyncHTTPTransport()
        return self._atransport

    def close(self) -> None:
        """Close the connections of sync clients."""
        if self._transport is not None:
            self._transport.close()

    async def aclose(self) -> None:
        """Close the connections of async clients."""
        if self._atransport is not None:
            await self._atransport.aclose()


def _check(given: object, kind: type, where: str) -> None:
    if given is not None and not isinstance(given, kind):
        raise ConfigError(f"{where}: expected an httpx.{kind.__name__}, found {shown(given)}")
