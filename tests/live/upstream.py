"""A real little service for the gateway's tests: what it does is in the path.

python upstream.py PORT NAME
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import sys

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Service:
    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.served: dict[bytes, int] = {}
        self.healthy = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self.one(reader, writer):
                pass
        writer.close()

    async def one(  # noqa: C901, PLR0912, PLR0915  one case for each thing a service can do
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.strip().split("\r\n")
        method, target, _ = request.split(" ")
        fields = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
        path, _, query = target.partition("?")
        args = dict(pair.split("=") for pair in query.split("&") if pair)
        self.served[path.encode()] = self.served.get(path.encode(), 0) + 1

        def answer(status: int, body: bytes = b"", *extra: str) -> None:
            head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *extra]
            writer.write(
                "\r\n".join(head).encode() + b"\r\n\r\n" + (b"" if method == "HEAD" else body)
            )

        match path.strip("/").split("/")[-1]:
            case "health":
                answer(200 if self.healthy else 503)
            case "sick":
                self.healthy = False
                answer(200)
            case "well":
                self.healthy = True
                answer(200)
            case "name":
                answer(200, self.name)
            case "head":
                answer(200, head.encode("latin-1"))
            case "served":
                answer(200, repr(self.served).encode())
            case "status":
                answer(int(args["code"]), self.name)
            case "cached":
                answer(200, self.name, "Cache-Control: max-age=60", 'ETag: "1"')
            case "brief":
                same = fields.get("if-none-match") == '"1"'
                fresh = "Cache-Control: max-age=1, stale-while-revalidate=60"
                answer(304 if same else 200, b"" if same else self.name, fresh, 'ETag: "1"')
                self.served[b"304"] = self.served.get(b"304", 0) + same
            case "slow":
                await asyncio.sleep(float(args["s"]))
                answer(200, self.name)
            case "close":
                return False
            case "half":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                return False
            case "halfchunk":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
                await writer.drain()
                await asyncio.sleep(0.1)
                return False
            case "garbage":
                writer.write(b"\x00\x01 this is not HTTP\r\n\r\n")
                return False
            case "echo":
                await self.echo(reader, writer, fields)
            case "big":
                left = int(args["n"])
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % left)
                block = b"x" * 65536
                while left:
                    writer.write(block[:left])
                    left -= min(left, len(block))
                    await writer.drain()
            case "drip":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for number in range(int(args["n"])):
                    writer.write(b"2\r\n%02d\r\n" % number)
                    await writer.drain()
                    await asyncio.sleep(0.05)
                writer.write(b"0\r\n\r\n")
            case "ws":
                key = fields["sec-websocket-key"].encode()
                accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()  # noqa: S324
                writer.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    b"Connection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept.encode()
                )
                while data := await reader.read(65536):
                    writer.write(data)  # frames as they came, masks and all: see the test
                return False
            case _:
                answer(404)
        await writer.drain()
        return True

    async def echo(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fields: dict[str, str]
    ) -> None:
        digest, size = hashlib.sha256(), 0
        if fields.get("transfer-encoding") == "chunked":
            while length := int((await reader.readline()).split(b";")[0], 16):
                data = await reader.readexactly(length)
                await reader.readline()
                digest.update(data)
                size += length
            await reader.readline()
        else:
            left = int(fields.get("content-length", "0"))
            while left:
                data = await reader.read(min(left, 65536))
                if not data:
                    return
                left -= len(data)
                digest.update(data)
                size += len(data)
        body = f"{size} {digest.hexdigest()}".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def main() -> None:
    service = Service(sys.argv[2])
    server = await asyncio.start_server(service.serve, "127.0.0.1", int(sys.argv[1]))
    sys.stdout.write(f"listening {server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
