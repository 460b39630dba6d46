"""What a change makes doubtful: which stored answers to forget, and which to ask about again."""

from __future__ import annotations

import enum
from urllib.parse import urljoin, urlsplit

from escala.http.pure.cache_key import cache_key
from escala.http.pure.fields import Headers, field

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_FIRST_ERROR = 400
_FIRST_SERVER_ERROR = 500
_NOT_DONE = 503


class Effect(enum.Enum):
    """What a request does to the stored answers of its URI."""

    NONE = "none"
    FORGET = "forget"  # they are wrong: never give them again
    DOUBT = "doubt"  # perhaps wrong: ask first, give them only if nobody answers


def effect(method: str, status: int | None) -> Effect:
    """What to do after a request with `method` was answered with `status` (None: not at all).

    RFC 9111 (4.4) asks to forget after a change that succeeded, and any method that is not known
    to be safe may change something. Whether a change without an answer, or with a 5xx, took
    place is unknown: then the stored answers stay, but as a last resort only. A 4xx changed
    nothing, nor did a 503: the origin was too busy to begin.
    """
    if method in _SAFE:
        return Effect.NONE
    if status is None:
        return Effect.DOUBT
    if status < _FIRST_ERROR:
        return Effect.FORGET
    return Effect.DOUBT if status >= _FIRST_SERVER_ERROR and status != _NOT_DONE else Effect.NONE


def affected(scheme: bytes, host: bytes, target: bytes, answer: Headers) -> list[bytes]:
    """The keys of the URIs that the change concerns, the request's own first.

    `Location` and `Content-Location` count only on the same origin, or else any service could
    empty another's cache.
    """
    own = cache_key(scheme, host, target)
    here = cache_key(scheme, host, b"")
    keys = {own: None}
    for name in (b"location", b"content-location"):
        value = field(answer, name)
        if value is None:
            continue
        try:
            there = urlsplit(urljoin(own.decode("latin-1"), value.decode("latin-1")))
        except ValueError:  # not a URI: it names nothing that could be stored
            continue
        path = (there.path or "/") + (f"?{there.query}" if there.query else "")
        parts = (there.scheme, there.netloc, path)
        named = tuple(part.encode("latin-1", "replace") for part in parts)
        if cache_key(named[0], named[1], b"") == here:
            keys[cache_key(*named)] = None
    return list(keys)
