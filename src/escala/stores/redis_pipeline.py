"""One connection to Redis for all tasks of an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from escala.stores.redis_refusal import RedisRefusal

if TYPE_CHECKING:
    from escala.stores.redis_address import RedisAddress

_CONNECTING = 1.0  # at least; the callers do not wait that long, those who come later profit
_GRACE = 0.002


class RedisPipeline(asyncio.Protocol):
    """Sends what is asked in one tick of the loop in one write, and hands out the replies.

    A reply whose waiter was cancelled is read and dropped. When one is overdue, or the connection
    breaks, everyone who waits gets the error and the pipeline is `over`: make another.
    """

    def __init__(self, address: RedisAddress) -> None:
        from hiredis import Reader

        self.over = False
        self._address, self._reader = address, Reader()
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes] = []
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._greetings = address.greetings
        self._transport: asyncio.Transport | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._late = False
        self._ending = self._end_with_loop()
        self._connecting: asyncio.Task[None] | None = self._loop.create_task(self._connect())

    def ask(self, packed: bytes) -> asyncio.Future[Any]:
        """Send a command with the others of this tick; the future gets its reply, or `OSError`."""
        waiter: asyncio.Future[Any] = self._loop.create_future()
        if not self._out and self._transport is not None:
            self._loop.call_soon(self._flush)
        self._out.append(packed)
        due = self._loop.time() + self._address.timeout
        self._waiting.append((due, waiter))
        if self._alarm is None:
            self._alarm = self._loop.call_at(due, self._ring)
        return waiter

    def close(self, error: OSError | None = None) -> None:
        """End the connection; who still waits gets `error`."""
        if self.over:
            return
        self.over = True
        if self._alarm is not None:
            self._alarm.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._fail(error or ConnectionAbortedError("the connection was closed"))
        with contextlib.suppress(StopIteration, RuntimeError):  # it ends, or is what ends this
            self._ending.aclose().send(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there: greet, and send what has been asked so far."""
        self._transport = transport  # type: ignore[assignment]
        self._out.insert(0, self._address.greeting)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Replies, in the order in which they were asked for."""
        from hiredis import ProtocolError

        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                if self._greetings:
                    self._greetings -= 1
                    if isinstance(reply, Exception):
                        self.close(RedisRefusal(reply))
                        return
                    continue
                _, waiter = self._waiting.popleft()
                if not waiter.done():
                    waiter.set_result(reply)
        except (ProtocolError, IndexError):
            self.close(ConnectionAbortedError("it sent what is no answer"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Redis, or something between, ended the connection."""
        self.close(ConnectionResetError(str(exc) if exc else "it closed the connection"))

    async def _connect(self) -> None:
        address = self._address
        await anext(self._ending)
        try:
            async with asyncio.timeout(max(_CONNECTING, address.timeout)):
                if address.path is not None:
                    await self._loop.create_unix_connection(lambda: self, address.path)
                else:
                    await self._loop.create_connection(
                        lambda: self, address.host, address.port, ssl=address.tls
                    )
        except OSError as error:
            self._connecting = None
            self.close(error)
        self._connecting = None

    async def _end_with_loop(self) -> AsyncGenerator[None, None]:
        """A loop that is about to close ends the generators that were begun in it."""
        try:
            yield
        finally:
            self.close()

    def _flush(self) -> None:
        if self._transport is not None and not self.over:
            out, self._out = self._out, []
            self._transport.write(b"".join(out))

    def _ring(self) -> None:
        """The time of the one who has waited longest may be up."""
        self._alarm = None
        if not self._waiting:
            self._late = False
            return
        due = self._waiting[0][0]
        if due > self._loop.time():
            self._late = False
            self._alarm = self._loop.call_at(due, self._ring)
        elif not self._late:
            # It may be this loop that was late: let it read first what has come meanwhile.
            self._late = True
            self._alarm = self._loop.call_later(_GRACE, self._ring)
        elif self._connecting is not None:
            self._late = False
            self._out = []
            self._fail(TimeoutError())
        else:
            self.close(TimeoutError())

    def _fail(self, error: OSError) -> None:
        waiting, self._waiting = self._waiting, deque()
        for _, waiter in waiting:
            if not waiter.done():
                waiter.set_exception(error)
