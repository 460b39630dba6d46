"""What the special fields of a request say: whom it is for, how its body is framed, who sent it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from escala.http.pure.forwarding import HOP_BY_HOP, ORIGIN
from escala.http.pure.syntax import Refused, check_coding, check_host

SPECIAL = HOP_BY_HOP | ORIGIN | {b"host"}
_ORDINARY_OPTIONS = (b"keep-alive", b"close")


class RequestHead(NamedTuple):
    """`length` is None without a body and -1 when only its end will tell."""

    host: bytes
    length: int | None = None
    upgrade: bytes | None = None
    expects_continue: bool = False
    named: Sequence[bytes] = ()  # values of `Connection` that name other fields
    origin: Sequence[tuple[bytes, bytes]] = ()


def request_head(  # noqa: C901  one case for each field
    special: Sequence[tuple[bytes, bytes]], version: str
) -> RequestHead:
    """Read the `SPECIAL` fields; raises `Refused` for what smuggling is made of."""
    if version not in ("1.1", "1.0"):
        raise Refused(505, "this server speaks HTTP/1.1 and HTTP/1.0")
    hosts, host, length, upgrade, expects = 0, b"", None, None, False
    named: list[bytes] = []
    origin: list[tuple[bytes, bytes]] = []
    for name, value in special:
        match name:
            case b"host":
                hosts += 1
                host = value
            case b"content-length":
                length = int(value)  # the parser has refused anything but digits
            case b"transfer-encoding":
                check_coding(value, version)
                length = -1
            case b"connection" if value.lower() not in _ORDINARY_OPTIONS:
                named.append(value)
            case b"upgrade":
                upgrade = value.lower()
            case b"expect":
                if value.lower() != b"100-continue":
                    raise Refused(417, "the only expectation supported is 100-continue")
                expects = version == "1.1"
            case _ if name in ORIGIN:
                origin.append((name, value))
    check_host(hosts, host)
    return RequestHead(host, length, upgrade, expects, named, origin)
