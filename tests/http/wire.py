"""A connection without a socket: what the peer would see, and what it could do."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from escala.http.limits import Limits
from escala.http.message import HttpRequest, Response
from escala.http.server_connection import Handler, ServerConnection
from escala.kernel.runtime import colours
from escala.testing import VirtualRuntime


class Wire(asyncio.Transport):
    """Keeps what was written; `stuck` bytes are those that the peer has not taken."""

    def __init__(self) -> None:
        super().__init__()
        self.out = b""
        self.stuck = 0
        self.reading = True
        self.closed = self.aborted = self.eof = False
        self.protocol: asyncio.Protocol | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("203.0.113.9", 4711) if name == "peername" else default

    def write(self, data: Any) -> None:
        if not self.closed:
            self.out += bytes(data)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def pause_reading(self) -> None:
        assert self.reading, "paused twice"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading, "resumed twice"
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def get_write_buffer_size(self) -> int:
        return self.stuck

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._lost)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def _lost(self) -> None:
        if self.protocol is not None:
            self.protocol.connection_lost(None)


class Server:
    """An owner of connections, and the one connection that a test talks through."""

    def __init__(self, handler: Handler, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.handler = handler
        self.draining = False
        self.connections: set[ServerConnection] = set()
        self.refusals: Counter[int] = Counter()

    def refused(self, status: int) -> None:
        self.refusals[status] += 1

    def left(self, connection: ServerConnection) -> None:
        self.connections.discard(connection)

    def connect(self) -> tuple[ServerConnection, Wire]:
        wire, connection = Wire(), ServerConnection(self)
        wire.protocol = connection
        connection.connection_made(wire)
        return connection, wire


async def passes(seconds: float) -> None:
    """Let virtual time pass."""
    await colours.loop.sleep(seconds)


async def settle(rounds: int = 20) -> None:
    """Let everything that is ready run."""
    for _ in range(rounds):
        await passes(0)


def virtually(main: Coroutine[Any, Any, Any]) -> Any:
    return VirtualRuntime().run(main)


def talk(data: bytes, handler: Handler, limits: Limits | None = None) -> tuple[Wire, Server]:
    """Say everything at once, and see what came of it."""
    server = Server(handler, limits)

    async def main() -> Wire:
        connection, wire = server.connect()
        connection.data_received(data)
        await settle(400)
        return wire

    return virtually(main()), server


def statuses(out: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", out)]


async def echo(request: HttpRequest) -> Response:
    """Answers with method, target and body."""
    body = b""
    if request.body is not None:
        async for chunk in request.body:
            body += chunk
    said = b"%b %b [%b]" % (request.method.encode(), request.target, body)
    return Response(200, [(b"content-type", b"text/plain")], said)
