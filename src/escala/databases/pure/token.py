"""A position in a database's log as signed text, for a cookie, a header or a message."""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from struct import Struct
from typing import NamedTuple

_VERSION = 1
_BODY = Struct(">BQIQ")
_SIGNATURE = 16
_LENGTH = (_BODY.size + _SIGNATURE) * 4 // 3 + 1  # 37 bytes, without the padding


class Position(NamedTuple):
    """How far a cluster's log had come: `lsn` in bytes, on a timeline of a system."""

    system_id: int
    timeline: int
    lsn: int


def signed(position: Position, secret: bytes) -> str:
    """Fifty characters that only who knows the secret can make.

    >>> signed(Position(7, 1, 4096), b"sixteen bytes at least")
    'AQAAAAAAAAAHAAAAAQAAAAAAABAA...'
    """
    body = _BODY.pack(_VERSION, *position)
    return urlsafe_b64encode(body + _signature(body, secret)).rstrip(b"=").decode()


def position(text: str, secret: bytes) -> Position | None:
    """What was signed; None for any text that was not."""
    if len(text) != _LENGTH:
        return None
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (binascii.Error, UnicodeEncodeError):
        return None
    body, signature = raw[: _BODY.size], raw[_BODY.size :]
    if not hmac.compare_digest(signature, _signature(body, secret)):
        return None
    version, *rest = _BODY.unpack(body)
    return Position(*rest) if version == _VERSION else None


def _signature(body: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, body, hashlib.sha256)[:_SIGNATURE]
