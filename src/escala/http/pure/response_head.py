"""The head of an answer: what of a target's travels on, and our own as bytes."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from escala.http.pure.forwarding import HOP_BY_HOP, without_named

Headers = list[tuple[bytes, bytes]]

SPECIAL = HOP_BY_HOP | {b"date"}
BODYLESS = frozenset({204, 304})
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_LINES = {
    status: f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\n".encode()
    for status in range(100, 600)
}


def response_fields(
    headers: Headers, special: Headers, date: Callable[[], bytes]
) -> tuple[Headers, int | None, bool]:
    """What of a target's answer travels on; its length; whether it came in chunks.

    `special` are the fields named in `SPECIAL`. An answer without a date gets one, as a
    recipient with a clock must see to (RFC 9110 section 6.6.1).
    """
    length, chunked, dated = None, False, False
    named: list[bytes] = []
    for name, value in special:
        match name:
            case b"content-length":
                length = int(value)
            case b"transfer-encoding":
                chunked = True
            case b"date":
                dated = True
                headers.append((name, value))
            case b"connection" if value.lower() not in (b"keep-alive", b"close"):
                named.append(value)
    if named:
        headers = without_named(headers, named)
    if not dated:
        headers.append((b"date", date()))
    return headers, length, chunked


def response_head(
    status: int,
    headers: Headers,
    *,
    option: bytes = b"",
    length: int | None = None,
    chunked: bool = False,
) -> bytes:
    """`option` is the `Connection` field; without length or chunks the body ends with it."""
    lines = [_LINES[status]]
    lines += [b"%b: %b\r\n" % field for field in headers]
    if chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif length is not None and status not in BODYLESS:
        lines.append(b"content-length: %d\r\n" % length)
    if option:
        lines.append(b"connection: %b\r\n" % option)
    lines.append(b"\r\n")
    return b"".join(lines)


def switching_head(headers: Headers, protocol: bytes) -> bytes:
    """`101 Switching Protocols`, the one answer that names hop-by-hop fields of its own."""
    return response_head(101, [(b"connection", b"upgrade"), (b"upgrade", protocol), *headers])
