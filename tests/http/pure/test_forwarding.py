from __future__ import annotations

import pytest

from escala.http.pure.forwarding import origin_fields, without_named
from escala.http.pure.response_head import response_fields, response_head, switching_head


def test_named_fields_are_for_one_hop_only() -> None:
    headers = [(b"a", b"1"), (b"b", b"2"), (b"cookie", b"3"), (b"c", b"4")]
    assert without_named(headers, [b"A, close", b" ,C"]) == [(b"b", b"2"), (b"cookie", b"3")]
    assert without_named(headers, [b"cookie, host"]) is headers


@pytest.mark.parametrize(
    ("peer", "host", "forwarded"),
    [
        ("9.9.9.9", b"a", b"for=9.9.9.9;host=a;proto=http"),
        ("::1", b"a:80", b'for="[::1]";host="a:80";proto=http'),
    ],
)
def test_where_a_request_came_from(peer: str, host: bytes, forwarded: bytes) -> None:
    assert origin_fields(peer, host, b"http") == [
        (b"x-forwarded-for", peer.encode()),
        (b"x-forwarded-host", host),
        (b"x-forwarded-proto", b"http"),
        (b"forwarded", forwarded),
    ]


def test_what_of_an_answer_travels_on() -> None:
    special = [
        (b"connection", b"x-hop, close"),
        (b"content-length", b"12"),
        (b"keep-alive", b"5"),
        (b"date", b"then"),
    ]
    headers, length, chunked = response_fields(
        [(b"x-hop", b"1"), (b"x-end", b"2")], special, lambda: b"now"
    )
    assert headers == [(b"x-end", b"2"), (b"date", b"then")]
    assert (length, chunked) == (12, False)


def test_an_answer_without_a_date_gets_one() -> None:
    special = [(b"transfer-encoding", b"chunked"), (b"connection", b"Keep-Alive")]
    assert response_fields([], special, lambda: b"now") == ([(b"date", b"now")], None, True)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, b"HTTP/1.1 200 OK\r\na: b\r\n\r\n"),
        ({"length": 0}, b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 0\r\n\r\n"),
        ({"chunked": True}, b"HTTP/1.1 200 OK\r\na: b\r\ntransfer-encoding: chunked\r\n\r\n"),
        ({"option": b"close"}, b"HTTP/1.1 200 OK\r\na: b\r\nconnection: close\r\n\r\n"),
    ],
)
def test_a_head_in_bytes(how: dict[str, object], expected: bytes) -> None:
    assert response_head(200, [(b"a", b"b")], **how) == expected  # type: ignore[arg-type]


def test_heads_that_are_special() -> None:
    assert response_head(204, [], length=5) == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert response_head(599, []) == b"HTTP/1.1 599 Unknown\r\n\r\n"
    assert switching_head([(b"a", b"b")], b"websocket") == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"connection: upgrade\r\nupgrade: websocket\r\na: b\r\n\r\n"
    )
