"""What type checkers see of the adapters; `mypy` reads this file, nothing runs it."""

from __future__ import annotations

from typing import assert_type

import aiohttp
import httpx
import requests

from escala.adapters import (
    AiohttpMiddleware,
    AsgiMiddleware,
    HttpxTransport,
    RequestsAdapter,
    WsgiMiddleware,
)
from escala.kernel.policy import Policy
from escala.limiting import TokenBucket
from escala.resilience import standard

shop = HttpxTransport(standard(), judge=lambda response: response.status_code == 404)
assert_type(shop, HttpxTransport)
assert_type(shop.policy, Policy)
sync_client = httpx.Client(transport=shop)
async_client = httpx.AsyncClient(transport=shop)
assert_type(sync_client.get("/"), httpx.Response)

session = requests.Session()
session.mount("https://", RequestsAdapter(standard(), pool_maxsize=5))

HttpxTransport("3s")  # type: ignore[arg-type]
HttpxTransport(standard(), httpx.AsyncHTTPTransport())  # type: ignore[arg-type]
RequestsAdapter(standard(), lambda response: True)  # type: ignore[call-arg]


async def uses() -> None:
    async with aiohttp.ClientSession(middlewares=[AiohttpMiddleware(standard())]) as http:
        assert_type(await http.get("/"), aiohttp.ClientResponse)


async def asgi(scope: object, receive: object, send: object) -> None: ...


def wsgi(environ: dict[str, object], start_response: object) -> list[bytes]:
    return []


AsgiMiddleware(asgi, TokenBucket("1/s", key="client_ip"), deadline="3s", older=True)
WsgiMiddleware(wsgi, TokenBucket("1/s"), deadline=3)
AsgiMiddleware(wsgi, TokenBucket("1/s"))  # type: ignore[arg-type]
