"""The client's side of one HTTP/1.1 connection: one request at a time, its answer as it comes.

An answer whose length is known and small is handed over whole, so that a target which dies in
the middle of it can still be replaced; anything else is handed over with its head and streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httptools

from escala.errors import BackendError
from escala.http.link import Link
from escala.http.message import HttpRequest, Response, http_date
from escala.http.pure.response_head import BODYLESS, SPECIAL, response_fields
from escala.http.stream import Stream
from escala.http.tunnel import Upgraded

WHOLE = 64 * 1024  # an answer declared to be no larger than this is received whole
_HEADER_COUNT = 500
_HEADER_SIZE = 256 * 1024
_UNASKED = "the target sent more than it was asked for"


class ClientConnection(Link):
    """A connection to a target. `exchange` sends a request and returns its response."""

    def __init__(self, released: Callable[[ClientConnection], None]) -> None:
        self._released = released  # told once, when it is idle again or lost
        super().__init__()
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Response] | None = None
        self._response: Response | None = None
        self._stream: Stream | None = None
        self._chunks: list[bytes] = []
        self._sender: asyncio.Task[None] | None = None
        self._method = ""
        self._upgrade = False
        self._head_bytes = 0
        self._in_head = True
        self._until_close = False
        self._complete = True
        self._headers: list[tuple[bytes, bytes]] = []
        self._special: list[tuple[bytes, bytes]] = []
        self.exchanges = 0
        self.answered = False  # whether any byte of the current answer came
        self.usable = True
        self.idle_since = 0.0

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Parse; every callback below runs inside this."""
        if self._upgraded is not None:
            self._upgraded.to_client(data)
            return
        if self._complete:
            # Bytes that no request asked for: whatever follows could be taken for an answer.
            self._break(BackendError(_UNASKED))
            return
        self.answered = True
        self._head_bytes += len(data)  # since a body's last byte: trailers and extensions too
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._switch(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._break(BackendError(f"the target's answer is not HTTP: {error}"))
            return
        if self._head_bytes > _HEADER_SIZE and not self._complete:
            self._break(BackendError("the target's header section or trailer is too large"))

    def eof_received(self) -> bool:
        """An answer without a length ends here; any other is cut off."""
        if self._upgraded is not None:
            self._upgraded.eof(self._transport)
            return True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The target closed."""
        if self._upgraded is not None:
            self._upgraded.lost(self._transport)
        elif self._until_close and not self._complete and error is None:
            self.on_message_complete()
        else:
            self._break(BackendError("the target closed the connection too early"))
        self._free()
        if self.usable:
            self.usable = False
            self._released(self)
        del self._parser  # it refers back: no cycle is left to the collector

    # Source of an answer's body (see `Stream`)

    def abandon(self) -> None:
        """The reader went away in the middle: this connection cannot be used again."""
        self._break(BackendError("the answer was abandoned"))

    # One exchange

    def begin(self, head: bytes, request: HttpRequest) -> asyncio.Future[Response]:
        """Send a request; the future of its response. Whoever stops waiting must `give_up`."""
        self.exchanges += 1
        self.answered = self._complete = False
        self._in_head = True
        self._head_bytes = 0
        self._method = request.method
        self._upgrade = request.upgrade is not None
        answer: asyncio.Future[Response] = self._loop.create_future()
        self._answer = answer
        body = request.body
        if body is None:
            self._transport.write(head)
        elif body.ended and request.length is not None and body.on_first_read is None:
            self._transport.write(head + body.take())
        else:
            self._transport.write(head)
            self._sender = self._loop.create_task(self._send(body, request.length))
            body.on_rewind = self._stop_sending
        return answer

    def _stop_sending(self) -> None:
        """The body goes to another target; one that answered before it had all cannot be reused."""
        if self._sender is not None:
            self._break(BackendError("the request is sent to another target"))

    def give_up(self, answer: asyncio.Future[Response]) -> None:
        """End an exchange that failed or that no one waits for; the connection goes with it.

        Once answered, the connection may serve another exchange by now, which is left alone.
        """
        if self._answer is answer:
            self._answer = None
            answer.cancel()
            self._break(BackendError("the exchange was given up"))
        elif not answer.cancelled() and answer.exception() is None:
            answer.result().discard()

    async def _send(self, body: Stream, length: int | None) -> None:
        """Pass a request body on as it arrives, in chunks of our own if its length is unknown."""
        write = self._transport.write
        try:
            while chunk := await body.read():
                if self._transport.is_closing():
                    return
                write(chunk if length is not None else b"%x\r\n%b\r\n" % (len(chunk), chunk))
                await self.taken()
            if length is None:
                write(b"0\r\n\r\n")
        except Exception as error:  # noqa: BLE001  the client's fault, told to who waits
            self._break(error)
        finally:
            self._sender = None
            if self._complete and self.usable:
                self._finish()

    # httptools callbacks

    def on_message_begin(self) -> None:
        """An answer begins."""
        if self._complete:
            raise BackendError(_UNASKED)
        self._headers = []
        self._special = []
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field, or a trailer, which is dropped."""
        if not self._in_head:
            return
        name = name.lower()
        (self._special if name in SPECIAL else self._headers).append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole: decide how the body will be handed over."""
        status = self._parser.get_status_code()
        if not 100 <= status <= 599:  # noqa: PLR2004  RFC 9110 section 15
            raise BackendError(f"the target answered with the status {status}")
        if status < 200 and status != 101:  # noqa: PLR2004
            return
        self._in_head = False
        self._head_bytes = 0
        if len(self._headers) > _HEADER_COUNT:
            raise BackendError("the target sent too many header fields")
        if any(
            name == b"transfer-encoding" and value.strip().lower() != b"chunked"
            for name, value in self._special
        ):
            raise BackendError("the target used a transfer coding other than chunked")
        headers, length, coded = response_fields(self._headers, self._special, http_date)
        self._response = response = Response(status, headers, length=length)
        self._keep = self._parser.should_keep_alive()
        if status == 101:  # noqa: PLR2004  the parser is about to stop: see `_switch`
            return
        if self._method == "HEAD" or status in BODYLESS:
            if self._method == "HEAD":
                # The parser would wait for the body that this length announces.
                self._parser = httptools.HttpResponseParser(self)
            self.on_message_complete()
            return
        self._until_close = length is None and not coded
        if length is None or length > WHOLE:
            response.body = self._stream = Stream(self)
            if length is None:
                # Perhaps all of it is in this very read: look before handing over a stream.
                self._loop.call_soon(self._hand_over)
            else:
                self._hand_over()

    def on_body(self, chunk: bytes) -> None:
        """A piece of the body."""
        self._head_bytes = 0
        if self._stream is not None:
            self._stream.feed(chunk)
        elif self._complete:
            raise BackendError(_UNASKED)
        else:
            self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._in_head or self._complete:
            return  # an interim answer such as 100 or 103, which is ours alone
        if self._response is not None and self._response.status == 101:  # noqa: PLR2004
            return
        self._complete = True
        response, stream = self._response, self._stream
        if stream is not None:
            self._stream = None
            if self._answer is not None and response is not None:
                response.body = stream.take()
                response.length = None
            stream.finish()
        elif response is not None:
            chunks = self._chunks
            response.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._chunks = []
        self._hand_over()
        if self._sender is None:
            self._finish()
        else:
            # It answered before it had the whole request. Many a server then reads on and drops
            # what comes, the next request included: let this one end with the connection.
            self._keep = False

    def _hand_over(self) -> None:
        answer = self._answer
        if answer is not None and self._response is not None:
            self._answer = None
            if not answer.done():
                answer.set_result(self._response)

    def _finish(self) -> None:
        """Back to the pool, unless someone said that it ends here."""
        self._response = None
        if not self.usable:
            return
        if not self._keep or self._until_close:
            self.close()
        self._released(self)

    def _switch(self, rest: bytes) -> None:
        response = self._response
        if response is None or not self._upgrade:
            self._break(BackendError("the target switched protocols unasked"))
            return
        self._complete = True
        self.usable = False
        self._released(self)
        protocol = dict(self._special).get(b"upgrade", b"websocket")
        self._upgraded = response.upgraded = Upgraded(self._transport, protocol, rest)
        self._hand_over()

    def _break(self, error: Exception) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.fail(error)
        if self._sender is not None:
            self._sender.cancel()
        self._complete = True
        self._chunks = []
        self._transport.abort()
        if self.usable:
            self.usable = False
            self._released(self)

    def abort_idle(self) -> None:
        """Close a connection that no one uses."""
        if self.usable:
            self.usable = False
            self._released(self)
        self._transport.close()

    def close(self) -> None:
        """Close once everything is written."""
        self.usable = False
        self._transport.close()
