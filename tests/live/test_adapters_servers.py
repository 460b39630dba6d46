"""The ASGI and WSGI middleware in real servers: uvicorn and wsgiref."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest
import uvicorn

from escala.adapters import AsgiMiddleware, HttpxTransport, WsgiMiddleware
from escala.kernel.runtime import time_left
from escala.limiting import TokenBucket
from escala.resilience import Deadline, Retry

pytestmark = pytest.mark.live


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    left = f"{min(time_left(), 99):.3f}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": left + b" ", "more_body": True})
    await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": b"tea"})


def wsgi_app(environ: Any, start_response: Any) -> Iterator[bytes]:
    left = f"{min(time_left(), 99):.3f}".encode()
    start_response("200 OK", [])
    yield left + b" "
    time.sleep(0.1)
    yield b"tea"


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def in_wsgiref(policy: Any, **options: Any) -> Iterator[str]:
    app = WsgiMiddleware(wsgi_app, policy, **options)
    with make_server("127.0.0.1", 0, app, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(5)


@contextmanager
def in_uvicorn(policy: Any, **options: Any) -> Iterator[str]:
    app = AsgiMiddleware(asgi_app, policy, **options)
    config = uvicorn.Config(app, port=0, log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < end
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


every_server = pytest.mark.parametrize("serving", [in_wsgiref, in_uvicorn])


@every_server
def test_limits_are_told_and_kept(serving: Any) -> None:
    with serving(TokenBucket("2/h", key="client_ip", name="shop"), older=True) as url:
        first, second, third = (httpx.get(url) for _ in range(3))
    assert first.status_code == second.status_code == 200
    assert first.text.endswith(" tea")
    assert first.headers["ratelimit-policy"] == '"shop";q=2;w=3600'
    assert first.headers["ratelimit"] == '"shop";r=1;t=1800'
    assert first.headers["x-ratelimit-limit"] == "2"
    assert third.status_code == 429
    assert third.headers["content-type"] == "application/problem+json"
    assert 1790 <= int(third.headers["retry-after"]) <= 1800
    assert json.loads(third.content)["violated-policies"] == ["shop"]


@every_server
def test_a_deadline_travels_from_our_client_to_our_server(serving: Any) -> None:
    with serving(TokenBucket("100/s"), deadline="30s") as url:
        with httpx.Client(transport=HttpxTransport(Deadline("2s"))) as client:
            left = float(client.get(url).text.split()[0])
        assert 1 < left <= 2
        assert 20 < float(httpx.get(url).text.split()[0]) <= 30


@every_server
def test_our_client_comes_back_when_our_server_says(serving: Any) -> None:
    with serving(TokenBucket("1/s")) as url:
        patient = HttpxTransport(Retry(base=0, budget=None))
        with httpx.Client(transport=patient) as client:
            began = time.monotonic()
            assert [client.get(url).status_code for _ in range(2)] == [200, 200]
            assert time.monotonic() - began >= 1
