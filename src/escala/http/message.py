"""An HTTP request and its response, as the engine, the gateway and the caches hand them on.

Header names are lower-cased bytes, in the order in which they came. Framing (`Content-Length`,
`Transfer-Encoding`) and the other hop-by-hop fields are not among them: each hop writes its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, TypeAlias

from escala.kernel.context import Request
from escala.kernel.runtime import wall

if TYPE_CHECKING:
    from escala.http.stream import Stream
    from escala.http.tunnel import Upgraded

Headers: TypeAlias = list[tuple[bytes, bytes]]

KEYS = ("client_ip", "method", "host", "path")  # what requests can be grouped by, and headers
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
IDEMPOTENT = SAFE | {"PUT", "DELETE"}


class HttpRequest(Request):
    """One request on its way through: the context that policies see, and the message itself.

    `peer` is the address that the connection came from, `client` the one it speaks for (a
    trusted proxy's `X-Forwarded-For`); `body` is None when there is none. `origin` holds the
    forwarding fields that came with it, `close` whether its connection ends with it, `early`
    what a client sent behind an upgrade before that was accepted.
    """

    # What few requests have stands here and costs the others nothing.
    length: int | None = None
    version = "1.1"
    upgrade: bytes | None = None
    scheme = b"http"
    tried: tuple[Any, ...] = ()
    origin: Sequence[tuple[bytes, bytes]] = ()
    early: list[bytes] | None = None
    expects_continue = False
    close = False

    def __init__(
        self,
        method: str,
        target: bytes,
        headers: Headers,
        *,
        host: bytes = b"",
        body: Stream | None = None,
        peer: str = "",
    ) -> None:
        # Not through super().__init__: this runs once for each request.
        self.notes = {}
        self.idempotent = method in IDEMPOTENT
        self.method, self.target, self.headers, self.host = method, target, headers, host
        self.body = body
        self.peer = self.client = peer

    @property
    def path(self) -> bytes:
        """The target without its query."""
        return self.target.partition(b"?")[0]

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header field, by its lower-cased name."""
        for have, value in self.headers:
            if have == name:
                return value
        return None

    def get(self, name: str) -> str | None:
        """What policies group by: client_ip, method, host, path, `header:<name>`, key, tenant."""
        if name == "client_ip":
            return self.client
        if name.startswith("header:"):
            value = self.header(name[7:].lower().encode())
            return None if value is None else value.decode("latin-1")
        if name == "method":
            return self.method
        if name == "host":
            return self.host.decode("latin-1")
        if name == "path":
            return self.path.decode("latin-1")
        return super().get(name)

    @property
    def repeatable(self) -> bool:
        """Whether the body, if any, can still be sent once more from its start."""
        return self.upgrade is None and (self.body is None or self.body.replayable)


class Response:
    """An answer: `body` is bytes when all of it is here, else a `Stream` still arriving.

    `length` is the declared length where the body itself does not tell (HEAD, 304, a stream).
    """

    __slots__ = ("body", "headers", "length", "status", "upgraded")

    def __init__(
        self,
        status: int,
        headers: Headers,
        body: bytes | Stream = b"",
        *,
        length: int | None = None,
        upgraded: Upgraded | None = None,
    ) -> None:
        self.status, self.headers, self.body = status, headers, body
        self.length, self.upgraded = length, upgraded

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header field, by its lower-cased name."""
        for have, value in self.headers:
            if have == name:
                return value
        return None

    def discard(self) -> None:
        """Let go of an answer that no one will read; its connection is closed if need be."""
        if not isinstance(self.body, bytes):
            self.body.discard()
        if self.upgraded is not None:
            self.upgraded.abort()


def plain(status: int, text: str, *extra: tuple[bytes, bytes]) -> Response:
    """An answer of our own, as one line of text."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"date", http_date()), *extra]
    return Response(status, headers, text.encode() + b"\n")


_date: tuple[int, bytes] = (0, b"")


def http_date() -> bytes:
    """The current `Date`; made once a second."""
    global _date  # noqa: PLW0603  a cache of one entry, replaced as a whole
    now = int(wall())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True).encode())
    return _date[1]
