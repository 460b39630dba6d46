"""Which header fields travel on, and which say whence a request came (RFC 9110 7.6, RFC 7239)."""

from __future__ import annotations

from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

# Meant for one connection only. `te`, `trailer` and `upgrade` are hop-by-hop too: trailers are
# not passed on, and an accepted upgrade is written by the engine itself.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"expect",
    }
)
# What a client may not remove by naming it in `Connection`: policies and targets rely on it.
_KEPT = frozenset(
    {b"host", b"authorization", b"cookie", b"cache-control", b"content-type", b"content-encoding"}
)
ORIGIN = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-forwarded-port",
        b"x-real-ip",
    }
)


def without_named(headers: Headers, connection: Iterable[bytes]) -> Headers:
    """Leave out the fields that a `Connection` header names (RFC 9110 section 7.6.1)."""
    named = {
        name
        for value in connection
        for part in value.split(b",")
        if (name := part.strip().lower()) and name not in _KEPT
    }
    return [field for field in headers if field[0] not in named] if named else headers


def origin_fields(peer: str, host: bytes, scheme: bytes) -> list[tuple[bytes, bytes]]:
    """What tells a target who asked: both the standard field and the three everyone reads."""
    address = peer.encode()
    node = b'"[%b]"' % address if b":" in address else address
    quoted = b'"%b"' % host if b":" in host else host
    return [
        (b"x-forwarded-for", address),
        (b"x-forwarded-host", host),
        (b"x-forwarded-proto", scheme),
        (b"forwarded", b"for=%b;host=%b;proto=%b" % (node, quoted, scheme)),
    ]
