"""An HTTP/1.1 server: listening sockets, their connections, a sweep for the slow, a drain."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

from escala.http.limits import Limits
from escala.http.server_connection import Handler, ServerConnection


class HttpServer:
    """Serves `handler` on sockets that are already bound.

    `handler` may be replaced at any time: requests that have begun keep the one they began
    with. `refusals` counts, by status, the requests that never reached a handler.
    """

    def __init__(self, handler: Handler, limits: Limits | None = None) -> None:
        self.handler = handler
        self.limits = limits or Limits()
        self.draining = False
        self.connections: set[ServerConnection] = set()
        self.refusals: Counter[int] = Counter()
        self._departure = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self, *sockets: socket.socket) -> None:
        """Accept connections."""
        loop = asyncio.get_running_loop()
        for bound in sockets:
            server = await loop.create_server(
                lambda: ServerConnection(self), sock=bound, backlog=1024
            )
            self._servers.append(server)
        self._sweep()

    def refused(self, status: int) -> None:
        """Count a request that never reached the handler."""
        self.refusals[status] += 1

    def left(self, connection: ServerConnection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        self._departure.set()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in tuple(self.connections):
            connection.sweep(now)
        self._sweeper = loop.call_later(1.0, self._sweep)

    async def drain(self, patience: float) -> bool:
        """Stop accepting, let every request at hand end; False when `patience` seconds ran out.

        What is still running then is cut off.
        """
        self.draining = True
        for server in self._servers:
            server.close()
        for connection in tuple(self.connections):
            connection.drain()
        try:
            async with asyncio.timeout(patience):
                while self.connections:
                    self._departure.clear()
                    await self._departure.wait()
        except TimeoutError:
            clean = False
        else:
            clean = True
        for connection in tuple(self.connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        return clean
