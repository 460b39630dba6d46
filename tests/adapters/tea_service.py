"""A real gRPC service that fails on demand, in either colour, and two clients for it."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import grpc.aio

from escala.kernel.context import current_request, deadline
from escala.kernel.runtime import colours

Code = grpc.StatusCode


class Tea:
    """`script` holds what comes next: a status, (status, trailers), "hang", or nothing."""

    def __init__(self) -> None:
        self.script: deque[Any] = deque()
        self.asked: list[bytes] = []
        self.left: list[float] = []
        self.requests: list[Any] = []
        self.go_on = threading.Event()
        self.port = 0

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _note(self, request: bytes) -> Any:
        self.asked.append(request)
        self.left.append(deadline() - colours.thread.now())
        self.requests.append(current_request())
        return self.script.popleft() if self.script else None

    def _act(self, request: bytes, context: Any) -> None:
        step = self._note(request)
        if step == "hang":
            self.go_on.wait(3)
        elif isinstance(step, Exception):
            raise step
        elif step is not None:
            code, trailers = step if isinstance(step, tuple) else (step, ())
            context.set_trailing_metadata(trailers)
            context.abort(code, "as asked")

    def brew(self, request: bytes, context: Any) -> bytes:
        self._act(request, context)
        return b"cup of " + request

    def pour(self, request: bytes, context: Any) -> Iterator[bytes]:
        for _ in range(3):
            yield b"drop of " + request
        self._act(request, context)

    def fill(self, requests: Iterator[bytes], context: Any) -> bytes:
        return self.brew(b"".join(requests), context)

    def chat(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for request in requests:
            yield b"and " + request
        self._act(b"", context)

    async def _aact(self, request: bytes, context: Any) -> None:
        step = self._note(request)
        if step == "hang":
            await asyncio.to_thread(self.go_on.wait, 3)
        elif isinstance(step, Exception):
            raise step
        elif step is not None:
            code, trailers = step if isinstance(step, tuple) else (step, ())
            await context.abort(code, "as asked", trailers)

    async def abrew(self, request: bytes, context: Any) -> bytes:
        await self._aact(request, context)
        return b"cup of " + request

    async def apour(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"drop of " + request
        await self._aact(request, context)

    async def afill(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return await self.abrew(b"".join([each async for each in requests]), context)

    async def achat(self, requests: AsyncIterator[bytes], context: Any) -> None:
        async for request in requests:
            await context.write(b"and " + request)
        await self._aact(b"", context)

    def handlers(self, prefix: str = "") -> Any:
        one = {
            "Brew": grpc.unary_unary_rpc_method_handler(getattr(self, f"{prefix}brew")),
            "Pour": grpc.unary_stream_rpc_method_handler(getattr(self, f"{prefix}pour")),
            "Fill": grpc.stream_unary_rpc_method_handler(getattr(self, f"{prefix}fill")),
            "Chat": grpc.stream_stream_rpc_method_handler(getattr(self, f"{prefix}chat")),
        }
        return grpc.method_handlers_generic_handler("shop.Tea", one)


@contextmanager
def serving_tea(*interceptors: Any) -> Iterator[Tea]:
    tea = Tea()
    with ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool, handlers=[tea.handlers()], interceptors=interceptors)
        tea.port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield tea
        finally:
            tea.go_on.set()
            server.stop(0.1).wait()


@asynccontextmanager
async def serving_tea_async(*interceptors: Any, sync_handlers: bool = False) -> AsyncIterator[Tea]:
    tea, pool = Tea(), ThreadPoolExecutor(4)
    server = grpc.aio.server(
        pool,
        handlers=[tea.handlers("" if sync_handlers else "a")],
        interceptors=interceptors,
    )
    tea.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield tea
    finally:
        tea.go_on.set()
        await server.stop(0.1)
        await asyncio.to_thread(pool.shutdown)  # its threads hand over to this loop
