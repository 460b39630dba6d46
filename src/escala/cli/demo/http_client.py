"""A small HTTP/1.1 client for load: keep-alive, a pool per source address, callbacks, no tasks.

The generator shares the machine with what it measures, so a request on a warm connection costs
one write, one read and one timer.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools

LOOPBACK = "127.0.0.1"


class Reply(NamedTuple):
    """What came back; without a status, `error` says why."""

    status: int = 0
    cache: str = ""
    rejected: str = ""
    body: bytes = b""
    error: str = ""


Done = Callable[[Reply], None]


def request_bytes(method: str, path: str, body: bytes = b"", key: str = "") -> bytes:
    """A request as it goes over the wire."""
    head = f"{method} {path} HTTP/1.1\r\nHost: shop.example\r\n"
    if key:
        head += f"Idempotency-Key: {key}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode("latin-1") + b"\r\n" + body


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, pool: list[_Connection]) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._done: Done | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._parser = httptools.HttpResponseParser(self)

    @property
    def open(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, done: Done, timeout: float, *, bodiless: bool) -> None:
        """Send a request; `done` is called exactly once."""
        self._done, self._bodiless = done, bodiless
        self._cache = self._rejected = ""
        self._body = bytearray()
        self._timer = self._loop.call_later(timeout, self._fail, "timeout")
        if self._transport is None:
            self._fail("reset")
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._done is None:
            self.close()  # bytes that answer nothing
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail("garbage")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        self._transport = None
        if self in self._pool:
            self._pool.remove(self)
        self._fail("reset")

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower == b"escala-cache":
            self._cache = value.decode("latin-1")
        elif lower == b"escala-rejected":
            self._rejected = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._bodiless:
            # The parser cannot know that a HEAD request was sent, and would wait for the body.
            keep = self._parser.should_keep_alive()
            status = self._parser.get_status_code()
            self._parser = httptools.HttpResponseParser(self)
            self._finish(status, keep=keep)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and self._done is not None:  # noqa: PLR2004  1xx only announce an answer
            self._finish(status, keep=self._parser.should_keep_alive())

    def _finish(self, status: int, *, keep: bool) -> None:
        done, self._done = self._done, None
        self._timer.cancel()
        if keep:
            self._pool.append(self)
        else:
            self.close()
        if done is not None:
            done(Reply(status, self._cache, self._rejected, bytes(self._body)))

    def _fail(self, error: str) -> None:
        done, self._done = self._done, None
        if done is not None:
            self._timer.cancel()
            if self._transport is not None:
                self._transport.abort()
            done(Reply(error=error))

    def close(self) -> None:
        """Drop the connection; a request under way fails."""
        if self._transport is not None:
            self._transport.abort()


class Client:
    """Requests to one server from several source addresses."""

    def __init__(self, port: int, *, timeout: float) -> None:
        self._port, self._timeout = port, timeout
        self._idle: defaultdict[str, list[_Connection]] = defaultdict(list)
        self._opening: set[asyncio.Task[None]] = set()

    def send(self, source: str, request: bytes, done: Done, *, bodiless: bool = False) -> None:
        """Send `request` from `source`; `done` is called exactly once, with how it went."""
        pool = self._idle[source]
        while pool:
            connection = pool.pop()
            if connection.open:
                connection.send(request, done, self._timeout, bodiless=bodiless)
                return
        task = asyncio.get_running_loop().create_task(
            self._open(source, pool, request, done, bodiless=bodiless)
        )
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(
        self, source: str, pool: list[_Connection], request: bytes, done: Done, *, bodiless: bool
    ) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: _Connection(pool),
                    LOOPBACK,
                    self._port,
                    local_addr=None if source == LOOPBACK else (source, 0),
                )
        except TimeoutError:
            done(Reply(error="timeout"))
        except OSError:
            done(Reply(error="refused"))
        else:
            connection.send(request, done, self._timeout, bodiless=bodiless)

    async def ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        """One request from the usual address, awaited."""
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(reply: Reply) -> None:
            if not answer.done():
                answer.set_result(reply)

        self.send(LOOPBACK, request_bytes(method, path, body), done)
        return await answer

    async def close(self) -> None:
        """Close what is idle and stop what is still connecting."""
        for task in tuple(self._opening):
            task.cancel()
        for pool in self._idle.values():
            for connection in tuple(pool):
                connection.close()
        # Closing takes one turn of the loop; without it, sockets outlive the run.
        await asyncio.gather(*self._opening, return_exceptions=True)
