from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from escala.cli.demo.http_client import Client, Reply, request_bytes

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def against(answer: Answer, *requests: tuple[str, str], timeout: float = 5.0) -> list[Reply]:
    """The replies to `requests`, one after the other, from a server that does `answer`."""

    async def run() -> list[Reply]:
        served: list[asyncio.Task[None] | None] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            served.append(asyncio.current_task())
            with contextlib.suppress(ConnectionError):
                await answer(reader, writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = Client(server.sockets[0].getsockname()[1], timeout=timeout)
        async with server:
            replies = [await send(client, method, path) for method, path in requests]
            await client.close()
            await asyncio.gather(*filter(None, served))
        return replies

    return asyncio.run(run())


async def send(client: Client, method: str, path: str) -> Reply:
    answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    client.send(
        "127.0.0.1", request_bytes(method, path), answer.set_result, bodiless=method == "HEAD"
    )
    return await answer


def saying(*answers: bytes) -> Answer:
    """A server that gives these answers on each connection, and then closes it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for raw in answers:
            if not await reader.readline():
                break
            while await reader.readline() not in (b"\r\n", b""):
                pass
            writer.write(raw)

    return answer


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nEscala-Cache: hit\r\n\r\nhi"


def test_answers_on_one_connection() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nyo\r\n0\r\n\r\n"
    first, second = against(saying(OK, chunked), ("GET", "/1"), ("GET", "/2"))
    assert first == Reply(200, "hit", "", b"hi")
    assert second.body == b"yo"


def test_a_refusal_names_its_policy() -> None:
    raw = b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\nEscala-Rejected: rate_limit\r\n\r\n"
    assert against(saying(raw), ("GET", "/")) == [Reply(429, "", "rate_limit")]


def test_head_ends_at_its_headers() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"
    found = against(saying(head, OK), ("HEAD", "/"), ("GET", "/"))
    assert [reply.status for reply in found] == [200, 200]


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(status: int) -> None:
    bare = b"HTTP/1.1 %d X\r\n\r\n" % status
    assert [r.status for r in against(saying(bare, OK), ("GET", "/"), ("GET", "/"))] == [
        status,
        200,
    ]


def test_a_hundred_is_no_answer() -> None:
    raw = b"HTTP/1.1 100 Continue\r\n\r\n" + OK
    assert against(saying(raw), ("GET", "/"))[0].status == 200


def test_after_connection_close_a_new_one_is_opened() -> None:
    last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    assert [r.status for r in against(saying(last), ("GET", "/"), ("GET", "/"))] == [200, 200]


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", "reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "reset"),
        (b"220 mail.example ESMTP\r\n", "garbage"),
        (b"\x00\x01\x02", "garbage"),
    ],
    ids=["closed", "cut", "mail", "binary"],
)
def test_broken_answers_are_named(raw: bytes, error: str) -> None:
    assert against(saying(raw), ("GET", "/")) == [Reply(error=error)]


def test_no_one_there() -> None:
    async def run() -> Reply:
        server = await asyncio.start_server(saying(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        client = Client(port, timeout=5.0)
        reply = await client.ask("GET", "/")
        await client.close()
        return reply

    assert asyncio.run(run()) == Reply(error="refused")


def test_a_silent_server_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    assert against(silent, ("GET", "/"), timeout=0.02) == [Reply(error="timeout")]


def test_an_order_carries_its_key() -> None:
    raw = request_bytes("POST", "/api/orders", b"{}", "k1")
    assert raw.startswith(b"POST /api/orders HTTP/1.1\r\nHost: ")
    assert b"\r\nIdempotency-Key: k1\r\n" in raw
    assert raw.endswith(b"Content-Length: 2\r\n\r\n{}")
