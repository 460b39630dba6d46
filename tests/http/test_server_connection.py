from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.http.wire import Server, Wire, echo, passes, settle, statuses, talk, virtually

from escala.http.limits import Limits
from escala.http.message import HttpRequest, Response
from escala.http.pure.syntax import Refused
from escala.http.stream import HIGH_WATER, Stream

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

REFUSED = {
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "no host in HTTP/1.0": (400, b"GET / HTTP/1.0\r\n\r\n"),
    "two hosts": (400, GET + b"Host: b\r\n\r\n"),
    "two equal hosts": (400, GET + b"Host: a\r\n\r\n"),
    "empty host": (400, b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    "path in host": (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "user in host": (400, b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    "length and coding": (
        400,
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "coding and length": (
        400,
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    ),
    "two lengths": (
        400,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    ),
    "two equal lengths": (
        400,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    ),
    "list of lengths": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc"),
    "signed length": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"),
    "unknown coding": (
        501,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    "coding before chunked": (
        501,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    "two codings": (
        400,
        CHUNKED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "space before colon": (
        400,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    "coding in HTTP/1.0": (
        400,
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "hex prefix in chunk": (400, CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n"),
    "negative chunk": (400, CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n"),
    "huge chunk": (400, CHUNKED + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    "longer chunk than said": (400, CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n"),
    "bare LF after chunk size": (400, CHUNKED + b"3\nabc\r\n0\r\n\r\n"),
    "bare LF after chunk": (400, CHUNKED + b"3\r\nabc\n0\r\n\r\n"),
    "bare LF in request line": (400, b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    "bare LF in header": (400, b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
    "bare LF at the end": (400, b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    "bare CR": (400, GET + b"X: a\rb\r\n\r\n"),
    "obs-fold": (400, GET + b"X: a\r\n b\r\n\r\n"),
    "NUL in value": (400, GET + b"X: a\0b\r\n\r\n"),
    "NUL in name": (400, GET + b"X\0: a\r\n\r\n"),
    "control in value": (400, GET + b"X: a\x01b\r\n\r\n"),
    "empty name": (400, GET + b": x\r\n\r\n"),
    "no colon": (400, GET + b"foo\r\n\r\n"),
    "space in target": (400, b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "not a path": (400, b"GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    "another host in target": (400, b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "fragment": (400, b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "dots": (400, b"GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "dots at the end": (400, b"GET /a/.. HTTP/1.1\r\nHost: a\r\n\r\n"),
    "encoded dots": (400, b"GET /a/%2e%2E/b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "encoded slash and dots": (400, b"GET /a%2f..%2fb HTTP/1.1\r\nHost: a\r\n\r\n"),
    "backslash dots": (400, b"GET /a\\..\\b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "CONNECT": (501, b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    "HTTP/0.9": (505, b"GET /\r\n\r\n"),
    "HTTP/1.2": (400, b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "upgrade with a body": (
        400,
        GET + b"Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\nabc",
    ),
    "odd expectation": (417, GET + b"Expect: miracles\r\n\r\n"),
    "too many lines": (431, GET + b"".join(b"X-%d: a\r\n" % i for i in range(10_000)) + b"\r\n"),
    "too long a line": (431, GET + b"X: " + b"a" * 70_000 + b"\r\n\r\n"),
    "too long a line, unfinished": (431, GET + b"X: " + b"a" * 70_000),
    "too long a target": (414, b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "too large a body": (413, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10737418240\r\n\r\n"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_and_closes(name: str) -> None:
    status, data = REFUSED[name]
    seen: list[bytes] = []

    async def handler(request: HttpRequest) -> Response:
        if request.body is not None:
            await request.body.read()
            await request.body.read()
        seen.append(request.target)
        return Response(200, [])

    wire, _ = talk(data + GET + b"\r\n", handler)
    assert statuses(wire.out) == [status]
    assert b"connection: close\r\n" in wire.out
    assert wire.eof or wire.closed
    assert not seen, "what follows a refused message must never be taken for a request"


ACCEPTED = {
    "one": (GET + b"\r\n", b"GET / []"),
    "leading empty line": (b"\r\n" + GET + b"\r\n", b"GET / []"),
    "absolute form": (b"GET http://A/x?y HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /x?y []"),
    "absolute form without path": (b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / []"),
    "dots in the query": (b"GET /x?a=/../b HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /x?a=/../b []"),
    "dots in a name": (b"GET /a..b/.well-known HTTP/1.1\r\nHost: a\r\n\r\n", b"/a..b/.well-known"),
    "IPv6 host": (b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", b"GET / []"),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"OPTIONS * []"),
    "length": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", b"POST / [abc]"),
    "length zero": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", b"POST / []"),
    "chunks": (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", b"POST / [abcde]"),
    "trailer": (CHUNKED + b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", b"POST / [abc]"),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", b"GET / []"),
    "unknown upgrade": (
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"GET / []",
    ),
    "own method": (b"PURGE / HTTP/1.1\r\nHost: a\r\n\r\n", b"PURGE / []"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepts(name: str) -> None:
    data, said = ACCEPTED[name]
    wire, server = talk(data, echo)
    assert statuses(wire.out) == [200]
    assert said in wire.out
    assert not server.refusals


STREAM = (
    GET
    + b"\r\n"
    + CHUNKED
    + b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    + b"POST /z HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    + b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n"
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_answers_do_not_depend_on_how_the_bytes_were_cut(cuts: list[int]) -> None:
    server = Server(echo)
    points = [0, *sorted(cuts), len(STREAM)]

    async def main() -> Wire:
        connection, wire = server.connect()
        for start, end in itertools.pairwise(points):
            if start != end:
                connection.data_received(STREAM[start:end])
                await passes(0)
        await settle()
        return wire

    out = virtually(main()).out
    bodies = [part.rpartition(b"\r\n\r\n")[2] for part in out.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [b"GET / []", b"POST / [abcdefg]", b"POST /z [hello]", b"GET /last []"]


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_break_it(noise: bytes, at: int) -> None:
    for data in (noise, STREAM[:at] + noise):
        wire, server = talk(data, echo)
        assert set(statuses(wire.out)) <= {200, 400, 413, 414, 417, 431, 501, 505}
        assert sum(server.refusals.values()) <= 1


def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    running: list[HttpRequest] = []

    async def handler(request: HttpRequest) -> Response:
        assert not running
        running.append(request)
        await passes(1 if request.target == b"/0" else 0)
        running.clear()
        return Response(200, [], request.target)

    async def main() -> bytes:
        connection, wire = Server(handler).connect()
        connection.data_received(
            b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(5))
        )
        await passes(2)
        return wire.out

    out = virtually(main())
    assert [part[-2:] for part in out.split(b"HTTP/1.1")[1:]] == [b"/%d" % i for i in range(5)]


def test_too_long_a_pipeline_ends_the_connection() -> None:
    wire, _ = talk((GET + b"\r\n") * 500, echo, Limits(pipeline=100))
    codes = statuses(wire.out)
    assert codes[-1] == 429
    assert codes[:-1] == [200] * 101
    assert wire.eof


def test_says_continue_only_when_the_body_is_wanted() -> None:
    async def wants(request: HttpRequest) -> Response:
        await passes(1)
        assert request.body is not None
        return Response(200, [], await request.body.read())

    async def refuses(request: HttpRequest) -> Response:
        return Response(403, [])

    ask = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"

    async def main() -> tuple[bytes, bytes]:
        connection, wire = Server(wants).connect()
        connection.data_received(ask)
        await settle()
        assert wire.out == b""
        await passes(1)
        assert wire.out == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.data_received(b"abc")
        await settle()
        other, other_wire = Server(refuses).connect()
        other.data_received(ask)
        await settle()
        return wire.out, other_wire.out

    wanted, refused = virtually(main())
    assert statuses(wanted) == [100, 200]
    assert statuses(refused) == [403]
    assert b"connection: close" in refused, (
        "the body that was not sent cannot be told from a request"
    )


def test_a_body_that_no_one_reads_stops_the_client() -> None:
    gate = asyncio.Event()

    async def handler(request: HttpRequest) -> Response:
        await gate.wait()
        assert request.body is not None
        size = 0
        async for chunk in request.body:
            size += len(chunk)
        return Response(200, [], b"%d" % size)

    async def main() -> bytes:
        connection, wire = Server(handler).connect()
        connection.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        sent = 0
        while wire.reading and sent < 1_000_000:
            connection.data_received(b"x" * 50_000)
            sent += 50_000
        assert HIGH_WATER <= sent < HIGH_WATER + 50_000
        gate.set()
        await passes(2)
        assert wire.reading
        while sent < 1_000_000:
            connection.data_received(b"x" * 50_000)
            sent += 50_000
            await settle()
        return wire.out

    assert virtually(main()).endswith(b"1000000")


class Origin:
    def __init__(self) -> None:
        self.paused = self.abandoned = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def abandon(self) -> None:
        self.abandoned = True


def streamed(origin: Origin, length: int | None = None) -> tuple[Stream, Response]:
    stream = Stream(origin)
    return stream, Response(200, [], stream, length=length)


def test_a_client_that_does_not_read_stops_the_target() -> None:
    origin = Origin()

    async def main() -> bytes:
        stream, response = streamed(origin)

        async def handler(request: HttpRequest) -> Response:
            return response

        connection, wire = Server(handler).connect()
        connection.data_received(GET + b"\r\n")
        await settle()
        connection.pause_writing()
        stream.feed(b"first")
        await settle()
        while not origin.paused:
            stream.feed(b"x" * 50_000)
            await settle()
        written = len(wire.out)
        connection.resume_writing()
        await settle()
        assert not origin.paused
        assert len(wire.out) > written
        stream.finish()
        await settle()
        return wire.out

    out = virtually(main())
    assert b"transfer-encoding: chunked" in out
    assert out.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("length", [None, 10])
def test_a_broken_stream_is_cut_off_and_never_looks_whole(length: int | None) -> None:
    async def main() -> Wire:
        stream, response = streamed(Origin())
        response.length = length

        async def handler(request: HttpRequest) -> Response:
            return response

        connection, wire = Server(handler).connect()
        connection.data_received(GET + b"\r\n")
        stream.feed(b"half")
        await settle()
        stream.fail(ConnectionResetError("gone"))
        await settle()
        return wire

    wire = virtually(main())
    assert wire.aborted
    assert not wire.out.endswith(b"0\r\n\r\n")


def test_a_stream_that_ends_short_of_its_length_is_cut_off() -> None:
    async def main() -> Wire:
        stream, response = streamed(Origin(), length=10)

        async def handler(request: HttpRequest) -> Response:
            return response

        connection, wire = Server(handler).connect()
        connection.data_received(GET + b"\r\n")
        stream.feed(b"half")
        stream.finish()
        await settle()
        return wire

    assert virtually(main()).aborted


def test_a_client_that_leaves_cancels_the_handler_and_drops_the_stream() -> None:
    ended: list[str] = []
    origin = Origin()

    async def slow(request: HttpRequest) -> Response:
        try:
            await passes(60)
        finally:
            ended.append("cancelled")
        return Response(200, [])

    async def main() -> None:
        connection, wire = Server(slow).connect()
        connection.data_received(GET + b"\r\n")
        await settle()
        wire.close()
        await settle()
        assert ended == ["cancelled"]
        stream, response = streamed(origin)

        async def handler(request: HttpRequest) -> Response:
            return response

        connection, wire = Server(handler).connect()
        connection.data_received(GET + b"\r\n")
        stream.feed(b"x")
        await settle()
        wire.close()
        await settle()
        assert origin.abandoned

    virtually(main())


def test_a_bug_in_a_handler_costs_one_answer(capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(request: HttpRequest) -> Response:
        if request.target == b"/bad":
            raise KeyError("oops")
        return Response(200, [])

    wire, _ = talk(b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n" + GET + b"\r\n", handler)
    assert statuses(wire.out) == [500, 200]
    assert "oops" in capsys.readouterr().err
    assert b"oops" not in wire.out


@pytest.mark.parametrize(
    ("method", "status", "has_length"),
    [("HEAD", 200, True), ("GET", 204, False), ("GET", 304, False)],
)
def test_answers_without_a_body(method: str, status: int, has_length: bool) -> None:
    async def handler(request: HttpRequest) -> Response:
        return Response(status, [], b"", length=5)

    wire, _ = talk(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode() + GET + b"\r\n", handler)
    head = wire.out.split(b"\r\n\r\n")[0]
    assert (b"content-length: 5" in head) is has_length
    assert len(statuses(wire.out)) == 2


def test_http_1_0_closes_unless_asked_to_stay() -> None:
    wire, _ = talk(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", echo)
    assert wire.closed
    wire, _ = talk(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", echo)
    assert not wire.closed
    assert b"connection: keep-alive" in wire.out


def test_connection_names_are_hop_by_hop_and_cannot_remove_what_policies_need() -> None:
    seen: list[HttpRequest] = []

    async def handler(request: HttpRequest) -> Response:
        seen.append(request)
        return Response(200, [])

    talk(
        GET + b"X-Secret: 1\r\nAuthorization: me\r\nKeep-Alive: 5\r\nTE: gzip\r\n"
        b"Connection: x-secret, authorization, close\r\n\r\n",
        handler,
    )
    assert seen[0].headers == [(b"authorization", b"me")]


class TestSlowClients:
    limits = Limits(header_time=10, body_window=10, body_rate=100, keepalive=75, write_stall=30)

    def run(self, steps: list[tuple[float, bytes]], until: float) -> tuple[Wire, Server]:
        server = Server(echo, self.limits)

        async def main() -> Wire:
            loop = asyncio.get_running_loop()
            connection, wire = server.connect()
            waiting = list(steps)
            while loop.time() < until and not wire.closed:
                while waiting and waiting[0][0] <= loop.time():
                    connection.data_received(waiting.pop(0)[1])
                await settle()
                connection.sweep(loop.time())
                await settle()
                await passes(1)
            return wire

        return virtually(main()), server

    def test_a_header_that_drips(self) -> None:
        drip = [(float(i), b"GET / HTTP/1.1\r\nHost: a\r\n"[i : i + 1]) for i in range(25)]
        wire, server = self.run(drip, until=20)
        assert statuses(wire.out) == [408]
        assert server.refusals == {408: 1}

    def test_a_body_that_drips(self) -> None:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
        wire, _ = self.run([(0.0, head), *((float(i), b"x") for i in range(1, 60))], until=40)
        assert statuses(wire.out) == [408]

    def test_a_body_that_keeps_the_pace(self) -> None:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6000\r\n\r\n"
        wire, _ = self.run([(0.0, head), *((float(i), b"x" * 120) for i in range(1, 51))], until=60)
        assert statuses(wire.out) == [200]

    def test_silence_closes_without_a_word(self) -> None:
        wire, _ = self.run([(0.0, GET + b"\r\n")], until=70)
        assert not wire.closed
        wire, _ = self.run([(0.0, GET + b"\r\n")], until=90)
        assert wire.closed
        assert statuses(wire.out) == [200]
        wire, _ = self.run([], until=20)
        assert wire.closed
        assert wire.out == b""

    def test_an_answer_that_is_not_taken(self) -> None:
        async def main() -> Wire:
            connection, wire = Server(echo, self.limits).connect()
            connection.data_received(GET + b"\r\n")
            await settle()
            wire.stuck = 1000
            for now in range(29):
                connection.sweep(float(now))
            assert not wire.closed
            wire.stuck = 900
            connection.sweep(29.0)
            for now in range(30, 59):
                connection.sweep(float(now))
            assert not wire.closed, "it still takes some"
            for now in range(59, 62):
                connection.sweep(float(now))
            return wire

        assert virtually(main()).aborted


def test_more_clients_than_allowed_are_told_so() -> None:
    server = Server(echo, Limits(connections=2))

    async def main() -> Wire:
        server.connect()
        server.connect()
        _, third = server.connect()
        return third

    wire = virtually(main())
    assert statuses(wire.out) == [503]
    assert wire.closed
    assert len(server.connections) <= 2


def test_a_drain_finishes_what_has_begun_and_nothing_else() -> None:
    server = Server(echo)

    async def slow(request: HttpRequest) -> Response:
        await passes(5)
        return Response(200, [], b"done")

    server.handler = slow

    async def main() -> tuple[Wire, Wire]:
        idle, idle_wire = server.connect()
        busy, busy_wire = server.connect()
        await settle()
        busy.data_received(GET + b"\r\n" + GET + b"\r\n")
        await settle()
        server.draining = True
        idle.drain()
        busy.drain()
        await passes(6)
        return idle_wire, busy_wire

    idle_wire, busy_wire = virtually(main())
    assert idle_wire.closed
    assert busy_wire.closed
    assert statuses(busy_wire.out) == [200]
    assert b"connection: close" in busy_wire.out


def test_a_refusal_inside_a_body_reaches_the_handler() -> None:
    caught: list[Refused] = []

    async def handler(request: HttpRequest) -> Response:
        assert request.body is not None
        try:
            while await request.body.read():
                pass
        except Refused as error:
            caught.append(error)
            raise
        return Response(200, [])

    wire, _ = talk(CHUNKED + b"5dc\r\n" + b"x" * 1500, handler, Limits(body_size=1000))
    assert statuses(wire.out) == [413]
    assert caught[0].status == 413


@pytest.mark.parametrize("endless", [b"0\r\nX: ", b"3;"], ids=["trailer", "extension"])
def test_what_comes_without_being_body_is_bounded_too(endless: bytes) -> None:
    server = Server(echo)

    async def main() -> Wire:
        connection, wire = server.connect()
        connection.data_received(CHUNKED + b"3\r\nabc\r\n" + endless)
        for _ in range(20):
            connection.data_received(b"a" * 10_000)
            await settle()
        return wire

    assert statuses(virtually(main()).out) == [431]


def test_a_fault_of_ours_never_leaves_a_client_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(request: HttpRequest) -> Response:
        return Response(12345, [])  # there is no such status line

    wire, _ = talk(GET + b"\r\n", handler)
    assert wire.aborted
    assert "12345" in capsys.readouterr().err


@pytest.mark.parametrize(("length", "told"), [(None, False), (7, True)])
def test_head_says_no_length_that_get_would_not_have(length: int | None, told: bool) -> None:
    async def handler(request: HttpRequest) -> Response:
        return Response(200, [], b"", length=length)

    wire, _ = talk(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", handler)
    assert (b"content-length: 7" in wire.out) is told
    assert (b"content-length" in wire.out) is told


def test_an_answer_that_stalls_at_its_target_is_cut_off() -> None:
    origin = Origin()

    async def main() -> Wire:
        stream, response = streamed(origin, 1000)

        async def handler(request: HttpRequest) -> Response:
            return response

        connection, wire = Server(handler, Limits(read_stall=60)).connect()
        connection.data_received(GET + b"\r\n")
        stream.feed(b"half")
        for now in range(59):
            await settle(5)
            connection.sweep(float(now))
        assert not wire.closed
        for now in range(59, 63):
            connection.sweep(float(now))
        await settle()
        return wire

    assert virtually(main()).aborted
    assert origin.abandoned
