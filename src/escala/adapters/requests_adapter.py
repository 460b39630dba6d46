"""Policies around every request of a `requests.Session`, by way of its adapter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Timeout as SocketTimeout

from escala.adapters.exchange import SMALL, Client, Exchange, judging
from escala.adapters.given_policy import policies
from escala.adapters.outgoing_request import OutgoingRequest
from escala.adapters.pure.timeout_field import TIMEOUT_FIELD, written
from escala.kernel.context import remaining
from escala.kernel.policy import Policy
from escala.kernel.runtime import colours, drive

Judge = Callable[[requests.Response], bool]
Given: TypeAlias = Any  # seconds, a pair of them, a timeout of urllib3 or None


class RequestsAdapter(HTTPAdapter):
    """Surround each request with a policy: `session.mount("https://", RequestsAdapter(policy))`.

    - `policy`: usually a stack, such as `standard()`.
    - `judge`: which answers are failures to the policies; by default 429 and 5xx without 501
      and 505, also where it fails. The caller gets the last answer as it is.
    - `options`: all else goes to `HTTPAdapter`, such as `pool_maxsize` and `pool_block`.

    The policy surrounds the request until the head of the answer is here; each redirect is a
    request of its own. A timeout never outlasts the deadline around the call, which the server
    learns from `X-Request-Timeout-Ms`. Raises the errors of requests, `DeadlineExceeded` when
    the time that Escala gave is up, and `Rejected` when it refuses.
    """

    def __init__(self, policy: Policy, *, judge: Judge | None = None, **options: Any) -> None:  # noqa: ANN401  whatever HTTPAdapter takes
        super().__init__(**options)
        policies(policy, where="RequestsAdapter")
        self.policy = policy
        self._judge = judging(judge, attrgetter("status_code"), where="RequestsAdapter")

    def send(  # noqa: PLR0917  as HTTPAdapter has it
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002
        timeout: Given = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002
        cert: Any = None,  # noqa: ANN401
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request of the session."""

        def attempt(sent: requests.PreparedRequest, limit: Given) -> requests.Response:
            return super(RequestsAdapter, self).send(
                sent, stream=stream, timeout=limit, verify=verify, cert=cert, proxies=proxies
            )

        client = _Client(request, attempt, timeout)
        known = OutgoingRequest(
            request.method or "GET",
            urlsplit(request.url or "").hostname or "",
            request.headers.get,
            repeatable=request.body is None or isinstance(request.body, (bytes, str)),
        )
        return drive(Exchange(self.policy, known, client, self._judge, colours.thread).run())


class _Client(Client[requests.Response]):
    failures = (
        requests.ConnectionError,
        requests.Timeout,
        # A body that breaks off, or is not what its coding says.
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
    )
    timeouts = (requests.Timeout, requests.ConnectionError)  # the latter in a body that stalls

    def __init__(
        self,
        request: requests.PreparedRequest,
        attempt: Callable[[requests.PreparedRequest, Given], requests.Response],
        timeout: Given,
    ) -> None:
        self.request, self.attempt, self.timeout = request, attempt, timeout

    async def send(self) -> requests.Response:
        left = remaining(colours.thread.now())
        if left == math.inf:
            return self.attempt(self.request, self.timeout)
        request = self.request.copy()
        request.headers[TIMEOUT_FIELD] = written(left)
        return self.attempt(request, _shortened(self.timeout, left))

    async def read(self, response: requests.Response) -> None:
        length = response.headers.get("content-length", "")
        if length.isdecimal() and len(length) < 10 and int(length) <= SMALL:  # noqa: PLR2004
            _ = response.content  # kept there, and the connection is given back

    async def close(self, response: requests.Response) -> None:
        response.close()

    def status(self, response: requests.Response) -> int:
        return response.status_code

    def header(self, response: requests.Response, name: str) -> str | None:
        return response.headers.get(name)


def _shortened(given: Given, left: float) -> SocketTimeout:
    """The timeout of requests, and none of it longer than what is left in all."""
    longest = max(left, 0.001)
    connect: Any
    read: Any
    if isinstance(given, SocketTimeout):
        connect, read = given.connect_timeout, given.read_timeout
    else:
        connect, read = given if isinstance(given, tuple) else (given, given)
    return SocketTimeout(
        total=longest,
        connect=longest if connect is None else min(connect, longest),
        read=longest if read is None else min(read, longest),
    )
