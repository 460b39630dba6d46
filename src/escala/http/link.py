"""One TCP connection, whichever side: who writes waits when the other end does not read."""

from __future__ import annotations

import asyncio

from escala.http.tunnel import Upgraded


class Link(asyncio.Protocol):
    """What a server's and a client's connection share: backpressure, and life as a tunnel."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._upgraded: Upgraded | None = None
        self._full: asyncio.Future[None] | None = None  # while the other end does not read
        self._pauses = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = transport  # type: ignore[assignment]

    async def taken(self) -> None:
        """Wait until the other end has taken most of what was written."""
        if self._full is not None:
            await self._full

    def pause_writing(self) -> None:
        """The other end reads slower than we write."""
        if self._upgraded is not None:
            self._upgraded.pause(self._transport)
        elif self._full is None:
            self._full = self._loop.create_future()

    def resume_writing(self) -> None:
        """It caught up."""
        if self._upgraded is not None:
            self._upgraded.resume(self._transport)
        self._free()

    def _free(self) -> None:
        full, self._full = self._full, None
        if full is not None and not full.done():
            full.set_result(None)

    # Source of a body (see `Stream`)

    def pause(self) -> None:
        """Read no more for now."""
        self._pauses += 1
        if self._pauses == 1 and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self._pauses -= 1
        if self._pauses == 0 and not self._transport.is_closing():
            self._transport.resume_reading()
