"""Policies around every request of an `aiohttp.ClientSession`, as a client middleware."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import attrgetter

import aiohttp
from aiohttp.payload import BytesPayload

from escala.adapters.exchange import SMALL, Client, Exchange, judging
from escala.adapters.given_policy import policies
from escala.adapters.outgoing_request import OutgoingRequest
from escala.adapters.pure.timeout_field import TIMEOUT_FIELD, written
from escala.http.message import IDEMPOTENT
from escala.kernel.context import remaining
from escala.kernel.policy import Policy
from escala.kernel.runtime import colours

Judge = Callable[[aiohttp.ClientResponse], bool]


class AiohttpMiddleware:
    """Surround each request with a policy: `ClientSession(middlewares=[this])`.

    - `policy`: usually a stack, such as `standard()`.
    - `judge`: which answers are failures to the policies; by default 429 and 5xx without 501
      and 505, also where it fails. The caller gets the last answer as it is.

    The policy surrounds the request until the head of the answer is here; each redirect is a
    request of its own. The server learns the deadline around the call from
    `X-Request-Timeout-Ms`. Raises aiohttp's own errors, `DeadlineExceeded` when the time that
    Escala gave is up, and `Rejected` when it refuses.

    aiohttp by itself sends an idempotent request once more when its connection breaks. Under a
    policy that repeats calls that would double every attempt, so there a broken connection is
    raised in the end as `ClientConnectionError`, of which the more exact errors are subclasses.
    """

    def __init__(self, policy: Policy, *, judge: Judge | None = None) -> None:
        policies(policy, where="AiohttpMiddleware")
        self.policy = policy
        self._judge = judging(judge, attrgetter("status"), where="AiohttpMiddleware")

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send a request."""
        body = request.body
        known = OutgoingRequest(
            request.method,
            request.url.host or "",
            request.headers.get,
            repeatable=not body or isinstance(body, BytesPayload),
        )
        client = _Client(request, handler)
        try:
            return await Exchange(self.policy, known, client, self._judge, colours.loop).run()
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            repeats = self.policy.repeats and request.method in IDEMPOTENT
            if not repeats or isinstance(error, aiohttp.ClientConnectorError):
                raise
            final = aiohttp.ClientConnectionError(str(error) or type(error).__name__)
            for note in getattr(error, "__notes__", ()):
                final.add_note(note)
            raise final from error


class _Client(Client[aiohttp.ClientResponse]):
    failures = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError)
    timeouts = (TimeoutError,)

    def __init__(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> None:
        self.request, self.handler = request, handler

    async def send(self) -> aiohttp.ClientResponse:
        left = remaining(colours.loop.now())
        if left < math.inf:
            self.request.headers[TIMEOUT_FIELD] = written(left)
        return await self.handler(self.request)

    async def read(self, response: aiohttp.ClientResponse) -> None:
        length = response.content_length
        if length is not None and length <= SMALL:
            await response.read()  # kept there, and the connection is given back

    async def close(self, response: aiohttp.ClientResponse) -> None:
        response.release()

    def status(self, response: aiohttp.ClientResponse) -> int:
        return response.status

    def header(self, response: aiohttp.ClientResponse, name: str) -> str | None:
        return response.headers.get(name)
