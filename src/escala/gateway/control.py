"""How the supervisor and its workers talk: one JSON object a line over a socket pair."""

from __future__ import annotations

import asyncio
import json  # msgspec's refuses subclasses of str and float, of which configuration is made
import socket
from typing import Any

_LIMIT = 64 * 1024 * 1024  # a line: one whole stack file, or one worker's figures


class Control:
    """One end of the channel. `receive` gives None when the other end is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, end: socket.socket) -> Control:
        """Take one socket of the pair."""
        reader, writer = await asyncio.open_connection(sock=end, limit=_LIMIT)
        return cls(reader, writer)

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message; a gone peer is noticed by `receive`."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """The next message."""
        try:
            line = await self._reader.readline()
        except OSError:
            return None
        if not line.endswith(b"\n"):
            return None
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """Close this end."""
        self._writer.close()
