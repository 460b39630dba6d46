"""Answer with as many bytes as asked for and check those that arrive, one pattern both ways.

Started as a program: `byte_server.py PORT`. `GET /bytes/N` sends N bytes of the pattern, any
other GET the text that stands in for a page; a request with a body is read to its end and
answered with `{"bytes": n, "right": true}`.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from dataclasses import dataclass

BLOCK = random.Random(20).randbytes(256 * 1024)
PIECE = 256 * 1024
PAUSE_AT = 64 * 1_000_000  # bytes after which a reader stops for a while
PAUSE = 1.5  # seconds: a proxy that does not hold its sender back fills up meanwhile
TWICE = BLOCK + BLOCK
PAGE = "escala-benchmark-" * 60 + "1234"  # 1,024 bytes


@dataclass
class Check:
    """Compare bytes with the pattern as they arrive, in pieces of any size."""

    seen: int = 0
    right: bool = True

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        done = 0
        while done < len(data):
            at = self.seen % len(BLOCK)
            size = min(len(data) - done, len(BLOCK))
            if data[done : done + size] != TWICE[at : at + size]:
                self.right = False
            done += size
            self.seen += size


def pattern(at: int, size: int) -> bytes:
    """Return `size` bytes (at most one block) of the pattern from position `at`."""
    start = at % len(BLOCK)
    return TWICE[start : start + size]


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection, request after request, until it closes."""
    try:
        while head := await _head(reader):
            method, path, headers = head
            if path.startswith("/bytes/"):
                await _send(writer, int(path.rpartition("/")[2]))
            elif method == "GET":
                _reply(writer, PAGE.encode())
            else:
                await _receive(reader, writer, headers)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # the other side went away; its own checks say so
    finally:
        writer.close()


async def _head(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]] | None:
    line = await reader.readline()
    if not line:
        return None
    headers = {}
    while (field := await reader.readline()).strip():
        name, _, value = field.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    method, path, _version = line.decode("latin-1").split()
    return method, path, headers


def _reply(writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def _send(writer: asyncio.StreamWriter, size: int) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    for at in range(0, size, PIECE):
        writer.write(pattern(at, min(PIECE, size - at)))
        await writer.drain()


async def _receive(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: dict[str, str]
) -> None:
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    check = Check()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            await _read(reader, size, check)
            await reader.readline()
        await reader.readline()
    else:
        await _read(reader, int(headers.get("content-length", "0")), check)
    _reply(writer, json.dumps({"bytes": check.seen, "right": check.right}).encode())
    await writer.drain()


async def _read(reader: asyncio.StreamReader, size: int, check: Check) -> None:
    left = size
    while left:
        data = await reader.read(min(left, PIECE))
        if not data:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(data)
        before = check.seen
        check.feed(data)
        if before < PAUSE_AT <= check.seen:
            await asyncio.sleep(PAUSE)


async def serve(port: int) -> None:
    """Listen on a loopback port until the process is ended."""
    server = await asyncio.start_server(answer, "127.0.0.1", port, limit=PIECE)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
