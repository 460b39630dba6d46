"""Has it changed? Entity tags and dates, the question upstream, and the 304 that answers it."""

from __future__ import annotations

import re

from escala.http.pure.asked import Asked
from escala.http.pure.fields import Headers, end_to_end, field
from escala.http.pure.http_date import parse_date

# An entity tag has no escapes: a backslash is a character of it, and a comma may be inside.
_TAG = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_CONDITIONS = frozenset({b"if-none-match", b"if-modified-since"})
# A 304 describes the body that was stored before, and some origins describe it wrongly.
_OF_THE_BODY = frozenset(
    {b"content-encoding", b"content-length", b"content-range", b"content-type", b"etag"}
)
_IN_A_304 = frozenset(
    {b"cache-control", b"content-location", b"date", b"etag", b"expires", b"last-modified", b"vary"}
)


def weak_match(ours: bytes, theirs: bytes) -> bool:
    """The comparison of If-None-Match (RFC 9110, 8.8.3.2): `W/` does not count."""
    return ours.removeprefix(b"W/") == theirs.removeprefix(b"W/")


def still_valid(asked: Asked, *, etag: bytes | None, modified: float, now: float) -> bool:
    """Whether a client that sent these conditions has this answer already, so that 304 is enough.

    If-None-Match wins over If-Modified-Since (RFC 9110, 13.2.2). `modified` is Last-Modified,
    or `Date` when there is none (RFC 9111, 4.3.2); `now` dates two-digit years.
    """
    tags = asked.if_none_match
    if tags is not None:
        if tags.strip(b" \t") == b"*":
            return True
        return etag is not None and any(weak_match(etag, tag) for tag in _TAG.findall(tags))
    if asked.if_modified_since is None:
        return False
    since = parse_date(asked.if_modified_since, now=now)
    return since is not None and modified <= since


def question(
    headers: Headers, *, etag: bytes | None = None, last_modified: bytes | None = None
) -> list[tuple[bytes, bytes]]:
    """A request's headers with our conditions in place of the client's own.

    With neither validator it is the plain request: a cache that wants to store the answer needs
    a whole one, whatever its client has already.
    """
    lines = [line for line in headers if line[0] not in _CONDITIONS]
    if etag is not None:
        lines.append((b"if-none-match", etag))
    if last_modified is not None:
        lines.append((b"if-modified-since", last_modified))
    return lines


def confirms(etag: bytes | None, answered: bytes | None) -> bool:
    """Whether a 304 with the tag `answered` speaks of the stored answer with `etag`.

    A 304 with another strong tag speaks of something that we do not have (RFC 9111, 4.3.4).
    """
    if answered is None or etag is None:
        return answered is None or answered.startswith(b"W/")
    return weak_match(etag, answered)


def refreshed(stored: Headers, answered: Headers) -> list[tuple[bytes, bytes]]:
    """The stored headers after a 304: its fields replace ours, not the body's (RFC 9111, 3.2)."""
    news = [line for line in end_to_end(answered, without=(b"age",)) if line[0] not in _OF_THE_BODY]
    replaced = {name for name, _ in news}
    return [line for line in stored if line[0] not in replaced] + news


def headers_of_304(stored: Headers) -> list[tuple[bytes, bytes]]:
    """What a 304 repeats of the stored answer (RFC 9110, 15.4.5)."""
    return [line for line in stored if line[0] in _IN_A_304]


def contradicts(stored: Headers, told: Headers) -> bool:
    """Whether the answer to a HEAD shows that the stored one is outdated (RFC 9111, 4.3.5)."""
    pairs = ((field(stored, name), field(told, name)) for name in (b"etag", b"last-modified"))
    return any(ours != theirs for ours, theirs in pairs if ours and theirs)
