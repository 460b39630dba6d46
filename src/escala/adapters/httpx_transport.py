"""Policies around every request of an httpx client, sync or async, by way of its transport."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import httpx

from escala.adapters.both_transports import BothTransports
from escala.adapters.exchange import SMALL, Client, Exchange, judging
from escala.adapters.given_policy import policies
from escala.adapters.outgoing_request import OutgoingRequest
from escala.adapters.pure.timeout_field import TIMEOUT_FIELD, written
from escala.kernel.context import remaining
from escala.kernel.policy import Policy
from escala.kernel.runtime import colours, drive

Judge = Callable[[httpx.Response], bool]

# Mistakes of ours, such as a header with a line break: no second try will mend them.
_OURS = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)
_THEIRS = (httpx.TimeoutException, httpx.NetworkError, httpx.ProxyError, httpx.RemoteProtocolError)


class HttpxTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Surround each request with a policy: `httpx.Client(transport=HttpxTransport(policy))`.

    The same object serves `httpx.Client` and `httpx.AsyncClient`.

    - `policy`: usually a stack, such as `standard()`.
    - `transport`, `atransport`: what sends in sync and in async code; by default httpx's own.
      A client's arguments such as `verify`, `http2` and `limits` have no effect beside
      `transport`: give them to `httpx.HTTPTransport`.
    - `judge`: which answers are failures to the policies; by default 429 and 5xx without 501
      and 505, also where it fails. The caller gets the last answer as it is.

    The policy surrounds the request until the head of the answer is here; each redirect is a
    request of its own. Timeouts of the client never outlast the deadline around the call, which
    the server learns from `X-Request-Timeout-Ms`. Raises httpx's own errors, `DeadlineExceeded`
    when the time that Escala gave is up, and `Rejected` when it refuses.

    >>> import httpx, escala
    >>> from escala.adapters import HttpxTransport
    >>> service = httpx.MockTransport(lambda request: httpx.Response(200, text="tea"))
    >>> shop = HttpxTransport(escala.standard(name="shop"), service)
    >>> httpx.Client(transport=shop).get("http://shop.test/").text
    'tea'
    """

    def __init__(
        self,
        policy: Policy,
        transport: httpx.BaseTransport | None = None,
        *,
        atransport: httpx.AsyncBaseTransport | None = None,
        judge: Judge | None = None,
    ) -> None:
        policies(policy, where="HttpxTransport")
        self.policy = policy
        self._transports = BothTransports(transport, atransport, where="HttpxTransport")
        self._judge = judging(judge, attrgetter("status_code"), where="HttpxTransport")

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request of a sync client."""
        client = _Sync(self._transports.sync, request)
        exchange = Exchange(self.policy, _known(request), client, self._judge, colours.thread)
        return drive(exchange.run())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request of an async client."""
        client = _Async(self._transports.asynchronous, request)
        return await Exchange(self.policy, _known(request), client, self._judge, colours.loop).run()

    def close(self) -> None:
        """Close the connections of sync clients."""
        self._transports.close()

    async def aclose(self) -> None:
        """Close the connections of async clients."""
        await self._transports.aclose()


class _Timeouts(dict[str, Any]):
    """httpx's own timeouts, each no longer than what is left when it is asked for.

    Connecting, writing and reading follow each other, and each would get the whole time.
    """

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401  as dict has it
        own = super().get(name, default)
        left = max(remaining(colours.thread.now()), 0.001)
        if left == math.inf:
            return own
        return left if own is None else min(own, left)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  as dict has it
        return self.get(name)


class _Known(Client[httpx.Response]):
    """What both colours know of httpx."""

    failures = _THEIRS
    timeouts = (httpx.TimeoutException,)

    def __init__(self, request: httpx.Request) -> None:
        self.request = request

    def attempt(self) -> httpx.Request:
        """The request as this attempt sends it, with the time that it has."""
        request = self.request
        headers = httpx.Headers(request.headers)
        left = remaining(colours.thread.now())
        if left < math.inf:
            headers[TIMEOUT_FIELD] = written(left)
        extensions = dict(request.extensions)
        extensions["timeout"] = _Timeouts(extensions.get("timeout", {}))
        return httpx.Request(
            request.method,
            request.url,
            headers=headers,
            stream=request.stream,
            extensions=extensions,
        )

    def status(self, response: httpx.Response) -> int:
        return response.status_code

    def header(self, response: httpx.Response, name: str) -> str | None:
        value: str | None = response.headers.get(name)
        return value

    @staticmethod
    def small(response: httpx.Response) -> bool:
        length: str = response.headers.get("content-length", "")
        return length.isdecimal() and len(length) < 10 and int(length) <= SMALL  # noqa: PLR2004


class _Sync(_Known):
    def __init__(self, transport: httpx.BaseTransport, request: httpx.Request) -> None:
        super().__init__(request)
        self.transport = transport

    async def send(self) -> httpx.Response:
        return self.transport.handle_request(self.attempt())

    async def read(self, response: httpx.Response) -> None:
        if self.small(response) and isinstance(response.stream, httpx.SyncByteStream):
            body = b"".join(response.stream)
            response.stream.close()
            response.stream = httpx.ByteStream(body)

    async def close(self, response: httpx.Response) -> None:
        response.close()


class _Async(_Known):
    def __init__(self, transport: httpx.AsyncBaseTransport, request: httpx.Request) -> None:
        super().__init__(request)
        self.transport = transport

    async def send(self) -> httpx.Response:
        return await self.transport.handle_async_request(self.attempt())

    async def read(self, response: httpx.Response) -> None:
        if self.small(response) and isinstance(response.stream, httpx.AsyncByteStream):
            body = b"".join([part async for part in response.stream])
            await response.stream.aclose()
            response.stream = httpx.ByteStream(body)

    async def close(self, response: httpx.Response) -> None:
        await response.aclose()


def _known(request: httpx.Request) -> OutgoingRequest:
    def header(name: str) -> str | None:
        value: str | None = request.headers.get(name)
        return value

    return OutgoingRequest(
        request.method,
        request.url.host,
        header,
        repeatable=isinstance(request.stream, httpx.ByteStream),
    )
