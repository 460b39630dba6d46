"""A real HTTP service on loopback that fails on demand and remembers what it was sent."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Service:
    """`script` holds what comes next: a status, or (status, headers, body).

    Or "reset", "hang", "break off" (in a body), "stall" (in a body).
    """

    port: int = 0
    script: deque[Any] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    open: set[int] = field(default_factory=set)
    connections: int = 0
    never: asyncio.Event = field(
        default_factory=asyncio.Event
    )  # a task is kept by what it waits for

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def attempts(self) -> int:
        return len(self.asked)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        me = self.connections
        self.open.add(me)
        try:
            while await self._one(reader, writer, me):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open.discard(me)
            writer.close()

    async def _one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, me: int
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        body = await self._body(reader, headers)
        self.asked.append(Asked(method, path, headers, body, me))
        step = self.script.popleft() if self.script else 200
        if step == "reset":
            writer.transport.abort()
            return False
        if step == "hang":
            await self.never.wait()
            return False
        if step == "break off" or step == "stall":  # noqa: PLR1714  some steps cannot be hashed; in the middle of a failed answer's body
            writer.write(b"HTTP/1.1 503 Said\r\ncontent-length: 100\r\n\r\nabc")
            await writer.drain()
            if step == "stall":
                await self.never.wait()
            return False
        status, more, text = step if isinstance(step, tuple) else (step, {}, f"answer {step}")
        fields = {**more}
        data = text.encode()
        if fields.get("transfer-encoding") == "chunked":
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
        else:
            fields["content-length"] = str(len(data))
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + data)
        await writer.drain()
        return True

    @staticmethod
    async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
            return body
        return await reader.readexactly(int(headers.get("content-length", "0")))


@contextmanager
def running() -> Iterator[Service]:
    """The service in a thread of its own, so that sync clients may block."""
    service, ready, loop = Service(), threading.Event(), asyncio.new_event_loop()

    async def main() -> None:
        server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
        service.port = server.sockets[0].getsockname()[1]
        ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            server.close()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(main())
        except asyncio.CancelledError:
            pass
        finally:
            while rest := asyncio.all_tasks(loop):
                for task in rest:
                    task.cancel()
                loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
                loop.run_until_complete(_a_few_turns())
            loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield service
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        thread.join(10)
        assert not thread.is_alive()


async def _a_few_turns() -> None:
    """So that what was closed gets to its end, and what has just connected shows."""
    for _ in range(5):
        await asyncio.sleep(0)  # noqa: TID251  waits for nothing
