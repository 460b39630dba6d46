"""After `101 Switching Protocols`: two sockets joined, bytes passed on as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Upgraded:
    """The target's side of an accepted upgrade, until and after it is joined to a client.

    Each side is paused while the other cannot write; when one closes, the other does too.
    """

    __slots__ = ("_client", "_ended", "_target", "on_end", "protocol", "rest")

    def __init__(self, target: asyncio.Transport, protocol: bytes, rest: bytes) -> None:
        self._target = target
        self._client: asyncio.Transport | None = None
        self._ended: asyncio.Transport | None = None
        self.protocol = protocol
        self.rest = rest  # what the target sent right behind its 101
        self.on_end: Callable[[], None] | None = None

    def join(self, client: asyncio.Transport) -> Callable[[bytes], None]:
        """Connect the client's transport; returns where its bytes go."""
        self._client = client
        if self.rest:
            client.write(self.rest)
            self.rest = b""
        return self.to_target

    def to_target(self, data: bytes) -> None:
        """The client said something."""
        self._target.write(data)

    def to_client(self, data: bytes) -> None:
        """The target said something."""
        if self._client is None:
            self.rest += data
        else:
            self._client.write(data)

    def _other(self, transport: asyncio.Transport) -> asyncio.Transport | None:
        return self._client if transport is self._target else self._target

    def pause(self, transport: asyncio.Transport) -> None:
        """`transport` cannot write: stop reading from the other side."""
        other = self._other(transport)
        if other is not None and not other.is_closing():
            other.pause_reading()

    def resume(self, transport: asyncio.Transport) -> None:
        """`transport` can write again."""
        other = self._other(transport)
        if other is not None and not other.is_closing():
            other.resume_reading()

    def eof(self, transport: asyncio.Transport) -> None:
        """`transport` will send no more: tell the other side; close when neither will."""
        other = self._other(transport)
        if self._ended is not None and self._ended is not transport:
            transport.close()
            if other is not None:
                other.close()
            return
        self._ended = transport
        if other is not None and other.can_write_eof() and not other.is_closing():
            other.write_eof()

    def lost(self, transport: asyncio.Transport) -> None:
        """`transport` is gone: close the other side once it has what was sent to it."""
        other = self._other(transport)
        if other is not None:
            other.close()
        if self.on_end is not None:
            on_end, self.on_end = self.on_end, None
            on_end()

    def abort(self) -> None:
        """No client will be joined."""
        self._target.abort()
