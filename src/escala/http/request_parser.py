"""Bytes in, requests out: the receiving half of a server's connection, strict and bounded."""

from __future__ import annotations

from collections.abc import Callable

import httptools

from escala.http.limits import Limits
from escala.http.message import HttpRequest
from escala.http.pure.forwarding import without_named
from escala.http.pure.request_head import SPECIAL, RequestHead, request_head
from escala.http.pure.syntax import Refused, origin_form
from escala.http.stream import Source, Stream

_METHODS = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
}


class RequestParser:
    """Feed it what arrives; it calls `on_request` as soon as a request's head is whole.

    `body` is the stream of the request that is being received, None between requests and for
    requests without one. Raises `Refused` for what is malformed or too much; nothing may be fed
    after that.
    """

    def __init__(
        self,
        source: Source,
        limits: Limits,
        on_request: Callable[[HttpRequest], None],
    ) -> None:
        self._source, self._limits, self._on_request = source, limits, on_request
        self._parser = httptools.HttpRequestParser(self)
        self._head_bytes = 0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._special: list[tuple[bytes, bytes]] = []
        self._usual: list[tuple[bytes, bytes]] | None = None
        self._usual_head = RequestHead(b"")
        self._upgrading = False
        self.in_head = False
        self.body: Stream | None = None
        self.requests = 0
        self.peer = ""

    def feed(self, data: bytes) -> bytes | None:
        """Parse; what followed an upgrade that we support is returned, unparsed."""
        while True:
            # The parser holds an unfinished line until it ends, be it of a header, a chunk's
            # extension or a trailer: bound from outside what comes without being body.
            self._head_bytes += len(data)
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._parser = httptools.HttpRequestParser(self)
                if self._upgrading:
                    return data
                if data:
                    continue
            except httptools.HttpParserError as error:
                cause = error.__context__
                if isinstance(cause, Refused):
                    raise cause from None
                raise Refused(400, str(error)) from error
            if self._head_bytes > self._limits.header_size:
                if self.body is not None and not self.in_head:
                    raise Refused(431, "the trailer or a chunk's extension is too large")
                if self.in_head:
                    status = 431 if self._url and self._headers else 414
                    raise Refused(status, "the header section is too large")
            return None

    def fail(self, error: Exception) -> bool:
        """Nothing more will come; True when that broke a body, whose reader is told."""
        body, self.body = self.body, None
        self.in_head = False
        if body is not None:
            body.fail(error)
        return body is not None

    def close(self) -> None:
        """Let go of whoever refers back to this, so that no cycle waits for the collector."""
        self.body = None
        del self._parser, self._source, self._on_request

    # httptools callbacks

    def on_message_begin(self) -> None:
        """A request begins."""
        self.in_head = True
        self._url = b""
        self._headers = []
        self._special = []

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._url += url
        if len(self._url) > self._limits.request_line:
            raise Refused(414, "the request line is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field, or a trailer, which is dropped."""
        if not self.in_head:
            return
        name = name.lower()
        (self._special if name in SPECIAL else self._headers).append((name, value))

    def on_headers_complete(self) -> None:
        """The header section is whole: check what the parser does not, and make the request."""
        parser = self._parser
        version = parser.get_http_version()
        raw_method = parser.get_method()
        method = _METHODS.get(raw_method) or raw_method.decode("latin-1")
        if self._head_bytes > self._limits.header_size:
            self._check_size()
        if len(self._headers) + len(self._special) > self._limits.header_count:
            raise Refused(431, "too many header fields")
        if self._special == self._usual and version == "1.1":
            head = self._usual_head  # only `Host`, and the same as before on this connection
        else:
            head = request_head(self._special, version)
            if len(self._special) == 1:
                self._usual, self._usual_head = self._special, head
        if method == "CONNECT":
            raise Refused(501, "CONNECT is not supported")
        target = origin_form(method, self._url, head.host)
        if head.named:
            self._headers = without_named(self._headers, head.named)
        self.body = self._body(head.length)
        # Any other protocol, such as h2c, would pass the policies by: its request stays HTTP/1.1.
        websocket = head.upgrade == b"websocket" and method == "GET" and parser.should_upgrade()
        self._upgrading = websocket
        request = HttpRequest(
            method, target, self._headers, host=head.host, body=self.body, peer=self.peer
        )
        if version != "1.1":
            request.version = version
        if len(self._special) > 1:
            request.origin = head.origin
            request.expects_continue = head.expects_continue
            request.length = None if head.length == -1 else head.length
            request.upgrade = b"websocket" if websocket else None
        if not parser.should_keep_alive():
            request.close = True
        self.in_head = False
        self._head_bytes = 0
        self.requests += 1
        self._on_request(request)

    def _body(self, length: int | None) -> Stream | None:
        if not length:
            return None
        if length > self._limits.body_size:
            raise Refused(413, "the request body is too large")
        if self._parser.should_upgrade():
            raise Refused(400, "an upgrade request has no body")
        return Stream(self._source, remember=self._limits.replay)

    def _check_size(self) -> None:
        """What came since the header began is too much, bodies included; count exactly."""
        fields = (*self._headers, *self._special)
        size = len(self._url) + sum(len(name) + len(value) + 4 for name, value in fields)
        if size > self._limits.header_size:
            raise Refused(431, "the header section is too large")

    def on_body(self, chunk: bytes) -> None:
        """A piece of the body."""
        self._head_bytes = 0
        body = self.body
        if body is None:
            return
        body.feed(chunk)
        if body.received > self._limits.body_size:
            raise Refused(413, "the request body is too large")

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._head_bytes = 0
        if self.body is not None:
            self.body.finish()
            self.body = None
