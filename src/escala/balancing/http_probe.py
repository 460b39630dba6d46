"""Asks a server for its health page: one small GET, of which only the status line is read."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    from escala.balancing.status_range import StatusRange
    from escala.balancing.target import Target

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_LONGEST_LINE = 4096


class HttpProbe:
    """The default probe of a `HealthCheck`: True when the status of `path` is an expected one.

    Every probe opens a connection of its own, since what it is to find out is whether new ones
    are answered. It never raises and reads at most a few kilobytes; whoever awaits it sets the
    time limit. TLS targets are verified as any client would.
    """

    __slots__ = ("_expect", "_path", "_tls")

    def __init__(self, *, path: str, expect: StatusRange) -> None:
        self._path, self._expect = path, expect
        self._tls: ssl.SSLContext | None = None

    async def __call__(self, target: Target) -> bool:
        """Ask once."""
        url = target.url
        try:
            reader, writer = await asyncio.open_connection(
                url.host,
                url.port,
                ssl=self._verified() if url.secure else None,
                limit=_LONGEST_LINE,
            )
            try:
                writer.write(self._request(url.address))
                line = await reader.readline()
            finally:
                # Nothing is left to say, and a goodbye could wait: also when cancelled.
                writer.transport.abort()
        except (OSError, ValueError):  # ValueError: a line too long, or an impossible host name
            return False
        found = _STATUS.fullmatch(line)
        return found is not None and int(found[1]) in self._expect

    def _request(self, host: str) -> bytes:
        return (
            f"GET {self._path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: escala-health\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n"
        ).encode("ascii")

    def _verified(self) -> ssl.SSLContext:
        if self._tls is None:
            import ssl  # plain HTTP never needs it

            self._tls = ssl.create_default_context()  # loads files, so once
        return self._tls
