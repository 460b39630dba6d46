"""Connections to one target: reused last-in first-out, bounded, reaped when idle.

Taking an idle connection waits for nothing. At the limit callers queue in order, and whoever
gives a connection back hands it to the first of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from escala.errors import BackendError, BackendUnreachable
from escala.http.client_connection import ClientConnection
from escala.http.message import HttpRequest, Response

Factory: TypeAlias = Callable[[], ClientConnection]
Dial: TypeAlias = Callable[[Factory, str, int], Awaitable[ClientConnection]]


async def _dial(factory: Factory, host: str, port: int) -> ClientConnection:
    _, connection = await asyncio.get_running_loop().create_connection(factory, host, port)
    return connection


class ConnectionPool:
    """Keep-alive connections to `host:port`; `exchange` is all a caller needs.

    `limit` connections at most; one that was idle for `idle` seconds is closed by `sweep`.
    Raises `BackendError` when the target cannot be reached or breaks the exchange.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        limit: int = 256,
        idle: float = 60.0,
        connect: float = 1.0,
        dial: Dial | None = None,
    ) -> None:
        self.host, self.port = host, port
        self._dial = dial or _dial
        self._limit, self._idle_time, self._connect_time = limit, idle, connect
        self._idle: list[ClientConnection] = []
        self._open = 0
        self._waiters: deque[asyncio.Future[ClientConnection | None]] = deque()
        self._closed = False
        self._loop = asyncio.get_running_loop()

    async def exchange(self, head: bytes, request: HttpRequest) -> Response:
        """Send the request on an idle or a new connection and return its response.

        A connection kept alive may have been closed by the target at the very moment it was
        reused. Then nothing of an answer has come, and an idempotent request is simply sent
        again: that is no failure of the target.
        """
        while True:
            connection = self._idle.pop() if self._idle else await self._connection()
            if not connection.usable:
                continue  # it was lost while it was being handed over
            answer = connection.begin(head, request)
            try:
                return await answer
            except BackendError:
                if connection.answered or connection.exchanges == 1:
                    raise
                if not request.idempotent or not request.repeatable:
                    raise
                if request.body is not None:
                    request.body.rewind()
            except BaseException:
                connection.give_up(answer)
                raise

    async def _connection(self) -> ClientConnection:
        if self._open >= self._limit:
            waiter: asyncio.Future[ClientConnection | None] = self._loop.create_future()
            self._waiters.append(waiter)
            try:
                handed = await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._pass_on(waiter.result())
                raise
            if handed is not None:
                return handed
        else:
            self._open += 1
        try:
            async with asyncio.timeout(self._connect_time):
                connection = await self._dial(
                    lambda: ClientConnection(self._released), self.host, self.port
                )
        except TimeoutError as error:
            self._pass_on(None)
            msg = f"{self.host}:{self.port} did not accept a connection in {self._connect_time:g} s"
            raise BackendUnreachable(msg) from error
        except OSError as error:
            self._pass_on(None)
            msg = f"cannot connect to {self.host}:{self.port}: {error.strerror or error}"
            raise BackendUnreachable(msg) from error
        except BaseException:
            self._pass_on(None)
            raise
        return connection

    def _released(self, connection: ClientConnection) -> None:
        if connection.usable:
            connection.idle_since = self._loop.time()
            if self._closed:
                connection.close()
            else:
                self._pass_on(connection)
                return
        elif connection in self._idle:
            self._idle.remove(connection)
        self._pass_on(None)

    def _pass_on(self, connection: ClientConnection | None) -> None:
        """Hand a connection, or the right to open one (None), to who waits first."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if connection is None:
            self._open -= 1
        else:
            self._idle.append(connection)

    def sweep(self, now: float) -> None:
        """Close what has been idle too long; the list is ordered by the time it became idle."""
        keep = now - self._idle_time
        while self._idle and self._idle[0].idle_since < keep:
            self._idle[0].abort_idle()

    def close(self) -> None:
        """Close the idle connections now and the busy ones when their answer is done."""
        self._closed = True
        for connection in list(self._idle):
            connection.abort_idle()

    def snapshot(self) -> dict[str, int]:
        """Open, idle and waiting, for `/status`."""
        return {"open": self._open, "idle": len(self._idle), "waiting": len(self._waiters)}
