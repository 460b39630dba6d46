"""The server's side of one HTTP/1.1 connection: bytes in, requests to a handler, answers in order.

One task serves the connection, one request after the other; pipelined requests wait in a
bounded queue. What a client does slowly is judged by the server's sweep, not by timers of its
own, so an idle or a busy connection costs no timer.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from escala.http.limits import Limits
from escala.http.link import Link
from escala.http.message import HttpRequest, Response, plain
from escala.http.pure.pace import Pace, Phase, Verdict
from escala.http.pure.response_head import BODYLESS, response_head, switching_head
from escala.http.pure.syntax import Refused
from escala.http.request_parser import RequestParser
from escala.http.stream import Stream
from escala.http.tunnel import Upgraded

Handler = Callable[[HttpRequest], Awaitable[Response]]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Owner(Protocol):
    """The server, as far as its connections need it."""

    limits: Limits
    handler: Handler
    draining: bool
    connections: set[ServerConnection]

    def refused(self, status: int) -> None:
        """Count a request that never reached the handler."""
        ...

    def left(self, connection: ServerConnection) -> None:
        """A connection is gone."""
        ...


class ServerConnection(Link):
    """Parses, queues, answers; pauses its client when a body or an answer is not taken."""

    def __init__(self, owner: Owner) -> None:
        super().__init__()
        self._owner = owner
        self._limits = owner.limits
        self._queue: deque[HttpRequest | Refused] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._pace = Pace(self._limits, self._loop.time())
        self._parser = RequestParser(self, self._limits, self._on_request)
        self._raw: Callable[[bytes], None] | None = None  # after an upgrade
        self._upgrading: HttpRequest | Refused | None = None
        self._task: asyncio.Task[None] | None = None
        self._lingering = False
        self._streaming: Stream | None = None  # the answer that is passed on
        self._closing = False  # nothing more is read as HTTP
        self._busy = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        # On a socket for both, IPv4 clients come as ::ffff:192.0.2.1: everyone else knows them
        # without that.
        self._parser.peer = peer[0].removeprefix("::ffff:") if isinstance(peer, tuple) else "unix"
        connections = self._owner.connections
        if len(connections) >= self._limits.connections:
            self._owner.refused(503)
            self._transport.write(_whole(plain(503, "too many connections")))
            self._transport.close()
            self._closing = True
            return
        connections.add(self)
        self._task = self._loop.create_task(self._serve())
        self._task.add_done_callback(self._served)

    def data_received(self, data: bytes) -> None:
        """Parse; every callback below runs inside this."""
        if self._raw is not None:
            self._raw(data)
            return
        if self._closing:
            return
        try:
            rest = self._parser.feed(data)
        except Refused as refused:
            self._refuse(refused)
        else:
            if rest is not None:
                self._hold(rest)

    def eof_received(self) -> bool:
        """The client has gone, as far as anyone does in HTTP/1.1: nothing half-closes and waits."""
        if self._upgraded is not None:
            self._upgraded.eof(self._transport)
            return True
        self._closing = True
        self._parser.fail(Refused(400, "the client closed inside its request body"))
        return False  # who no longer listens for an answer gets none: `connection_lost` follows

    def connection_lost(self, _error: Exception | None) -> None:
        """The client is gone: stop working for it."""
        self._owner.left(self)
        self._closing = True
        self._parser.fail(Refused(400, "the client closed the connection"))
        self._parser.close()
        if self._upgraded is not None:
            self._upgraded.lost(self._transport)
        self._free()
        task, self._task, self._raw, self._waiter = self._task, None, None, None
        if task is not None:
            task.cancel()

    # Source of a request's body (see `Stream`)

    def abandon(self) -> None:
        """The handler does not want the rest of this body; the connection ends after the answer."""
        self._closing = True

    # Serving

    def _on_request(self, request: HttpRequest) -> None:
        if request.expects_continue and request.body is not None:
            request.body.on_first_read = self._send_continue
        self._queue.append(request)
        if len(self._queue) > self._limits.pipeline:
            raise Refused(429, "too many pipelined requests")
        self._wake()

    def _served(self, task: asyncio.Task[None]) -> None:
        """A fault of our own must not leave a client waiting on an open connection."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            sys.excepthook(type(error), error, error.__traceback__)
            self._transport.abort()

    async def _serve(self) -> None:  # noqa: C901  one loop; a call in it would cost a frame
        queue = self._queue
        while True:
            while not queue:
                if self._closing or self._owner.draining:
                    self._close()
                    return
                self._waiter = self._loop.create_future()
                await self._waiter
                self._waiter = None
            request = queue.popleft()
            self._busy = True
            if isinstance(request, Refused):
                self._owner.refused(request.status)
                self._transport.write(_whole(plain(request.status, request.reason)))
                self._linger()
                return
            try:
                response = await self._owner.handler(request)
            except Refused as refused:
                response = plain(refused.status, refused.reason)
            except Exception:  # noqa: BLE001  a bug in a handler costs one answer, not the worker
                sys.excepthook(*sys.exc_info())
                response = plain(500, "internal error")
            if response.upgraded is not None:
                self._switch(request, response.upgraded, response)
                return
            body = response.body
            ends = self._ends_with(request) or (
                response.length is None and request.version == "1.0" and type(body) is Stream
            )
            if isinstance(body, bytes):
                self._send_whole(request, response, body, ends=ends)
            elif not await self._send_stream(request, response, body, ends=ends):
                self._transport.abort()
                return
            if self._full is not None:
                await self._full
            if ends:
                self._end(request)
                return
            self._busy = False

    def _ends_with(self, request: HttpRequest) -> bool:
        """Whether the connection ends with the answer to this request."""
        body = request.body
        return (
            request.close
            or self._owner.draining
            or (self._closing and not self._queue)
            or (body is not None and not body.ended)
            or request.upgrade is not None
        )

    def _send_whole(
        self, request: HttpRequest, response: Response, body: bytes, *, ends: bool
    ) -> None:
        length: int | None = len(body)
        if request.method == "HEAD":  # a length that GET would have, or none (RFC 9110 8.6)
            length, body = response.length if response.length is not None else length or None, b""
        elif response.status in BODYLESS:
            body = b""
        head = response_head(
            response.status, response.headers, option=_option(request, ends=ends), length=length
        )
        self._transport.write(head + body)

    def _end(self, request: HttpRequest) -> None:
        if self._closing or (request.body is not None and not request.body.ended):
            self._linger()
        else:
            self._close()

    async def _send_stream(
        self, request: HttpRequest, response: Response, body: Stream, *, ends: bool
    ) -> bool:
        """Pass a body on as it arrives; False when it broke off, which the client must notice."""
        write = self._transport.write
        length = response.length
        bodyless = request.method == "HEAD" or response.status in BODYLESS
        chunked = length is None and request.version == "1.1" and not bodyless
        option = _option(request, ends=ends)
        write(
            response_head(
                response.status, response.headers, option=option, length=length, chunked=chunked
            )
        )
        if bodyless:
            body.discard()
            return True
        sent = 0
        self._streaming = body
        try:
            while chunk := await body.read():
                sent += len(chunk)
                write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                await self.taken()
        except asyncio.CancelledError:
            body.discard()
            raise
        except Exception:  # noqa: BLE001  whatever broke it, the head is out: only cutting is left
            return False
        finally:
            self._streaming = None
        if chunked:
            write(b"0\r\n\r\n")
        return length is None or sent == length

    def _switch(self, request: HttpRequest, upgraded: Upgraded, response: Response) -> None:
        self._upgraded = upgraded
        self._transport.write(switching_head(response.headers, upgraded.protocol))
        self._raw = upgraded.join(self._transport)
        for data in request.early or ():
            self._raw(data)

    def _hold(self, data: bytes) -> None:
        """Keep what a client sends behind an upgrade until a target has accepted that."""
        self._raw = self._hold
        request = self._upgrading
        if request is None:
            request = self._upgrading = self._queue[-1]
        if isinstance(request, HttpRequest) and data:
            request.early = [*(request.early or ()), data]
            if sum(map(len, request.early)) > self._limits.header_size:
                self._transport.abort()

    def _send_continue(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_CONTINUE)

    def _refuse(self, refused: Refused) -> None:
        """Answer what came before, then this, then close."""
        self._closing = True
        if self._parser.fail(refused):
            # The handler of the request that it broke answers with this refusal.
            self._owner.refused(refused.status)
            return
        self._queue.append(refused)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _linger(self) -> None:
        """Close without a reset: unread bytes would make the kernel drop our answer."""
        self._closing = True
        self._lingering = True
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()

    def _close(self) -> None:
        self._closing = True
        self._transport.close()

    # The server's side

    def drain(self) -> None:
        """Finish the request at hand, take no other."""
        if not self._busy and not self._queue and not self._parser.in_head:
            self._close()

    def abort(self) -> None:
        """Cut off."""
        self._transport.abort()

    def sweep(self, now: float) -> None:
        """Judge the client's pace; called about once a second."""
        if self._upgraded is not None:
            return
        answer = self._streaming
        if answer is None or answer.paused:
            self._pace.stalled(now, -1)
        elif self._pace.stalled(now, answer.received):
            answer.discard()
            self._transport.abort()
            return
        parser = self._parser
        reading = parser.body is not None and not parser.body.paused and not self._pauses
        verdict = self._pace.judge(
            now,
            self._phase(),
            parser.requests,
            unsent=self._transport.get_write_buffer_size(),
            received=parser.body.received if parser.body is not None and reading else None,
        )
        match verdict:
            case Verdict.CUT:
                self._transport.abort()
            case Verdict.CLOSE:
                self._close()
            case Verdict.SLOW_HEAD | Verdict.SLOW_BODY:
                self._refuse(Refused(408, verdict.value))

    def _phase(self) -> Phase:
        if self._lingering:
            return Phase.LINGER
        if self._parser.in_head:
            return Phase.HEAD
        if self._busy or self._queue:
            return Phase.BUSY
        return Phase.IDLE if self._parser.requests else Phase.FRESH


def _option(request: HttpRequest, *, ends: bool) -> bytes:
    """The `Connection` field of an answer; HTTP/1.1 stays open unless told otherwise."""
    if ends:
        return b"close"
    return b"keep-alive" if request.version == "1.0" else b""


def _whole(refusal: Response) -> bytes:
    """A refusal in one piece, after which the connection ends."""
    body = refusal.body if isinstance(refusal.body, bytes) else b""
    head = response_head(refusal.status, refusal.headers, option=b"close", length=len(body))
    return head + body
