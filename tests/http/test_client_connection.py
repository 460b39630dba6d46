from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.http.wire import Wire, settle, virtually

from escala.errors import BackendError
from escala.http.client_connection import WHOLE, ClientConnection
from escala.http.message import HttpRequest, Response
from escala.http.pure.syntax import Refused
from escala.http.stream import Stream

HEAD = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nDate: today\r\n"


async def exchange(connection: ClientConnection, request: HttpRequest) -> Response:
    """What the pool does with a connection."""
    answer = connection.begin(HEAD, request)
    try:
        return await answer
    except BaseException:
        connection.give_up(answer)
        raise


class Target:
    """A connection, the wire behind it, and what the pool was told."""

    def __init__(self) -> None:
        self.released: list[bool] = []
        self.wire = Wire()
        self.connection = ClientConnection(lambda conn: self.released.append(conn.usable))
        self.wire.protocol = self.connection
        self.connection.connection_made(self.wire)

    async def ask(self, answer: bytes | list[bytes], method: str = "GET", **how: Any) -> Response:
        request = HttpRequest(method, b"/", [])
        for name, value in how.items():
            setattr(request, name, value)
        task = asyncio.create_task(exchange(self.connection, request))
        await settle()
        for piece in [answer] if isinstance(answer, bytes) else answer:
            self.connection.data_received(piece)
            await settle()
        return await task


def told(answer: bytes | list[bytes], method: str = "GET") -> tuple[Response, Target]:
    async def main() -> tuple[Response, Target]:
        target = Target()
        return await target.ask(answer, method), target

    return virtually(main())


def test_a_small_answer_is_handed_over_whole_and_the_connection_goes_back() -> None:
    response, target = told(OK + b"Content-Length: 5\r\nX-A: b\r\nKeep-Alive: 5\r\n\r\nhello")
    assert (response.status, response.body) == (200, b"hello")
    assert response.headers == [(b"x-a", b"b"), (b"date", b"today")]
    assert target.released == [True]
    assert target.wire.out == HEAD


def test_a_declared_small_answer_is_waited_for() -> None:
    async def main() -> None:
        target = Target()
        task = asyncio.create_task(target.ask([OK + b"Content-Length: 5\r\n\r\nhe"]))
        await settle(100)
        assert not task.done()
        target.connection.data_received(b"llo")
        assert (await task).body == b"hello"

    virtually(main())


def test_small_chunks_in_one_read_are_whole_too() -> None:
    response, target = told(
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    )
    assert response.body == b"abc"
    assert target.released == [True]


@pytest.mark.parametrize(
    "head", [b"Content-Length: %d\r\n\r\n" % (WHOLE + 1), b"Transfer-Encoding: chunked\r\n\r\n"]
)
def test_anything_else_streams(head: bytes) -> None:
    async def main() -> None:
        target = Target()
        chunked = b"chunked" in head
        response = await target.ask(OK + head)
        assert isinstance(response.body, Stream)
        assert response.length == (None if chunked else WHOLE + 1)
        data = b"x" * (WHOLE + 1)
        target.connection.data_received(
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if chunked else data
        )
        assert target.released == [True]
        assert await response.body.read() == data
        assert await response.body.read() == b""

    virtually(main())


ANSWER = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"


@given(st.lists(st.integers(0, len(ANSWER)), max_size=20))
def test_the_answer_does_not_depend_on_how_the_bytes_were_cut(cuts: list[int]) -> None:
    points = [0, *sorted(cuts), len(ANSWER)]
    pieces = [ANSWER[a:b] for a, b in itertools.pairwise(points) if a != b]

    async def main() -> bytes:
        target = Target()
        response = await target.ask(pieces)
        body = response.body
        if not isinstance(body, bytes):
            body = b"".join([chunk async for chunk in body])
        assert target.released == [True]
        return body

    assert virtually(main()) == b"hello world"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", OK + b"Content-Length: 500\r\n\r\n"),
        ("HEAD", OK + b"Transfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"),
    ],
)
def test_answers_without_a_body_leave_the_connection_usable(method: str, answer: bytes) -> None:
    async def main() -> None:
        target = Target()
        assert (await target.ask(answer, method)).body == b""
        assert (await target.ask(OK + b"Content-Length: 2\r\n\r\nok")).body == b"ok"
        assert target.released == [True, True]

    virtually(main())


def test_interim_answers_are_ours_alone() -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    response, _ = told([early, OK + b"Content-Length: 2\r\n\r\nok"])
    assert response.body == b"ok"
    assert all(name != b"link" for name, _ in response.headers)


def test_an_answer_without_length_ends_with_the_connection() -> None:
    async def main() -> None:
        target = Target()
        response = await target.ask(OK + b"\r\nall of")
        target.connection.data_received(b" it")
        target.connection.connection_lost(None)
        assert isinstance(response.body, Stream)
        assert b"".join([chunk async for chunk in response.body]) == b"all of it"
        assert target.released == [False]

    virtually(main())


def test_connection_close_is_respected() -> None:
    _, target = told(OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nok")
    assert target.released == [False]
    assert target.wire.closed


BROKEN: dict[str, bytes] = {
    "garbage": b"SSH-2.0-OpenSSH_9.2\r\n",
    "two framings": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
    "bad chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "unasked upgrade": b"HTTP/1.1 101 SP\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nxyz",
    "upgrade without name": b"HTTP/1.1 101 SP\r\n\r\nxyz",
    "endless header": OK + b"X: " + b"a" * 300_000,
    "many headers": OK + b"".join(b"X-%d: a\r\n" % i for i in range(1000)) + b"\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_http_is_the_targets_fault(name: str) -> None:
    async def main() -> Target:
        target = Target()
        try:
            response = await target.ask(BROKEN[name])
        except BackendError:
            return target
        assert isinstance(response.body, Stream), "a head was handed over: then the body breaks"
        with pytest.raises(BackendError):
            await response.body.read()
        return target

    target = virtually(main())
    assert target.wire.aborted
    assert target.released == [False]


Steps = Callable[[Target], None]


@pytest.mark.parametrize("sent", [b"", OK, OK + b"Content-Length: 5\r\n\r\nhe"])
def test_a_target_that_closes_too_early_fails_the_exchange(sent: bytes) -> None:
    async def main() -> None:
        target = Target()
        task = asyncio.create_task(target.ask(sent) if sent else target.ask([]))
        await settle(100)
        target.connection.connection_lost(None)
        with pytest.raises(BackendError, match="closed the connection"):
            await task
        assert target.released == [False]
        assert target.connection.answered is bool(sent)

    virtually(main())


def test_a_target_that_closes_inside_a_stream_breaks_the_stream() -> None:
    async def main() -> None:
        target = Target()
        response = await target.ask(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        target.connection.connection_lost(None)
        assert isinstance(response.body, Stream)
        assert await response.body.read() == b"abc"
        with pytest.raises(BackendError):
            await response.body.read()

    virtually(main())


def test_bytes_out_of_turn_end_the_connection() -> None:
    async def main() -> None:
        target = Target()
        target.connection.data_received(OK + b"Content-Length: 2\r\n\r\nok")
        assert target.wire.aborted
        assert target.released == [False]

    virtually(main())


def test_more_than_was_asked_for_is_not_taken_for_the_next_answer() -> None:
    async def main() -> None:
        target = Target()
        poison = OK + b"Content-Length: 4\r\n\r\nevil"
        response = await target.ask(OK + b"Content-Length: 2\r\n\r\nok" + poison)
        assert response.body == b"ok"
        assert not target.connection.usable
        assert target.wire.closed

    virtually(main())


def test_cancellation_closes_the_connection() -> None:
    async def main() -> None:
        target = Target()
        task = asyncio.create_task(target.ask([]))
        await settle(100)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await settle()
        assert target.wire.aborted
        assert target.released == [False]

    virtually(main())


def test_a_stream_that_no_one_reads_stops_the_target_and_dropping_it_closes() -> None:
    async def main() -> None:
        target = Target()
        response = await target.ask(OK + b"Content-Length: 1000000\r\n\r\n")
        for _ in range(6):
            target.connection.data_received(b"x" * 50_000)
        assert not target.wire.reading
        response.discard()
        await settle()
        assert target.wire.aborted
        assert target.released == [False]

    virtually(main())


def test_a_finished_stream_frees_a_paused_connection() -> None:
    async def main() -> None:
        target = Target()
        response = await target.ask(OK + b"Content-Length: 300000\r\n\r\n")
        target.connection.data_received(b"x" * 299_999)
        assert not target.wire.reading
        target.connection.data_received(b"x")
        assert target.wire.reading
        assert target.released == [True]
        assert isinstance(response.body, Stream)
        assert len(await response.body.read()) == 300_000

    virtually(main())


class Upload:
    paused = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def abandon(self) -> None:
        pass


@pytest.mark.parametrize("length", [6, None])
def test_a_body_is_sent_as_it_arrives(length: int | None) -> None:
    async def main() -> bytes:
        target = Target()
        body = Stream(Upload(), remember=100)
        task = asyncio.create_task(
            target.ask([], "POST", body=body, length=length),
        )
        await settle(100)
        body.feed(b"abc")
        await settle()
        assert b"abc" in target.wire.out
        body.feed(b"def")
        body.finish()
        await settle()
        target.connection.data_received(OK + b"Content-Length: 0\r\n\r\n")
        assert (await task).status == 200
        await settle()
        assert target.released == [True]
        return target.wire.out[len(HEAD) :]

    sent = virtually(main())
    assert sent == (b"abcdef" if length else b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")


def test_a_body_waits_for_a_slow_target() -> None:
    async def main() -> None:
        target, source = Target(), Upload()
        body = Stream(source)
        task = asyncio.create_task(target.ask([], "POST", body=body, length=10**6))
        await settle(100)
        target.connection.pause_writing()
        for _ in range(10):
            body.feed(b"x" * 50_000)
            await settle()
        assert source.paused
        target.connection.resume_writing()
        await settle()
        assert not source.paused
        task.cancel()
        await settle()

    virtually(main())


def test_a_client_that_breaks_off_its_body_is_not_the_targets_fault() -> None:
    async def main() -> None:
        target = Target()
        body = Stream(Upload())
        task = asyncio.create_task(target.ask([], "POST", body=body, length=10))
        await settle(100)
        body.fail(Refused(413, "too large"))
        with pytest.raises(Refused):
            await task
        assert target.wire.aborted

    virtually(main())


def test_an_early_answer_ends_the_exchange_when_the_body_is_dropped() -> None:
    async def main() -> None:
        target = Target()
        body = Stream(Upload())
        task = asyncio.create_task(target.ask([], "POST", body=body, length=100))
        await settle(100)
        body.feed(b"abc")
        await settle()
        target.connection.data_received(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        assert (await task).status == 403
        assert target.released == [], "the rest of the body would be taken for a request"
        body.fail(Refused(400, "the client went away"))
        await settle()
        assert target.released == [False]

    virtually(main())


@given(st.binary(max_size=200), st.integers(0, len(ANSWER)))
def test_no_bytes_break_it(noise: bytes, at: int) -> None:
    async def main() -> None:
        target = Target()
        task = asyncio.create_task(target.ask([ANSWER[:at] + noise]))
        await settle(100)
        target.wire.close()
        await settle()
        assert task.done()
        error = task.exception()
        assert error is None or isinstance(error, BackendError)

    virtually(main())


def test_a_connection_that_is_reused_at_once_keeps_its_exchanges_apart() -> None:
    """The first caller has not resumed yet when the second one's exchange is under way."""

    async def main() -> None:
        target = Target()
        first = asyncio.create_task(target.ask([]))
        await settle(100)
        second = asyncio.create_task(
            exchange(target.connection, HttpRequest("GET", b"/", []))
        )  # it was ready before the answer came, so it runs before the first caller does
        target.connection.data_received(OK + b"Content-Length: 1\r\n\r\n1")
        await asyncio.wait({first})
        await settle()
        target.connection.data_received(OK + b"Content-Length: 1\r\n\r\n2")
        assert first.result().body == b"1"
        assert (await second).body == b"2"

    virtually(main())


def test_a_caller_cancelled_after_its_answer_came_breaks_no_other_exchange() -> None:
    async def main() -> None:
        target = Target()
        first = asyncio.create_task(target.ask([]))
        await settle(100)
        target.connection.data_received(OK + b"Content-Length: 1\r\n\r\n1")
        first.cancel()
        second = asyncio.create_task(exchange(target.connection, HttpRequest("GET", b"/", [])))
        await settle()
        assert first.cancelled()
        target.connection.data_received(OK + b"Content-Length: 1\r\n\r\n2")
        assert (await second).body == b"2"

    virtually(main())


def test_a_caller_cancelled_after_the_head_came_drops_the_stream() -> None:
    async def main() -> None:
        target = Target()
        first = asyncio.create_task(target.ask([]))
        await settle(100)
        target.connection.data_received(OK + b"Content-Length: 1000000\r\n\r\n")
        first.cancel()
        await settle()
        assert target.wire.aborted
        assert target.released == [False]

    virtually(main())


def test_a_body_that_is_sent_again_has_one_reader_and_gets_there_whole() -> None:
    """A target answers early and keeps the connection; the retry must not share the body."""

    async def main() -> None:
        first, second = Target(), Target()
        body = Stream(Upload(), remember=1000)
        early = asyncio.create_task(first.ask([], "POST", body=body))
        await settle(100)
        body.feed(b"abc")
        await settle()
        first.connection.data_received(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
        assert (await early).status == 503
        body.rewind()
        again = asyncio.create_task(second.ask([], "POST", body=body))
        await settle(100)
        for chunk in (b"def", b"ghi"):
            body.feed(chunk)
            await settle()
        body.finish()
        await settle()
        second.connection.data_received(OK + b"Content-Length: 0\r\n\r\n")
        assert (await again).status == 200
        await settle()
        assert second.wire.out[len(HEAD) :].endswith(
            b"3\r\nabc\r\n3\r\ndef\r\n3\r\nghi\r\n0\r\n\r\n"
        )
        assert first.wire.aborted
        assert first.released == [False]
        assert second.released == [True]

    virtually(main())


def test_two_readers_of_one_body_are_refused() -> None:
    async def main() -> None:
        body = Stream(Upload())
        reading = asyncio.create_task(body.read())
        await settle()
        with pytest.raises(RuntimeError, match="two readers"):
            await body.read()
        body.feed(b"x")
        assert await reading == b"x"

    virtually(main())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 999 Denied\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nab",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_answers_that_no_client_can_be_given(answer: bytes) -> None:
    with pytest.raises(BackendError):
        told(answer)


def test_a_trailer_without_end_breaks_the_answer() -> None:
    async def main() -> None:
        target = Target()
        response = await target.ask(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        target.connection.data_received(b"0\r\nX: ")
        for _ in range(100):
            if not target.wire.closed:
                target.connection.data_received(b"a" * 10_000)
        assert target.wire.aborted
        assert isinstance(response.body, Stream)

    virtually(main())


def test_many_small_chunks_are_no_trailer() -> None:
    async def main() -> None:
        target = Target()
        response = await target.ask(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        assert isinstance(response.body, Stream)
        for _ in range(100_000):
            target.connection.data_received(b"1\r\nx\r\n")
            response.body.take()
        assert not target.wire.closed

    virtually(main())


def test_a_target_that_answered_before_it_had_the_body_is_not_asked_again() -> None:
    async def main() -> None:
        target = Target()
        body = Stream(Upload())
        task = asyncio.create_task(target.ask([], "POST", body=body))
        await settle(100)
        body.feed(b"abc")
        await settle()
        target.connection.data_received(OK + b"Content-Length: 0\r\n\r\n")
        assert (await task).status == 200
        body.finish()
        await settle()
        assert target.wire.out.endswith(b"0\r\n\r\n"), "it still gets all of it"
        assert target.released == [False]

    virtually(main())
