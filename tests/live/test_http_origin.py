"""The third level over a real socket: what an HTTP origin says, and what it is told."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from escala import Cache, Deadline, HttpOrigin
from escala.errors import DeadlineExceeded, OriginFailed, WouldBlock

Say = Callable[[BaseHTTPRequestHandler], None]


def says(body: bytes = b'"tea"', status: int = 200, headers: dict[str, str] | None = None) -> Say:
    """An answer."""

    def say(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"Content-Length": f"{len(body)}"} | (headers or {})).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return say


def drips(handler: BaseHTTPRequestHandler) -> None:
    """An answer that never ends."""
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(200):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        return


def hangs(handler: BaseHTTPRequestHandler) -> None:
    """No answer."""
    time.sleep(3)


class Server:
    """Answers as it is told to; notes who has asked for what."""

    def __init__(self) -> None:
        self.say: Say = says()
        self.asked: list[tuple[str, str]] = []
        self.headers: list[Any] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                server.asked.append((self.command, self.path))
                server.headers.append(self.headers)
                self.close_connection = server.say in {drips, hangs}
                server.say(self)

            do_GET = do_PURGE = _any  # noqa: N815  as the base class spells it

            def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/a/{{key}}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.thread.join()
    made.http.server_close()


class Caller:
    """A cache over the origin, asked in one colour."""

    def __init__(self, server: Server, colour: str, origin: dict[str, Any], **how: Any) -> None:
        self.origin = HttpOrigin(server.url, **origin)
        self.cache = Cache("pages", l3=self.origin, **({"ttl": "1h±0%"} | how))
        self._loop = asyncio.Runner() if colour == "async" else None

    def __call__(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        if self._loop is None:
            return getattr(self.cache, verb)(*args, **kwargs)

        async def run() -> Any:
            return await getattr(self.cache, "a" + verb)(*args, **kwargs)

        return self._loop.run(run())

    def close(self) -> None:
        self.origin.close()
        if self._loop is not None:
            self._loop.run(asyncio.sleep(0.05))
            self._loop.close()


@contextmanager
def caller(server: Server, colour: str, **how: Any) -> Iterator[Caller]:
    made = Caller(server, colour, how.pop("origin", {}), **how)
    try:
        yield made
    finally:
        made.close()


both_colours = pytest.mark.parametrize("colour", ["sync", "async"])


@both_colours
@pytest.mark.parametrize(
    ("decode", "body", "value"),
    [
        ("json", b'{"a": [1, "\xc3\xa4"]}', {"a": [1, "ä"]}),
        ("bytes", b"\x00\xff", b"\x00\xff"),
        (bytes.decode, b"tea", "tea"),
    ],
    ids=["json", "bytes", "function"],
)
def test_values(server: Server, colour: str, decode: Any, body: bytes, value: object) -> None:
    server.say = says(body)
    with caller(server, colour, origin={"decode": decode, "headers": {"X-Me": "1"}}) as call:
        for _ in range(2):
            assert call("get", "page:1/ä?b") == value
    [(method, path)] = server.asked
    assert method == "GET"
    assert path.startswith("/a/page%3A1%2F")
    assert unquote(path) == "/a/page:1/ä?b"
    assert server.headers[0]["X-Me"] == "1"
    assert server.headers[0]["Accept-Encoding"] == "identity"


@both_colours
def test_lifetimes_are_the_answers(server: Server, colour: str) -> None:
    with caller(server, colour) as call:
        for key, headers, fresh in [
            ("default", {}, 3600),
            ("max", {"Cache-Control": "max-age=60"}, 60),
            ("shared", {"Cache-Control": "max-age=60, s-maxage=10"}, 10),
            ("aged", {"Cache-Control": "max-age=60", "Age": "20"}, 40),
        ]:
            server.say = says(headers=headers)
            call("get", key)
            entry = call.cache._levels.first.store.table[key]
            assert entry.terms.fresh == fresh
        for words in ("no-store", "private", "max-age=0"):
            server.say = says(headers={"Cache-Control": words})
            for _ in range(2):
                call("get", words)
            assert server.asked[-2] == server.asked[-1]
            assert words not in call.cache._levels.first.store.table


@both_colours
@pytest.mark.parametrize("status", [404, 410])
def test_that_there_is_none_is_remembered(server: Server, colour: str, status: int) -> None:
    server.say = says(b"not here", status)
    with caller(server, colour, negative_ttl="10s") as call:
        for _ in range(2):
            assert call("get", "k", default="none") == "none"
        assert len(server.asked) == 1
    with caller(server, colour) as call:
        for _ in range(2):
            assert call("get", "k") is None
        assert len(server.asked) == 3


@both_colours
@pytest.mark.parametrize("status", [400, 403, 429, 500, 503, 204, 302])
def test_other_answers_are_errors_that_a_stale_value_rescues(
    server: Server, colour: str, status: int
) -> None:
    with caller(server, colour, stale_if_error="1h") as call:
        call("get", "k")
        call("expire", "k")
        server.say = says(b"", status, {"Location": "/a/k"} if status == 302 else None)
        assert call("get", "k") == "tea"
        assert call("entry", "k").source == "stale"
        with pytest.raises(OriginFailed, match=f"expected a value, found status {status}"):
            call("get", "other")


@both_colours
def test_bodies_that_are_no_value(server: Server, colour: str) -> None:
    with caller(server, colour, origin={"max_size": "10B"}) as call:
        server.say = says(b"tea")
        with pytest.raises(OriginFailed, match="the answer is no value"):
            call("get", "k")
        server.say = says(b'"12345678"')
        assert call("get", "k") == "12345678"
        server.say = says(b'"123456789"')
        with pytest.raises(OriginFailed, match="expected at most 10 bytes, found more"):
            call("get", "other")
        server.say = says(gzip.compress(b"0" * 5), headers={"Content-Encoding": "gzip"})
        with pytest.raises(OriginFailed, match="not compressed, found 'gzip'"):
            call("get", "other")

        def endless(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Connection", "close")
            handler.end_headers()
            handler.wfile.write(b"1" * 100)
            handler.close_connection = True

        server.say = endless
        with pytest.raises(OriginFailed, match="expected at most 10 bytes, found more"):
            call("get", "other")


@both_colours
@pytest.mark.parametrize("slow", [hangs, drips])
def test_no_answer_takes_longer_than_it_may(server: Server, colour: str, slow: Say) -> None:
    server.say = slow
    with caller(server, colour, origin={"timeout": "200ms"}) as call:
        began = time.monotonic()
        with pytest.raises(OriginFailed, match=r"no answer within 0\.2 s"):
            call("get", "k")
        assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("slow", [hangs, drips])
def test_a_callers_deadline_is_obeyed(server: Server, slow: Say) -> None:
    server.say = slow
    with caller(server, "sync") as call:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            Deadline("200ms").call(call, "get", "k")
        assert time.monotonic() - began < 1.5


@both_colours
@pytest.mark.parametrize("slow", [hangs, drips])
def test_a_hard_timeout_is_obeyed(server: Server, colour: str, slow: Say) -> None:
    server.say = slow
    with caller(server, colour, hard_timeout="200ms") as call:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            call("get", "k")
        assert time.monotonic() - began < 1.5


@both_colours
def test_one_that_is_not_there(server: Server, colour: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server.url = f"http://127.0.0.1:{free.getsockname()[1]}/{{key}}"
        with caller(server, colour) as call, pytest.raises(OriginFailed, match="ConnectError"):
            call("get", "k")


@both_colours
def test_it_is_told_what_is_deleted(server: Server, colour: str) -> None:
    server.say = says(headers={"Surrogate-Key": "t1, t2 t3"})
    with caller(server, colour, origin={"purge": "PURGE", "tags": "Surrogate-Key"}) as call:
        call("get", "k/1")
        server.say = says(b"", 204)
        call("delete", "k/1", "b", tag="t2")
        assert server.asked[1:] == [("PURGE", "/a/k%2F1"), ("PURGE", "/a/b"), ("PURGE", "/")]
        assert server.headers[-1]["Surrogate-Key"] == "t2"
        for tag in ("t1", "t2", "t3"):
            server.say = says(headers={"Surrogate-Key": "t1, t2 t3"})
            call("get", "c")
            server.say = says(b"", 404)
            call("delete", tag=tag)
            assert "c" not in call.cache._levels.first.store.table or (
                call.cache._levels.first.find("c", now=time.monotonic()) is None
            )
        server.say = says(b"", 403)
        with pytest.raises(OriginFailed, match="PURGE: expected success, found 403"):
            call("delete", "k")
        server.say = says(b"", 204)
        for wrong in ({"namespace": "k"}, {"tag": "two words"}, {"tag": "a\r\nb: c"}):
            with pytest.raises(OriginFailed):
                call("delete", **wrong)
        with pytest.raises(OriginFailed, match="told of keys and tags, and not of all"):
            call("clear")


@both_colours
def test_one_that_is_the_source_itself_is_told_nothing(server: Server, colour: str) -> None:
    with caller(server, colour) as call:
        call("get", "k")
        call("delete", "k", tag="t")
        call("clear")
        assert call("get", "k") == "tea"
        assert server.asked == [("GET", "/a/k")] * 2
    with caller(server, colour, origin={"purge": "PURGE"}) as call:
        call("delete", "k")
        with pytest.raises(OriginFailed, match="told of keys, and not of a tag"):
            call("delete", tag="t")


def test_one_object_serves_threads_and_loops_and_is_used_after_its_end(server: Server) -> None:
    with HttpOrigin(server.url) as origin:
        cache = Cache("pages", l3=origin)
        errors: list[BaseException] = []

        async def loop(key: str) -> Any:
            async with origin:
                return await cache.aget(key)

        def thread(at: int) -> None:
            try:
                assert cache.get(f"t{at}") == "tea"
                assert asyncio.run(loop(f"l{at}")) == "tea"
            except BaseException as error:  # noqa: BLE001  shown below
                errors.append(error)

        threads = [threading.Thread(target=thread, args=(at,)) for at in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert errors == []
    assert cache.get("after") == "tea"
    origin.close()


def test_a_loop_is_not_blocked(server: Server) -> None:
    async def main() -> None:
        with HttpOrigin(server.url) as origin, pytest.raises(WouldBlock):
            Cache("pages", l3=origin).get("k")

    asyncio.run(main())
    assert server.asked == []
