"""One way to ask, four clients: httpx in both colours, requests and aiohttp."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp
import httpx
import pytest
import requests

from escala.adapters import AiohttpMiddleware, HttpxTransport, RequestsAdapter
from escala.kernel.policy import Policy


class Answer(NamedTuple):
    status: int
    text: str


class Errors(NamedTuple):
    """What the client calls its failures."""

    refused: type[Exception]
    broken: type[Exception]
    any: type[Exception]


@dataclass
class How:
    body: Any = None
    headers: dict[str, str] | None = None
    timeout: float = 5.0
    judge: Any = None
    times: int = 1


class Caller:
    """`times` requests in a row by one client with at most one connection."""

    name: str
    errors: Errors

    async def ask(self, policy: Policy, url: str, method: str = "GET", **how: Any) -> Answer:
        return await self.run(policy, url, method, How(**how))

    async def run(self, policy: Policy, url: str, method: str, how: How) -> Answer:
        raise AssertionError("each client's own")

    def stream(self, *parts: bytes) -> Any:
        """A body that can be sent only once."""
        return (part for part in parts)


class HttpxSync(Caller):
    name = "httpx-sync"
    errors = Errors(httpx.ConnectError, httpx.TransportError, httpx.HTTPError)

    async def run(self, policy: Policy, url: str, method: str, how: How) -> Answer:
        def ask() -> list[httpx.Response]:
            one = httpx.HTTPTransport(limits=httpx.Limits(max_connections=1))
            transport = HttpxTransport(policy, one, judge=how.judge)
            with httpx.Client(transport=transport, timeout=how.timeout) as client:
                return [
                    client.request(method, url, content=how.body, headers=how.headers)
                    for _ in range(how.times)
                ]

        answer = (await asyncio.to_thread(ask))[-1]
        return Answer(answer.status_code, answer.text)


class HttpxAsync(Caller):
    name = "httpx-async"
    errors = HttpxSync.errors

    async def run(self, policy: Policy, url: str, method: str, how: How) -> Answer:
        one = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1))
        transport = HttpxTransport(policy, atransport=one, judge=how.judge)
        async with httpx.AsyncClient(transport=transport, timeout=how.timeout) as client:
            answers = [
                await client.request(method, url, content=how.body, headers=how.headers)
                for _ in range(how.times)
            ]
        return Answer(answers[-1].status_code, answers[-1].text)

    def stream(self, *parts: bytes) -> AsyncIterator[bytes]:
        return _aiter(parts)


class Requests(Caller):
    name = "requests"
    errors = Errors(requests.ConnectionError, requests.ConnectionError, requests.RequestException)

    async def run(self, policy: Policy, url: str, method: str, how: How) -> Answer:
        def ask() -> list[requests.Response]:
            adapter = RequestsAdapter(policy, judge=how.judge, pool_maxsize=1, pool_block=True)
            with requests.Session() as session:
                session.trust_env = False
                session.mount("http://", adapter)
                return [
                    session.request(
                        method, url, data=how.body, headers=how.headers, timeout=how.timeout
                    )
                    for _ in range(how.times)
                ]

        answer = (await asyncio.to_thread(ask))[-1]
        return Answer(answer.status_code, answer.text)


class Aiohttp(Caller):
    name = "aiohttp"
    errors = Errors(
        aiohttp.ClientConnectorError, aiohttp.ClientConnectionError, aiohttp.ClientError
    )

    async def run(self, policy: Policy, url: str, method: str, how: How) -> Answer:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1),
            middlewares=[AiohttpMiddleware(policy, judge=how.judge)],
            timeout=aiohttp.ClientTimeout(total=how.timeout),
        ) as session:
            answers = []
            for _ in range(how.times):
                async with session.request(
                    method, url, data=how.body, headers=how.headers, allow_redirects=False
                ) as answer:
                    answers.append(Answer(answer.status, await answer.text()))
        return answers[-1]

    def stream(self, *parts: bytes) -> AsyncIterator[bytes]:
        return _aiter(parts)


async def _aiter(parts: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


every_client = pytest.mark.parametrize(
    "caller", [HttpxSync(), HttpxAsync(), Requests(), Aiohttp()], ids=lambda each: each.name
)


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **given: Any) -> None:
        asyncio.run(test(*args, **given))  # type: ignore[arg-type]

    return run
